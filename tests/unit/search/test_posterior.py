"""Narrowing by posterior: what it narrows, keeps, opens and says."""

from math import log10

import numpy as np
import pytest

from hpsearch.search.landscape import Landscape, explored_box, scatter, tamed
from hpsearch.search.outcomes import Outcome
from hpsearch.search.points import placed, sobol
from hpsearch.search.posterior import narrow
from hpsearch.space import Box, Choices, Dimension, Interval

NOISE = 0.01


def study(score, limits=None, others=(), count=80, tried=None):
    """Ledger rows, by dimension, after a round over a rate in 1e-4..1e-2 and other dimensions.

    `tried` is where the trials are placed instead.
    """
    rate = Dimension("rate", Interval(1e-4, 1e-2, "log"), limits)
    declared = Box((rate, *others))
    rng = np.random.default_rng(5)
    places = placed(sobol(len(declared.dimensions), count, rng), tried or declared)
    found = [
        Outcome(i, values, score(values) + NOISE * float(rng.standard_normal()), 0.1)
        for i, values in enumerate(places)
    ]
    landscape = Landscape.of(declared, found, NOISE)
    rows = narrow(declared, landscape, 7, np.random.default_rng(6)).rows
    return {row.dimension: row for row in rows}


def peak(at):
    return lambda values: 0.9 - (log10(values["rate"]) - at) ** 2


DECAY = Dimension("decay", Interval(1e-8, 1e-4, "log"))


def test_a_dimension_with_an_effect_is_narrowed_to_where_its_best_values_may_lie():
    """The range holds the optimum, is no narrower than a third, and the reason has the figures."""
    row = study(peak(-3), others=(DECAY,))["rate"]
    assert (row.decision, row.edge, row.elites) == ("narrowed", None, 7)
    assert row.range.low < 1e-3 < row.range.high
    assert log10(row.range.high / row.range.low) >= 2 / 3 - 1e-9
    assert log10(row.range.high / row.range.low) < 1
    assert row.reason.startswith("narrowed: 90% of 256 plausible surfaces have their maximum in ")


def test_a_dimension_without_effect_keeps_its_declared_range():
    """However the maxima lie, the ledger says that there is no evidence."""
    row = study(peak(-3), others=(DECAY,))["decay"]
    assert (row.decision, row.range, row.edge) == ("kept", DECAY.range, None)
    assert row.reason == "kept: no evidence that it matters"


def test_an_edge_where_the_maxima_lie_is_opened_within_the_limits():
    """With its optimum beyond 1e-2 the range grows by what was explored, to the limit at most."""
    row = study(peak(-1.5), limits=Interval(1e-6, 0.5, "log"), others=(DECAY,))["rate"]
    assert (row.decision, row.edge, row.range.high) == ("widened", "upper", 0.5)
    assert row.range.low > 1e-4
    assert "at the upper edge 0.01" in row.reason


def test_a_declared_edge_that_the_maxima_lie_beyond_is_named():
    """Also where trials beyond it have shown already that the range need not be opened further."""
    limits = Interval(1e-6, 1.0, "log")
    tried = Box((Dimension("rate", Interval(1e-4, 1.0, "log")), DECAY))
    row = study(peak(-1), limits=limits, others=(DECAY,), tried=tried)["rate"]
    assert (row.decision, row.edge) == ("moved", "upper")
    assert row.range.high < 1.0
    assert row.reason.endswith("; 100% beyond the declared upper edge 0.01")


def test_without_limits_an_open_edge_is_only_named():
    """The range stays inside what was declared; the reason says that the optimum may lie beyond."""
    row = study(peak(-1.5), others=(DECAY,))["rate"]
    assert (row.decision, row.edge, row.range.high) == ("narrowed", "upper", 1e-2)
    assert row.reason.endswith("at the upper edge 0.01: the optimum may lie beyond")


@pytest.mark.parametrize("seed", range(12))
def test_networks_at_the_mercy_of_their_seeds_draw_no_range_to_them(seed):
    """Where half of them do not train at all, a score among them is no hill that was missed."""
    rate = Dimension("rate", Interval(1e-4, 1e-2, "log"))
    declared = Box((rate,))
    rng = np.random.default_rng(seed)
    places = [
        *placed(sobol(1, 16, rng), declared),
        *placed(rng.uniform(0.55, 1, (48, 1)), declared),
    ]

    def score(values):
        if values["rate"] > 1e-3:
            return 0.91 + 0.02 * log10(values["rate"] / 1e-3) + 0.02 * rng.standard_normal()
        return 0.89 - (0.3 * rng.random() if rng.random() < 0.5 else 0.0)

    found = [Outcome(i, values, float(score(values)), 0.1) for i, values in enumerate(places)]
    landscape = Landscape.of(declared, found, 0.02)
    (row,) = narrow(declared, landscape, 7, np.random.default_rng(seed)).rows
    assert row.range.high > 8e-3


def test_scores_that_are_about_as_good_as_the_best_scatter_as_the_noise_does():
    """Only of those below is less sure what they are worth, the less the further below."""
    scores = np.array([0.9] * 20 + [0.88, 0.6, 0.3])
    assert scatter(scores, NOISE).tolist() == pytest.approx([0.0] * 21 + [0.056, 0.116])


def test_a_choice_that_no_maximum_has_is_dropped():
    """Options keep their order, and the reason has the share of each."""
    kind = Dimension("kind", Choices(("good", "bad", "fair")))
    worth = {"good": 0.0, "bad": -0.5, "fair": -0.001}
    row = study(lambda v: peak(-3)(v) + worth[v["kind"]], others=(kind,), count=120)["kind"]
    assert (row.decision, row.range) == ("narrowed", Choices(("good", "fair")))
    assert "bad in 0%" in row.reason


