"""Places where maxima are looked for, and the trials that are put there."""

from collections import Counter

import numpy as np
import pytest

from hpsearch.search.candidates import around
from hpsearch.search.landscape import Landscape
from hpsearch.search.outcomes import Outcome, signature
from hpsearch.search.points import placed, sobol
from hpsearch.search.proposals import propose
from hpsearch.space import Box, Choices, Dimension, Interval

FEW = Box(tuple(Dimension(name, Choices(("a", "b", "c"))) for name in ("one", "two")))
BOX = Box(
    (
        Dimension("rate", Interval(1e-4, 1e-2, "log")),
        Dimension("decay", Interval(1e-8, 1e-4, "log")),
    )
)


def test_places_around_one_at_an_end_are_not_gathered_there():
    """Reflected, not cut off: none lies at the very end, and all lie in the box."""
    corner = {"rate": 1e-2, "decay": 1e-8}
    places = around(BOX, BOX, [corner], 500, np.random.default_rng(0))
    assert all(BOX.contains(place) for place in places)
    assert sum(place["rate"] == 1e-2 for place in places) == 0
    assert np.median([np.log10(place["rate"]) for place in places]) > -2.3


@pytest.mark.parametrize("seed", range(3))
def test_no_trial_is_planned_twice(seed):
    """With the best scores in a corner all trials of a wave still differ from each other."""
    places = placed(sobol(2, 64, np.random.default_rng(seed)), BOX)
    scores = [np.log10(place["rate"]) + np.log10(place["decay"]) / 4 for place in places]
    pairs = zip(places, scores, strict=True)
    found = [Outcome(i, values, score, 0.1) for i, (values, score) in enumerate(pairs)]
    wave = propose(BOX, Landscape.of(BOX, found, 0.01), 40, np.random.default_rng(seed))
    assert len({signature(values) for values in wave}) == 40


def test_where_there_are_fewer_places_than_trials_all_have_as_many():
    """Of nine combinations the best is tried no less often than the worst."""
    places = [values for values in FEW.combinations() for _ in range(4)]
    scores = [(values["one"] == "a") + (values["two"] == "a") / 2 + 0.0 for values in places]
    pairs = zip(places, scores, strict=True)
    found = [Outcome(i, values, score, 0.1) for i, (values, score) in enumerate(pairs)]
    landscape = Landscape.of(FEW, found, 0.01)
    chosen = [signature(v) for v in landscape.proposals(FEW, 30, np.random.default_rng(0))]
    counts = Counter(chosen)
    assert len(counts) == 9
    assert set(counts.values()) <= {3, 4}
    assert counts[signature({"one": "a", "two": "a"})] == 4
