"""The narrowing rule: on evidence only, never outside what was declared."""

import math

import numpy as np
import pytest

from hpsearch.search.elites import (
    CHOICES_RULE,
    RULE,
    chance_of_absence,
    chance_of_hull,
    crowded,
    elites,
    narrow,
)
from hpsearch.search.ledger import box_of, declared
from hpsearch.search.noise import standard_error
from hpsearch.search.outcomes import Outcome
from hpsearch.space import Box, Choices, Dimension, Interval, frozen

RATE = Interval(1e-6, 1e-2, "log")
ROWS = 100_000  # so many that the noise of a score widens nothing


def box(**ranges):
    return Box(tuple(Dimension(name, range_) for name, range_ in ranges.items()))


def outcomes(name, values, score):
    """One trial per value, scored by a function of the value."""
    return [Outcome(i, {name: v}, score(v), 0.5) for i, v in enumerate(values)]


def row_for(range_, values, score, declared_range=None):
    """The ledger row of a round with one dimension."""
    found = outcomes("x", values, score)
    (row,) = narrow(box(x=range_), box(x=declared_range or range_), found, ROWS)
    return row


def evenly(range_, count):
    return [range_.at((i + 0.5) / count) for i in range(count)]


# ---------------------------------------------------------------------- elites


def test_elites_are_the_best_fifth():
    """Where scores differ by more than their noise, a fifth is taken, rounded up, best first."""
    found = [Outcome(i, {}, i / 21, 0.0) for i in range(21)]
    assert [o.number for o in elites(found, ROWS)] == [20, 19, 18, 17, 16]


def test_elites_include_all_that_noise_cannot_separate():
    """Every trial within one standard error of the best is an elite, however many there are."""
    found = [Outcome(i, {}, 0.90 - i / 1000, 0.0) for i in range(50)]
    floor = 0.90 - standard_error(0.90, 100)
    assert len(elites(found, 100)) == sum(o.score >= floor for o in found) > 10


def test_diverged_and_failed_trials_are_never_elites():
    """Trials without a score are left out, and do not count for the fifth."""
    found = [Outcome(i, {}, None, None) for i in range(15)] + [Outcome(15, {}, 0.5, 0.1)]
    assert [o.number for o in elites(found, ROWS)] == [15]
    assert elites(found[:15], ROWS) == []


def test_the_standard_error_is_the_binomial_one():
    """It is sqrt(p(1-p)/n) with one success and one failure added, and never 0."""
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(0.9, 10_000) == pytest.approx(math.sqrt(0.09 / 10_000), rel=1e-3)
    assert standard_error(1.0, 100) > 0


# ------------------------------------------------------------------- intervals


def test_a_range_narrows_to_hull_and_margin():
    """The new range is the elites' hull plus 1.5 mean gaps on each side, in log space."""
    values = evenly(RATE, 100)
    row = row_for(RATE, values, lambda v: 1 - abs(math.log10(v) + 4) / 10)
    best = sorted(values, key=lambda v: abs(math.log10(v) + 4))[:20]
    low, high = math.log10(min(best)), math.log10(max(best))
    margin = 1.5 * (high - low) / 19
    assert row.decision == "narrowed"
    assert row.elites == 20
    assert math.log10(row.range.low) == pytest.approx(low - margin)
    assert math.log10(row.range.high) == pytest.approx(high + margin)
    assert (row.previous, row.edge) == (RATE, None)
    assert row.reason.startswith("narrowed: 20 elites lie in")


def test_a_dimension_without_effect_is_kept():
    """Elites spread over the range are no evidence, and the ledger says so."""
    values = evenly(RATE, 100)
    row = row_for(RATE, values, lambda v: (int(1e9 * v) * 7919 % 100) / 100)
    assert (row.decision, row.range) == ("kept", RATE)
    assert "no evidence that it matters" in row.reason


def test_the_crowded_edge_is_named():
    """Elites at the upper declared edge: the edge is in the ledger, and what it means."""
    row = row_for(RATE, evenly(RATE, 100), lambda v: 1 + math.log10(v) / 10)
    assert (row.decision, row.edge, row.range.high) == ("narrowed", "upper", 1e-2)
    assert "crowd the upper edge 0.01: the optimum may lie beyond" in row.reason
    assert crowded(row.range, row.previous, row.edge)
    assert row.rule == RULE


def test_the_lower_edge_is_named_too():
    """The same at the lower end."""
    row = row_for(RATE, evenly(RATE, 100), lambda v: -math.log10(v) / 10)
    assert (row.edge, row.range.low) == ("lower", 1e-6)
    assert "lower edge 1e-06" in row.reason