def test_whole_numbers_stay_whole():
    """A range of whole numbers is rounded outward."""
    size = Dimension("size", Interval(1, 40, integer=True))
    row = study(lambda v: peak(-3)(v) - (v["size"] - 20) ** 2 / 400, others=(size,))["size"]
    assert row.decision == "narrowed"
    assert (row.range.low, row.range.high) == (int(row.range.low), int(row.range.high))
    assert row.range.low <= 20 <= row.range.high


def test_bad_scores_are_alike_while_the_noise_is_not_known():
    """Nothing below the lower quartile is told apart, and nothing above it is changed."""
    scores = np.array([0.1, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2])
    assert tamed(scores, None).tolist() == [0.6, 0.6, *scores[2:]]


def test_scores_far_below_the_best_are_drawn_together():
    """Their order stays, and who is within ten deviations of the best is told as measured."""
    scores = np.linspace(0.0, 1.0, 101)
    found = tamed(scores, noise=0.01)
    assert (np.diff(found) > 0).all()
    assert found[scores > 0.85].tolist() == scores[scores > 0.85].tolist()
    assert 0.5 < found[0] < 0.7


def test_the_score_is_not_pulled_down_in_front_of_a_cliff():
    """Where trials diverge beyond the best rates the best is expected right before them."""
    rates = np.geomspace(1e-4, 1e-2, 41)
    found = [
        Outcome(i, {"rate": float(rate)}, None if rate > 2e-3 else 1 + 0.2 * log10(rate), 0.1)
        for i, rate in enumerate(rates)
    ]
    declared = Box((Dimension("rate", Interval(1e-4, 1e-2, "log")),))
    landscape = Landscape.of(declared, found, NOISE)
    expected = landscape.expected([{"rate": float(rate)} for rate in rates])
    assert rates[expected.argmax()] == rates[rates <= 2e-3].max()


def test_a_dimension_matters_that_decides_who_diverges():
    """Scores that are all alike say nothing of it; that half of the places have none does."""
    declared = Box((Dimension("rate", Interval(1e-4, 1e-2, "log")), DECAY))
    rng = np.random.default_rng(3)
    found = [
        Outcome(i, values, None if values["rate"] > 1e-3 else 0.8 + NOISE * rng.random(), 0.1)
        for i, values in enumerate(placed(sobol(2, 64, rng), declared))
    ]
    landscape = Landscape.of(declared, found, NOISE)
    assert landscape.effect("rate") > 4 > landscape.effect("decay")


SQUARE = Box((Dimension("x", Interval(0.0, 1.0)), Dimension("y", Interval(0.0, 1.0))))


def hilly(*hills):
    """64 trials of a land with hills of these heights at these x."""
    places = placed(sobol(2, 64, np.random.default_rng(0)), SQUARE)
    scores = [max(h * np.exp(-20 * (v["x"] - at) ** 2) for h, at in hills) for v in places]
    pairs = enumerate(zip(places, scores, strict=True))
    return [Outcome(i, values, float(score), 0.1) for i, (values, score) in pairs]


def test_a_lower_hill_is_not_taken_for_the_only_one():
    """A rival lies on the other hill, some way from where the score is expected to be best."""
    landscape = Landscape.of(SQUARE, hilly((0.8, 0.2), (0.7, 0.8)), NOISE)
    (rival,) = landscape.rivals(SQUARE, 1, np.random.default_rng(1))
    assert abs(rival["x"] - 0.8) < 0.05


def test_a_shoulder_is_no_rival():
    """Of a single hill none is tried twice; what stands out of the land behind it may be."""
    landscape = Landscape.of(SQUARE, hilly((0.8, 0.2)), NOISE)
    rivals = landscape.rivals(SQUARE, 3, np.random.default_rng(1))
    assert all(abs(rival["x"] - 0.2) > 0.4 for rival in rivals)


def test_diverging_costs_also_where_most_scores_are_alike():
    """A place where trials diverge is worth less than one that scores as most do."""
    places = placed(sobol(2, 64, np.random.default_rng(0)), SQUARE)
    found = [
        Outcome(i, v, None if v["y"] > 0.6 else 1.0 if v["x"] > 0.2 else 0.5, 0.1)
        for i, v in enumerate(places)
    ]
    landscape = Landscape.of(SQUARE, found, NOISE, is_measured=False)
    good, diverging = landscape.expected([{"x": 0.6, "y": 0.3}, {"x": 0.6, "y": 0.9}])
    assert diverging < good


def test_a_landscape_without_a_score_is_refused():
    """Where all trials diverged there is nothing to fit a surface to."""
    with pytest.raises(ValueError, match="no trial has a score"):
        Landscape.of(SQUARE, [Outcome(0, {"x": 0.5, "y": 0.5}, None, None)], NOISE)


def test_everything_declared_or_tried_is_explored():
    """Trials of wider boxes widen it, narrower boxes do not narrow it."""
    declared = Box((Dimension("rate", Interval(1e-4, 1e-2, "log")),))
    tried = [Outcome(i, {"rate": rate}, 0.5, 0.1) for i, rate in enumerate((1e-3, 0.3))]
    assert explored_box(declared, tried)["rate"] == Interval(1e-4, 0.3, "log")


@pytest.mark.parametrize("seed", range(3))
def test_the_range_holds_the_optimum(seed):
    """Wherever the optimum lies inside, the next range holds it."""
    at = -3.7 + seed * 0.7
    row = study(peak(at))["rate"]
    assert row.range.low <= 10**at <= row.range.high
