"""The benchmark of early discarding: what it trains, and what it tells the search of it."""

import pytest
from discarding import ShadowStudy

from hpsearch.data.prepared import prepare
from hpsearch.objective import PopulationObjective
from hpsearch.seeds import Purpose, is_spared
from hpsearch.study import StudySpec

# So low learning rates that many trials learn nothing.
DOCUMENT = {
    "name": "shadow",
    "data": {"source": "moons", "samples": 150, "noise": 0.1},
    "model": {"hidden": [4]},
    "training": {"optimizer": "adam", "epochs": 12, "batch_size": 8},
    "space": {"learning_rate": {"low": 1e-7, "high": 0.1, "scale": "log"}},
    "search": {"rounds": 2, "trials": 30, "sampler": "auto", "discard": "auto"},
    "confirmation": {"finalists": 2, "seeds": 2},
}


@pytest.fixture(scope="module")
def shadow():
    """A study with discarding that was followed to its end."""
    spec = StudySpec.model_validate(DOCUMENT)
    prepared = prepare(spec)
    study = ShadowStudy(spec, PopulationObjective(spec, prepared), len(prepared.validation()))
    study.run()
    return study


def test_every_trial_is_trained_to_its_end(shadow):
    """Also those that are stopped, so that it is known what they would have come to."""
    assert {max(result.curve) for result in shadow.results.values()} == {12}
    assert all(outcome.score is not None for outcome in shadow.ended.values())
    assert shadow.winner is not None


def test_the_search_is_told_what_it_would_be_told(shadow):
    """Of a trial that is stopped no score; of one that is spared its score."""
    told = {outcome.number: outcome for outcome in shadow.told[Purpose.SEARCH]}
    stopped = {n for n in shadow.below if not is_spared(0, Purpose.SEARCH, n)}
    assert stopped
    assert {n for n, outcome in told.items() if outcome.score is None} == stopped
    assert all(told[n].stands_for == shadow.below[n].stands_for for n in stopped)


def test_what_is_behind_a_stop_is_saved(shadow):
    """Twelve updates an epoch, of those that are stopped."""
    stopped = [b for n, b in shadow.below.items() if not is_spared(0, Purpose.SEARCH, n)]
    assert shadow.saved() == sum(12 * (12 - below.step) for below in stopped)
    assert shadow.updates() == 60 * 12 * 12