def test_elites_over_most_of_the_range_do_not_crowd_its_edge():
    """Elites that reach an edge and fill 80 % of the range are said to reach it, no more."""
    found = [Outcome(i, {"x": RATE.at((i + 0.5) / 200)}, 0.9 if i >= 40 else 0.1, 0.5)
             for i in range(200)]  # fmt: skip
    (row,) = narrow(box(x=RATE), box(x=RATE), found, ROWS)
    assert (row.decision, row.edge) == ("narrowed", "upper")
    assert row.reason.endswith("lie in 80% of the range; they reach the upper edge 0.01")
    assert not crowded(row.range, row.previous, row.edge)


@pytest.mark.parametrize(
    ("range_", "previous", "edge", "expected"),
    [
        (Interval(6.0, 10.0), Interval(0.0, 10.0), "upper", True),
        (Interval(0.0, 4.0), Interval(0.0, 10.0), "lower", True),
        (Interval(4.0, 10.0), Interval(0.0, 10.0), "upper", False),
        (Interval(6.0, 8.0), Interval(0.0, 10.0), None, False),
        (Interval(0.0, 1.0), Interval(0.0, 1.0), "both", False),
        (Interval(1e-3, 1e-2, "log"), RATE, "upper", True),
        (Interval(3, 4, integer=True), Interval(1, 4, integer=True), "upper", True),
        (Interval(2, 4, integer=True), Interval(1, 4, integer=True), "upper", False),
        (RATE, None, "upper", False),
        (Choices(("a",)), Choices(("a", "b")), None, False),
    ],
)
def test_an_edge_is_crowded_when_half_the_range_or_less_is_left_beside_it(
    range_, previous, edge, expected
):
    """One declared edge, and at most half of the round's range on its own scale."""
    assert crowded(range_, previous, edge) is expected


def test_a_failed_trial_does_not_count_as_tried():
    """An end beyond which trials only failed stays; a diverged trial there does cut it."""
    values = evenly(RATE, 100)
    good = [Outcome(i, {"x": v}, 0.9 if 40 <= i < 60 else 0.1, 0.5)
            for i, v in enumerate(values) if i < 60]  # fmt: skip
    for failed, edge in ((True, "upper"), (False, None)):
        rest = [Outcome(i, {"x": v}, None, None, failed=failed)
                for i, v in enumerate(values) if i >= 60]  # fmt: skip
        (row,) = narrow(box(x=RATE), box(x=RATE), good + rest, ROWS)
        assert (row.decision, row.edge) == ("narrowed", edge)
        assert (row.range.high == RATE.high) is failed


def test_an_edge_that_was_not_declared_is_no_finding():
    """The end of a range that was narrowed before is not reported as an edge of the study."""
    inner = RATE.between(0.25, 0.75)
    row = row_for(inner, evenly(inner, 100), lambda v: 1 + math.log10(v) / 10, RATE)
    assert (row.decision, row.edge) == ("narrowed", None)


def test_no_range_ever_leaves_the_declared_one():
    """Twenty rounds of narrowing towards a moving optimum stay inside the declared range."""
    rng, current = np.random.default_rng(3), RATE
    for _ in range(20):
        optimum = current.at(rng.random())
        values = [current.at(u) for u in rng.random(40)]
        row = row_for(current, values, lambda v, o=optimum: 1 - abs(math.log(v / o)) / 50, RATE)
        assert RATE.low <= row.range.low < row.range.high <= RATE.high
        assert current.low <= row.range.low
        assert row.range.high <= current.high
        current = row.range
    assert current != RATE


def test_elites_in_one_point_do_not_stop_the_search():
    """A sampler may propose one value again and again; the range is then kept, not emptied."""
    row = row_for(RATE, [1e-2] * 10 + evenly(RATE, 40), lambda v: 1.0 if v == 1e-2 else 0.0)
    assert (row.decision, row.range) == ("kept", RATE)


def test_integers_are_rounded_outward():
    """A narrowed integer range holds all elites and has whole ends."""
    layers = Interval(1, 64, "linear", integer=True)
    row = row_for(layers, evenly(layers, 64), lambda v: 1 - abs(v - 20) / 64)
    assert row.decision == "narrowed"
    assert isinstance(row.range.low, int)
    assert row.range.low <= 14
    assert row.range.high >= 26


def test_few_equal_integers_are_no_evidence():
    """Three elites with one of two values happen by chance in a quarter of all rounds."""
    two = Interval(1, 2, "linear", integer=True)
    kept = row_for(two, [1, 1, 1, *[2] * 9], lambda v: 1.0 if v == 1 else 0.5)
    assert (kept.decision, kept.elites) == ("kept", 3)
    assert "no evidence" in kept.reason


def test_one_trial_shows_no_direction():
    """With one elite nothing is narrowed."""
    row = row_for(RATE, [1e-3], lambda _: 0.9)
    assert (row.decision, row.range, row.elites) == ("kept", RATE, 1)


