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
HALF_A_ROW = 0.5 / ROWS


def flat(level, last=300):
    """A curve that has its level from the first measurement on."""
    return tuple((at, level) for at in range(100, last + 1, 100))


def lowered(middle, depth):
    """So many standard errors and half a row below a median level."""
    return pytest.approx(middle - depth * standard_error(middle, ROWS) - HALF_A_ROW)


def followed(judge, *accuracies):
    """What a judge says after each of these accuracies, until it stops."""
    answers = []
    for step, accuracy in enumerate(accuracies, start=1):
        answers.append(judge(step, {"validation_accuracy": accuracy}))
    return answers


# ---------------------------------------------------------------------------- the band


def test_a_band_is_as_far_below_the_median_as_the_slowest_was_at_its_worst():
    """Counted in standard errors of the median, and at all places alike."""
    slow = ((100, 0.5), (200, 0.8), (300, 0.8))
    found = band(60, [slow, flat(0.7), flat(0.7)], ROWS)
    depth = 0.2 / standard_error(0.7, ROWS)
    assert found.first == 60
    assert found.points == tuple((at, lowered(0.7, depth)) for at in (100, 200, 300))


def test_a_band_gives_up_five_of_a_hundred():
    """Of 39 the slowest may be stopped, of 40 two; who is level with the next is not."""
    others = [flat(0.8 + n / 1000) for n in range(37)]
    of_39 = band(0, [flat(0.4), flat(0.6), *others], ROWS)
    of_40 = band(0, [flat(0.4), flat(0.6), flat(0.7), *others], ROWS)
    assert of_39.points[0][1] == pytest.approx(0.6 - HALF_A_ROW)
    assert of_40.points[0][1] == pytest.approx(0.7 - HALF_A_ROW)
    for found, slowest in ((of_39, 0.6), (of_40, 0.7)):
        assert followed(Judge(Threshold.of(0.1, found), 100, 3), slowest) == [False]


def test_a_level_is_the_best_so_far():
    """A curve that falls again does not lower the band."""
    falling = ((100, 0.5), (200, 0.7), (300, 0.6))
    found = band(0, [falling] * 3, ROWS)
    assert found.points == tuple(
        (at, lowered(x, 0)) for at, x in ((100, 0.5), (200, 0.7), (300, 0.7))
    )


def test_nobody_is_slow_where_nobody_is_judged():
    """Neither in the first tenth of the training, nor at its end, which stops nobody."""
    slow = ((90, 0.1), (500, 0.6), (1000, 0.3))
    fast = ((90, 0.5), (500, 0.6), (1000, 0.9))
    points = dict(band(0, [slow, fast, fast], ROWS).points)
    assert points == {at: lowered(x, 0) for at, x in ((90, 0.5), (500, 0.6), (1000, 0.9))}


def test_curves_are_measured_at_different_updates():
    """Between two measurements a level lies on a straight line, after the last it stays."""
    found = band(0, [((90, 0.4), (190, 0.6)), ((140, 0.5), (240, 0.6))], ROWS)
    assert found.points == (
        (140, lowered(0.5, 0)),
        (190, lowered(0.575, 0)),
        (240, lowered(0.6, 0)),
    )


def test_a_band_begins_where_every_good_trial_was_measured():
    """Before that nobody knows what the slowest had; and nothing counts before 30 updates."""
    assert band(0, [((10, 0.1), (29, 0.4), (31, 0.5))], ROWS).points == ((31, lowered(0.5, 0)),)
    assert band(0, [((10, 0.4),), ((20, 0.5),)], ROWS) is None
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
    assert [found.at(at, 900) for at in (99, 100, 150, 200, 900)] == [-inf, 0.4, 0.5, 0.6, 0.6]


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


def test_the_floor_is_three_standard_errors_above_chance():
    """At most half way from chance to 1, where so few rows are measured that it would be more."""
    assert chance_floor(10, 1000) == pytest.approx(0.1 + 3 * sqrt(0.09 / 1000))
    assert chance_floor(2, 30) == 0.75


def test_the_higher_of_floor_and_band_counts():
    """Except where good trials end below the floor, which proves it wrong."""
    rising = Threshold.of(0.3, Band(0, ((100, 0.2), (200, 0.6))))
    assert [rising.at(at, 200) for at in (80, 100, 200)] == [0.3, 0.3, 0.6]
    hopeless = Threshold.of(0.3, Band(0, ((100, 0.1), (200, 0.2))))
    assert [hopeless.at(at, 200) for at in (80, 200)] == [0.2, 0.2]
    assert Threshold.of(0.3, None).at(10**6, 10**6) == 0.3


@pytest.mark.parametrize(
    ("updates", "by_band", "by_floor"), [(100, 30, 30), (200, 30, 40), (1000, 100, 200)]
)
def test_a_band_counts_from_a_tenth_of_the_training_on_and_the_floor_from_a_fifth(
    updates, by_band, by_floor
):
    """And neither of them before 30 updates."""
    found = Threshold(0.3, ((1, 0.2),))
    wanted = {at: found.at(at, updates) for at in range(1, updates)}
    assert [at for at, level in wanted.items() if level == -inf] == list(range(1, by_band))
    assert [at for at, level in wanted.items() if level == 0.2] == list(range(by_band, by_floor))
    assert {level for at, level in wanted.items() if at >= by_floor} == {0.3}


# ---------------------------------------------------------------------------- the judge


def test_a_trial_is_stopped_when_its_best_so_far_is_below():
    """Never before 30 updates, and not for a single bad measurement."""
    threshold = Threshold.of(0.1, Band(0, ((20, 0.5), (150, 0.5))))
    assert followed(Judge(threshold, 20, 5), 0.2, 0.2) == [False, True]
    assert followed(Judge(threshold, 20, 5), 0.6, 0.2, 0.2) == [False, False, False]
    assert followed(Judge(threshold, 20, 5), 0.1, 0.5, 0.1) == [False, False, False]


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
    middle = (len(plan.trials) - 8) / 200
    # Of fifteen none is given up.
    assert closing.bands[0].points[0][1] == pytest.approx(lowest / 2 - HALF_A_ROW)
    depth = (middle - lowest / 2) / standard_error(middle, ROWS)
    assert closing.bands[0].points == (
        (100, lowered(middle, depth)),
        (200, lowered(2 * middle, depth)),
    )


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
