"""Early discarding: the band, who is below it, who is spared, and what is left to the surrogate."""

from math import inf, sqrt

import pytest

from hpsearch.search.bands import rule_of
from hpsearch.search.discarding import (
    Band,
    Below,
    Judge,
    RecordedRule,
    Threshold,
    band,
    band_for,
    chance_floor,
    good_ones,
)
from hpsearch.search.narrowing import Known
from hpsearch.search.noise import standard_error
from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.search.rounds import DoneRound, close_round, first_round
from hpsearch.seeds import Purpose, is_spared
from hpsearch.study import StudySpec
from tests.unit.search.test_planning import make_design

ROWS = 400
SLOW = ((100, 0.5), (200, 0.7), (300, 0.6))
FAST = ((100, 0.8), (200, 0.75), (300, 0.9))


def lowered(level):
    return level - standard_error(level, ROWS) / 2


def followed(judge, *accuracies):
    """What a judge says after each of these accuracies, until it stops."""
    answers = []
    for step, accuracy in enumerate(accuracies, start=1):
        answers.append(judge(step, {"validation_accuracy": accuracy}))
    return answers


# ---------------------------------------------------------------------------- the band


def test_a_band_is_the_lowest_level_less_half_a_standard_error():
    """Levels are the best so far, so a curve that falls again does not lower the band."""
    found = band(60, [SLOW, FAST], ROWS)
    assert found.first == 60
    assert found.points == ((100, lowered(0.5)), (200, lowered(0.7)), (300, lowered(0.7)))


def test_curves_are_measured_at_different_updates():
    """Between two measurements a level lies on a straight line, after the last it stays."""
    found = band(0, [((90, 0.4), (190, 0.6)), ((140, 0.7), (240, 0.9))], ROWS)
    assert [at for at, _ in found.points] == [140, 190, 240]
    assert [threshold for _, threshold in found.points] == [lowered(x) for x in (0.5, 0.6, 0.6)]


def test_a_band_begins_where_every_good_trial_was_measured():
    """Before that nobody knows what the slowest had; and nothing counts before 80 updates."""
    assert band(0, [((10, 0.1), (79, 0.4), (81, 0.5))], ROWS).points == ((81, lowered(0.5)),)
    assert band(0, [((40, 0.4),), ((60, 0.5),)], ROWS) is None
    assert band(0, [], ROWS) is None


def test_a_long_band_is_thinned():
    """A thousand measurements must not be read at every claim; the ends stay."""
    curve = tuple((at, at / 2000) for at in range(100, 1100))
    found = band(0, [curve], ROWS)
    assert len(found.points) == 200
    assert (found.points[0][0], found.points[-1][0]) == (100, 1099)


def test_between_points_the_threshold_is_interpolated():
    """Nothing is known before the first point; the last holds on."""
    found = Threshold(-inf, ((100, 0.4), (200, 0.6)))
    assert [found.at(at) for at in (99, 100, 150, 200, 900)] == [-inf, 0.4, 0.5, 0.6, 0.6]


def test_a_trial_has_the_newest_band_that_was_planned_for_it():
    """Trials of the first wave have none."""
    bands = (Band(60, ((100, 0.4),)), Band(80, ((100, 0.5),)))
    assert [band_for(bands, number) for number in (59, 60, 79, 80, 99)] == [
        None,
        bands[0],
        bands[0],
        bands[1],
        bands[1],
    ]


def test_good_trials_are_at_least_fifteen():
    """And everybody within the noise of them; who has no score is never one."""
    scored = [Outcome(n, {}, n / 100, 0.1) for n in range(40)]
    discarded = Outcome(99, {}, None, None, stands_for=0.99)
    assert [o.number for o in good_ones([*scored, discarded], 0.0)] == list(range(39, 24, -1))
    assert len(good_ones(scored, 0.2)) > 15


# ------------------------------------------------------------------------ the threshold


def test_the_floor_is_six_standard_errors_above_chance():
    """At most half way from chance to 1, where so few rows are measured that it would be more."""
    assert chance_floor(10, 1000) == pytest.approx(0.1 + 6 * sqrt(0.09 / 1000))
    assert chance_floor(2, 30) == 0.75


def test_the_higher_of_floor_and_band_counts():
    """Except where good trials end below the floor, which proves it wrong."""
    rising = Threshold.of(0.3, Band(0, ((100, 0.2), (200, 0.6))))
    assert [rising.at(at) for at in (80, 100, 200)] == [0.3, 0.3, 0.6]
    hopeless = Threshold.of(0.3, Band(0, ((100, 0.1), (200, 0.2))))
    assert [hopeless.at(at) for at in (80, 200)] == [0.2, 0.2]
    assert Threshold.of(0.3, None).at(10**6) == 0.3


# ---------------------------------------------------------------------------- the judge