def test_a_round_that_diverged_narrows_nothing():
    """Without any score every range stays."""
    found = [Outcome(i, {"x": v}, None, None) for i, v in enumerate(evenly(RATE, 20))]
    (row,) = narrow(box(x=RATE), box(x=RATE), found, ROWS)
    assert (row.decision, row.range, row.elites) == ("kept", RATE, 0)


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize("spread", [0.3, 0.6, 0.9])
def test_chance_of_hull_is_what_simulation_shows(spread, count):
    """The probability agrees with 40,000 simulated rounds within 4 standard errors.

    With nine cases a correct formula fails this with probability below 0.001; the seed is fixed.
    """
    points = np.random.default_rng(11).random((40_000, count))
    seen = np.mean(np.ptp(points, axis=1) <= spread)
    expected = chance_of_hull(spread, count)
    error = math.sqrt(max(expected * (1 - expected), 1e-6) / 40_000)
    assert abs(seen - expected) <= 4 * error


def test_a_dimension_without_effect_is_rarely_narrowed():
    """Scores drawn at random narrow a range in at most 3 % of 400 rounds (1 % is aimed at).

    A true rate of 1 % gives more than 12 of 400 with probability below 0.0002; the seed is fixed.
    """
    rng, narrowed = np.random.default_rng(5), 0
    for _ in range(400):
        values = [RATE.at(u) for u in rng.random(50)]
        scores = dict(zip(values, rng.random(50), strict=True))
        narrowed += row_for(RATE, values, scores.__getitem__).decision == "narrowed"
    assert narrowed <= 12


def test_few_integers_without_effect_are_rarely_narrowed():
    """The same for a dimension of eight integers and three elites: at most 3 % of 400 rounds."""
    few, rng, narrowed = Interval(1, 8, "linear", integer=True), np.random.default_rng(6), 0
    for _ in range(400):
        found = [Outcome(i, {"x": int(rng.integers(1, 9))}, s, 0.1)
                 for i, s in enumerate(rng.random(12))]  # fmt: skip
        (row,) = narrow(box(x=few), box(x=few), found, ROWS)
        narrowed += row.decision == "narrowed"
    assert narrowed <= 12


# --------------------------------------------------------------------- choices


OPTIONS = Choices(("relu", "tanh", "sigmoid"))


def by_choice(scores, **tried):
    """Trials of each option, 30 unless told, with scores that fall a little from trial to trial."""
    names = [name for name in scores for _ in range(tried.get(name, 30))]
    return [Outcome(i, {"x": name}, scores[name] - i / 1e6, 0.1) for i, name in enumerate(names)]


def choices_row(found, options=OPTIONS):
    (row,) = narrow(box(x=options), box(x=options), found, ROWS)
    return row


def test_a_choice_no_elite_has_is_dropped():
    """Options without an elite leave, and the row says by which rule."""
    row = choices_row(by_choice({"relu": 0.9, "tanh": 0.3, "sigmoid": 0.2}))
    assert (row.decision, row.range) == ("narrowed", Choices(("relu",)))
    assert "tanh, sigmoid have no place among the 30 elites" in row.reason
    assert row.rule == CHOICES_RULE


def test_a_choice_with_one_elite_stays():
    """An option is only dropped when no elite has it."""
    found = by_choice({"relu": 0.9, "tanh": 0.3, "sigmoid": 0.2})
    found.append(Outcome(90, {"x": "tanh"}, 0.9, 0.1))
    assert choices_row(found).range == Choices(("relu", "tanh"))


def test_tables_are_dropped_like_any_choice():
    """A choice that is a table is dropped whole, and its entries cannot be misread."""
    adam, sgd, slow = (
        frozen({"name": name, "learning_rate": rate})
        for name, rate in (("adam", 0.001), ("sgd", 0.1), ("sgd", 1e-6))
    )
    scores = {adam: 0.9, sgd: 0.3, slow: 0.2}
    found = [
        Outcome(30 * i + j, {"x": choice}, score, 0.1)
        for i, (choice, score) in enumerate(scores.items())
        for j in range(30)
    ]
    row = choices_row(found, Choices((adam, sgd, slow)))
    assert (row.decision, row.range) == ("narrowed", Choices((adam,)))
    lost = "(sgd, learning_rate=0.1), (sgd, learning_rate=1e-06) have no place among the 30 elites"
    assert lost in row.reason


def test_few_elites_drop_no_choice():
    """Three elites may miss an option by chance, so it stays."""
    found = by_choice({"relu": 0.9, "tanh": 0.3, "sigmoid": 0.2}, relu=4, tanh=4, sigmoid=4)
    row = choices_row(found)
    assert (row.decision, row.range) == ("kept", OPTIONS)
    assert "too few to drop" in row.reason
    assert row.rule == CHOICES_RULE


def test_a_choice_that_was_never_tried_is_kept():
    """A hundred elites say nothing about an option that no trial had, and the ledger says so."""
    row = choices_row(by_choice({"relu": 0.9, "tanh": 0.3, "sigmoid": 0}, relu=100, sigmoid=0))
    assert (row.decision, row.range) == ("narrowed", Choices(("relu", "sigmoid")))
    assert "tanh has no place among the 100 elites; sigmoid was never tried" in row.reason
    row = choices_row(by_choice({"relu": 0.9, "tanh": 0.3}), Choices(("relu", "tanh", "sigmoid")))
    assert "sigmoid was never tried" in row.reason


def test_a_choice_that_only_failed_was_never_tried():
    """Lost workers are no evidence against an option; diverged trials are."""
    for failed, left in ((True, OPTIONS), (False, Choices(("relu", "tanh")))):
        found = by_choice({"relu": 0.9, "tanh": 0.9})
        found += [Outcome(60 + i, {"x": "sigmoid"}, None, None, failed=failed) for i in range(30)]
        assert choices_row(found).range == left


def test_a_choice_that_was_rarely_tried_needs_more_elites():
    """Twenty elites drop one of two options tried evenly, not one tried in a tenth of the trials.

    By chance alone none of 20 would have the second in 12 % of rounds (0.9^20).
    """
    two = Choices(("relu", "tanh"))
    even = by_choice({"relu": 0.9, "tanh": 0.3}, relu=50, tanh=50)
    assert choices_row(even, two).range == Choices(("relu",))
    rare = by_choice({"relu": 0.9, "tanh": 0.3}, relu=20, tanh=4)
    rare += [Outcome(24 + i, {"x": "relu"}, 0.2, 0.9) for i in range(16)]
    row = choices_row(rare, two)
    assert (row.decision, row.elites) == ("kept", 20)


def test_all_choices_together_share_the_one_percent():
    """Of four options tried evenly, 17 elites drop none, 21 do (0.75^17 = 0.8 %, over four 3 %)."""
    four = Choices(("a", "b", "c", "d"))
    for count, decision in ((17, "kept"), (21, "narrowed")):
        found = by_choice({"a": 0.9, "b": 0.3, "c": 0.2, "d": 0.1}, **dict.fromkeys("abcd", count))
        row = choices_row(found, four)
        assert (row.elites, row.decision) == (count, decision)


def test_unevenly_tried_choices_without_effect_are_rarely_dropped():
    """A sampler that prefers one of four options, random scores: at most 1 % of 500 rounds drop.

    A limit that takes each option for tried in a quarter of the trials drops one in over half of
    them. The seed is fixed.
    """
    four, rng, dropped = Choices(("a", "b", "c", "d")), np.random.default_rng(8), 0
    for _ in range(500):
        names = rng.choice(list(four.options), 105, p=[0.85, 0.05, 0.05, 0.05])
        scores = rng.random(105)
        found = [Outcome(i, {"x": str(name)}, scores[i], 0.1) for i, name in enumerate(names)]
        dropped += choices_row(found, four).decision == "narrowed"
    assert dropped <= 5


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_chance_of_absence_is_the_binomial_one(share):
    """No elite in a share of the trials: nobody of n independent draws; certain if never tried."""
    assert chance_of_absence(share, 3) == pytest.approx((1 - share) ** 3)
    assert chance_of_absence(0.0, 100) == 1


# ---------------------------------------------------------------------- ledger


def test_the_ledger_has_a_row_per_dimension_in_order():
    """Rows come in the order of the study file, and together they are the next box."""
    space = box(a=RATE, b=OPTIONS, c=Interval(0, 1))
    found = [Outcome(0, {"a": 1e-3, "b": "relu", "c": 0.5}, 0.5, 0.1)]
    rows = narrow(space, space, found, ROWS)
    assert [row.dimension for row in rows] == ["a", "b", "c"]
    assert box_of(rows) == space


def test_the_first_ledger_is_the_study_file():
    """Round 1 has declared ranges, and nothing before them."""
    rows = declared(box(a=RATE))
    assert [(r.decision, r.range, r.previous, r.elites) for r in rows] == [
        ("declared", RATE, None, 0)
    ]


def test_weak_evidence_is_called_so():
    """Four elites in a fifth of the range: kept, with how often chance alone does that."""
    box = Box((Dimension("learning_rate", Interval(0.0, 1.0)),))
    best = [Outcome(i, {"learning_rate": 0.4 + 0.05 * i}, 0.9, 0.1) for i in range(4)]
    rest = [Outcome(4 + i, {"learning_rate": i / 12}, 0.1, 2.0) for i in range(12)]
    (row,) = narrow(box, box, best + rest, 1000)
    assert row.decision == "kept"
    assert "chance alone has it in 1.2% of rounds" in row.reason