def test_a_trial_is_stopped_when_its_best_so_far_is_below():
    """Never before 80 updates, and not for a single bad measurement."""
    threshold = Threshold.of(0.1, Band(0, ((50, 0.5), (150, 0.5))))
    assert followed(Judge(threshold, 50, 5), 0.2, 0.2) == [False, True]
    assert followed(Judge(threshold, 50, 5), 0.6, 0.2, 0.2) == [False, False, False]
    assert followed(Judge(threshold, 50, 5), 0.1, 0.5, 0.1) == [False, False, False]


def test_what_a_stopped_trial_stands_for_is_as_far_below_the_band_as_it_was():
    """And never above the band's end, wherever it was stopped."""
    judge = Judge(Threshold.of(0.1, Band(0, ((100, 0.5), (200, 0.8)))), 100, 2)
    assert followed(judge, 0.4) == [True]
    assert (judge.below.step, judge.below.threshold) == (1, 0.5)
    assert judge.below.stands_for == pytest.approx(0.7)
    floor = Judge(Threshold.of(0.3, None), 100, 2)
    assert followed(floor, 0.1) == [True]
    assert floor.below.stands_for == pytest.approx(0.1)


def test_a_spared_trial_runs_on_and_is_written_down():
    """With the first measurement after which it was below."""
    judge = Judge(Threshold.of(0.3, None), 100, 4, spared=True)
    assert followed(judge, 0.2, 0.1, 0.9) == [False, False, False]
    assert (judge.below.step, judge.below.threshold) == (1, 0.3)


def test_one_of_twenty_is_spared():
    """By seed, purpose and number: of 10,000 from 410 to 590, outside by chance once in 30,000."""
    spared = [number for number in range(10_000) if is_spared(3, Purpose.SEARCH, number)]
    assert 410 <= len(spared) <= 590
    assert spared == [number for number in range(10_000) if is_spared(3, Purpose.SEARCH, number)]
    for seed, purpose in ((4, Purpose.SEARCH), (3, Purpose.CONTROL)):
        assert spared != [number for number in range(10_000) if is_spared(seed, purpose, number)]


# --------------------------------------------------------------------------- the search


def test_a_discarded_trial_is_told_to_the_surrogate_only():
    """It has no rank, so it is no elite and no finalist, but its place is known to be bad."""
    found = [Outcome(0, {}, 0.9, 0.1), Outcome(1, {}, None, None, stands_for=0.6)]
    assert [o.number for o in ranked(found)] == [0]
    assert [o.modelled for o in found] == [0.9, 0.6]


def close_first(discard, **search):
    """What follows the first wave of a round, and the numbers whose curves were asked for."""
    design = make_design(search={"rounds": 2, "trials": 40, "discard": discard} | search)
    plan = first_round(design)
    found = [Outcome(t.number, t.values, t.number / 100, 0.1, seed=t.seed) for t in plan.trials]
    asked = []

    def curves(numbers):
        asked.extend(numbers)
        return {number: ((100, number / 200), (200, number / 100)) for number in numbers}

    done = DoneRound(Purpose.SEARCH, 1, plan.box, found, len(found), plan.model)
    known = Known(lambda: found, tuple, tuple, ROWS, curves=curves)
    return plan, close_round(design, done, known), asked


def test_a_wave_is_planned_with_the_band_of_all_before_it():
    """Its first number is the wave's; the first wave of all has none."""
    plan, closing, asked = close_first("auto", sampler="auto")
    assert plan.bands == ()
    assert closing.wave[0].number == len(plan.trials)
    assert closing.bands[0].first == closing.wave[0].number
    assert sorted(asked) == list(range(len(plan.trials) - 15, len(plan.trials)))
    lowest = (len(plan.trials) - 15) / 100
    assert closing.bands[0].points == ((100, lowered(lowest / 2)), (200, lowered(lowest)))


def test_without_discarding_no_curve_is_read():
    """Nothing may cost those anything who do not ask for it."""
    _, closing, asked = close_first("off", sampler="auto")
    assert closing.wave
    assert closing.bands == ()
    assert asked == []


def test_what_was_recorded_is_stopped_again():
    """Where nobody can be asked once more, a replay stops where the trial was stopped."""
    below = Below(2, None, 0.4)
    stopped, spared = (RecordedRule(below, spared).judge(10, 5) for spared in (False, True))
    assert followed(stopped, 0.1, 0.1) == [False, True]
    assert followed(spared, 0.1, 0.1, 0.1) == [False, False, False]
    assert stopped.below == spared.below == below


def test_repeats_are_never_stopped():
    """Only trials of the search are, which have others of their kind to be judged by."""
    document = {
        "name": "stopped",
        "space": {"learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"}},
        "search": {"rounds": 2, "trials": 20, "discard": "auto", "control": "random"},
    }
    spec = StudySpec.model_validate(document)
    searched = rule_of(spec, ROWS, Purpose.SEARCH, 39, None)
    assert searched.threshold.floor == chance_floor(10, ROWS)
    for purpose in set(Purpose) - {Purpose.SEARCH}:
        assert rule_of(spec, ROWS, purpose, 0, None) is None
