"""The elites' rule: on evidence only, never outside what may be searched."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hpsearch.search.elites import (
    CHOICES_RULE,
    MISSED,
    RULE,
    chance_of_absence,
    chance_of_crowd,
    chance_of_hull,
    elites,
    endpoint_margin,
    narrow,
)
from hpsearch.search.ledger import box_of, declared, shut_ends
from hpsearch.search.outcomes import Outcome
from hpsearch.space import Box, Choices, Dimension, Interval, frozen

RATE = Interval(1e-6, 1e-2, "log")
NOISE = 1e-6  # so small that it makes no trial an elite


def box(**ranges):
    return Box(tuple(Dimension(name, range_) for name, range_ in ranges.items()))


def outcomes(name, values, score):
    """One trial per value, scored by a function of the value."""
    return [Outcome(i, {name: v}, score(v), 0.5) for i, v in enumerate(values)]


def limited(range_, limits):
    """The declared box of a study with one dimension, which may grow to these limits."""
    widest = None if limits is None else Interval(*limits, range_.scale)
    return Box((Dimension("x", range_, widest),))


def row_for(range_, values, score, declared_range=None, limits=None):
    """The ledger row of a round with one dimension."""
    found = outcomes("x", values, score)
    (row,) = narrow(box(x=range_), limited(declared_range or range_, limits), found, NOISE)
    return row


def evenly(range_, count):
    return [range_.at((i + 0.5) / count) for i in range(count)]


# ---------------------------------------------------------------------- elites


def test_elites_are_the_best_15_percent():
    """Where scores differ by more than their noise, this share is taken, rounded up, best first."""
    found = [Outcome(i, {}, i / 121, 0.0) for i in range(121)]
    assert [o.number for o in elites(found, NOISE)] == list(range(120, 101, -1))


@pytest.mark.parametrize(("trials", "count"), [(3, 3), (10, 10), (60, 10), (67, 11)])
def test_a_small_round_has_ten_elites(trials, count):
    """A share of few trials would show no direction; where there are fewer, all are elites."""
    found = [Outcome(i, {}, i / trials, 0.0) for i in range(trials)]
    assert len(elites(found, NOISE)) == count


def test_elites_include_all_that_noise_cannot_separate():
    """Every trial within the noise of the mean of the best ten is an elite, however many."""
    found = [Outcome(i, {}, 0.90 - i / 1000, 0.0) for i in range(50)]
    floor = 0.8955 - 0.02
    assert len(elites(found, 0.02)) == sum(o.score >= floor for o in found) == 25


def test_diverged_and_failed_trials_are_never_elites():
    """Trials without a score are left out, and do not count for the share."""
    found = [Outcome(i, {}, None, None) for i in range(15)] + [Outcome(15, {}, 0.5, 0.1)]
    assert [o.number for o in elites(found, NOISE)] == [15]
    assert elites(found[:15], NOISE) == []


# ------------------------------------------------------------------- intervals


def test_a_range_narrows_to_hull_and_margin():
    """The new range is the elites' hull and a 95 % bound on each of its ends, in log space."""
    values = evenly(RATE, 100)
    row = row_for(RATE, values, lambda v: 1 - abs(math.log10(v) + 4) / 10)
    best = sorted(values, key=lambda v: abs(math.log10(v) + 4))[:15]
    low, high = math.log10(min(best)), math.log10(max(best))
    margin = (20 ** (1 / 14) - 1) * (high - low)
    assert row.decision == "narrowed"
    assert row.elites == 15
    assert math.log10(row.range.low) == pytest.approx(low - margin)
    assert math.log10(row.range.high) == pytest.approx(high + margin)
    assert (row.previous, row.edge, row.rule) == (RATE, None, RULE)
    assert row.reason == "narrowed: 15 elites lie in 14% of the range"


@pytest.mark.parametrize("count", [3, 10, 40])
def test_the_margin_misses_an_end_in_one_of_twenty(count):
    """Of 20,000 stretches with evenly spread elites it leaves an end out in 5 %.

    Within 4 standard errors; with three cases a correct margin fails with probability below 0.0002.
    """
    points = np.random.default_rng(4).random((20_000, count))
    low, high = points.min(axis=1), points.max(axis=1)
    missed = np.mean(high + endpoint_margin(count) * (high - low) < 1)
    assert abs(missed - MISSED) < 4 * math.sqrt(MISSED * (1 - MISSED) / 20_000)


def test_a_dimension_without_effect_is_kept():
    """Elites spread over the range are no evidence, and the ledger says so."""
    values = evenly(RATE, 100)
    row = row_for(RATE, values, lambda v: (int(1e9 * v) * 7919 % 100) / 100)
    assert (row.decision, row.range) == ("kept", RATE)
    assert "no evidence that it matters" in row.reason


def test_a_range_that_was_moved_on_evidence_is_not_said_to_be_without():
    """Elites spread over what is left of a range say nothing against the cut that left it."""
    values = evenly(RATE, 100)
    row = row_for(
        RATE,
        values,
        lambda v: (int(1e9 * v) * 7919 % 100) / 100,
        declared_range=Interval(1e-8, 1e-2, "log"),
    )
    assert row.decision == "kept"
    assert row.reason.endswith("nothing more to cut")


def test_an_end_beyond_which_nothing_worse_was_tried_stays():
    """A gap between the outermost elite and the end of the range says nothing against it."""
    values = [v for v in evenly(RATE, 100) if v < 2e-3]
    row = row_for(RATE, values, lambda v: 1 + math.log10(v) / 10)
    assert (row.decision, row.edge, row.range.high) == ("narrowed", None, 1e-2)


# ----------------------------------------------------------------------- edges


def rising(value):
    """The higher the better."""
    return 1 + math.log10(value) / 10


def falling(value):
    """The lower the better."""
    return -math.log10(value) / 10


def test_an_open_edge_without_limits_is_named():
    """Elites at the declared edge: it is in the ledger, and what it means; it cannot be opened."""
    row = row_for(RATE, evenly(RATE, 100), rising)
    assert (row.decision, row.edge, row.range.high) == ("narrowed", "upper", 1e-2)
    assert row.reason == (
        "narrowed: 15 elites lie in 14% of the range; 10 of them crowd the upper edge 0.01: "
        "the optimum may lie beyond"
    )
    assert shut_ends(RATE, row.range, RATE, row.edge) == ["upper"]


def test_the_lower_edge_is_named_too():
    """The same at the lower end."""
    row = row_for(RATE, evenly(RATE, 100), falling)
    assert (row.edge, row.range.low) == ("lower", 1e-6)
    assert "crowd the lower edge 1e-06: the optimum may lie beyond" in row.reason


@pytest.mark.parametrize(
    ("score", "limits", "edge", "wall", "decision"),
    [
        (rising, (1e-8, 1e4), "upper", 1e2, "widened"),
        (rising, (1e-8, 1.0), "upper", 1.0, "moved"),
        (falling, (1e-20, 1.0), "lower", 1e-10, "widened"),
        (falling, (1e-8, 1.0), "lower", 1e-8, "moved"),
    ],
)
def test_an_open_edge_is_opened_within_the_limits(score, limits, edge, wall, decision):
    """The range grows by the round's own width, or to the limit where that is nearer."""
    row = row_for(RATE, evenly(RATE, 100), score, limits=limits)
    assert (row.decision, row.edge) == (decision, edge)
    assert "the optimum may lie beyond" in row.reason
    assert (row.range.high if edge == "upper" else row.range.low) == pytest.approx(wall)
    assert shut_ends(RATE, row.range, Interval(*limits, "log"), row.edge) == []


def test_an_edge_at_the_limit_is_shut():
    """A range that has grown to its limit can only be named."""
    grown = Interval(1e-6, 1.0, "log")
    row = row_for(grown, evenly(grown, 100), rising, RATE, (1e-6, 1.0))
    assert (row.decision, row.edge) == ("narrowed", "upper")
    assert shut_ends(grown, row.range, grown, row.edge) == ["upper"]


def test_an_edge_that_was_cut_too_hard_is_opened_again():
    """The end of a range that was narrowed before may move back, up to the declared one."""
    inner = RATE.between(0.25, 0.75)
    row = row_for(inner, evenly(inner, 100), rising, RATE)
    assert (row.decision, row.edge, row.range.high) == ("moved", "upper", RATE.high)
    assert shut_ends(inner, row.range, RATE, row.edge) == []


def test_a_margin_may_reach_beyond_the_declared_range():
    """Where limits allow, the bound on an end is not cut at an edge that nobody crowds."""
    values = evenly(RATE, 60)
    row = row_for(RATE, values, lambda v: -abs(math.log10(v) + 2.467), limits=(1e-8, 1.0))
    assert (row.decision, row.edge) == ("moved", None)
    assert 1e-2 < row.range.high < 1.5e-2
    without = row_for(RATE, values, lambda v: -abs(math.log10(v) + 2.467))
    assert (without.decision, without.range.high) == ("narrowed", 1e-2)


def test_an_edge_is_opened_though_the_elites_spread_over_the_range():
    """One stray elite at the other end is no reason to overlook the crowd; nothing is cut."""
    found = outcomes("x", evenly(RATE, 100), rising)
    found[0] = replace(found[0], score=0.99)
    (row,) = narrow(limited(RATE, (1e-8, 1.0)), limited(RATE, (1e-8, 1.0)), found, NOISE)
    assert (row.decision, row.edge, row.range) == ("widened", "upper", Interval(1e-6, 1.0, "log"))
    assert "lie in 99% of the range; 10 of them crowd the upper edge 0.01" in row.reason


def test_both_edges_may_be_open():
    """Where the middle is the worst place, both ends are named."""
    row = row_for(RATE, evenly(RATE, 100), lambda v: abs(math.log10(v) + 4))
    assert (row.decision, row.edge) == ("kept", "both")
    assert "7 of them crowd the lower edge 1e-06 and 8 the upper edge 0.01: the" in row.reason
    assert shut_ends(RATE, row.range, RATE, row.edge) == ["lower", "upper"]


def test_edges_are_rarely_open_by_chance():
    """Random scores open an edge in at most 3 % of 400 rounds: each end at most in 1 %.

    A true rate of 2 % gives more than 20 of 400 with probability below 0.0001; the seed is fixed.
    """
    rng, opened = np.random.default_rng(12), 0
    for _ in range(400):
        values = [RATE.at(u) for u in rng.random(100)]
        scores = dict(zip(values, rng.random(100), strict=True))
        opened += row_for(RATE, values, scores.__getitem__).edge is not None
    assert opened <= 12


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_chance_of_crowd_is_the_binomial_tail(share):
    """None or more are certain; all of them have the share's power."""
    assert chance_of_crowd(0, 7, share) == 1
    assert chance_of_crowd(7, 7, share) == pytest.approx(share**7)
    assert chance_of_crowd(1, 7, share) == pytest.approx(1 - (1 - share) ** 7)


def test_a_sampler_that_crowds_an_edge_is_no_evidence():
    """What counts is how often the outer part was tried, not how large it is."""
    values = evenly(RATE, 50) + [RATE.at(0.95 + i / 1000) for i in range(50)]
    row = row_for(RATE, values, lambda v: (int(1e9 * v) * 7919 % 100) / 100)
    assert row.edge is None


@pytest.mark.parametrize(
    ("previous", "following", "edge", "expected"),
    [
        (Interval(0.0, 10.0), Interval(5.0, 10.0), "upper", ["upper"]),
        (Interval(0.0, 9.0), Interval(5.0, 10.0), "upper", []),
        (Interval(0.0, 4.0), Interval(0.0, 2.0), "lower", ["lower"]),
        (Interval(0.0, 10.0), Interval(5.0, 10.0), None, []),
        (Interval(1.0, 10.0), Interval(1.0, 10.0), "both", ["upper"]),
        # A declared edge below 8 was left behind.
        (Interval(0.0, 10.0), Interval(8.0, 9.0), "upper", []),
    ],
)
def test_an_open_end_of_what_may_be_searched_is_shut(previous, following, edge, expected):
    """Only what could not be opened, and is not left behind, is left for a person to open."""
    assert shut_ends(previous, following, Interval(0.0, 10.0), edge) == expected


def test_what_was_tried_beyond_the_round_s_range_counts():
    """A sampler with waves may have looked there already: the elites among it are the hull."""
    beyond = Interval(1e-6, 1.0, "log")
    row = row_for(RATE, evenly(beyond, 100), lambda v: -abs(math.log10(v) + 1), RATE, (1e-8, 1.0))
    assert row.decision == "moved"
    assert row.range.low < 1e-1 < row.range.high < 1.0


# ------------------------------------------------------- what stays and what is kept


def test_a_failed_trial_does_not_count_as_tried():
    """An end beyond which trials only failed stays; a diverged trial there does cut it."""
    values = evenly(RATE, 100)
    good = [Outcome(i, {"x": v}, 0.9 if 40 <= i < 60 else 0.1, 0.5)
            for i, v in enumerate(values) if i < 60]  # fmt: skip
    for failed in (True, False):
        rest = [Outcome(i, {"x": v}, None, None, failed=failed)
                for i, v in enumerate(values) if i >= 60]  # fmt: skip
        (row,) = narrow(box(x=RATE), box(x=RATE), good + rest, NOISE)
        assert (row.decision, row.edge) == ("narrowed", None)
        assert (row.range.high == RATE.high) is failed


@pytest.mark.parametrize("limits", [None, (1e-7, 1e-1)])
def test_no_range_ever_leaves_what_may_be_searched(limits):
    """Twenty rounds towards a moving optimum stay inside the limits, else the declared range."""
    rng, current = np.random.default_rng(3), RATE
    low, high = limits or (RATE.low, RATE.high)
    seen = {current}
    for _ in range(20):
        optimum = current.at(rng.random())
        values = [current.at(u) for u in rng.random(100)]
        score = lambda v, o=optimum: 1 - abs(math.log(v / o)) / 50  # noqa: E731
        row = row_for(current, values, score, RATE, limits)
        assert low <= row.range.low < row.range.high <= high
        current = row.range
        seen.add(current)
    assert len(seen) > 10


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
    kept = row_for(two, [1, 1, 1, *[2] * 9], lambda v: 1.0 if v == 1 else None)
    assert (kept.decision, kept.elites) == ("kept", 3)
    assert "too few to tell whether it matters" in kept.reason


def test_one_trial_shows_no_direction():
    """With one elite nothing is narrowed."""
    row = row_for(RATE, [1e-3], lambda _: 0.9)
    assert (row.decision, row.range, row.elites) == ("kept", RATE, 1)


def test_a_round_that_diverged_narrows_nothing():
    """Without any score every range stays."""
    found = [Outcome(i, {"x": v}, None, None) for i, v in enumerate(evenly(RATE, 20))]
    (row,) = narrow(box(x=RATE), box(x=RATE), found, NOISE)
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
    """The same for a dimension of eight integers and ten elites: at most 3 % of 400 rounds."""
    few, rng, narrowed = Interval(1, 8, "linear", integer=True), np.random.default_rng(6), 0
    for _ in range(400):
        found = [Outcome(i, {"x": int(rng.integers(1, 9))}, s, 0.1)
                 for i, s in enumerate(rng.random(40))]  # fmt: skip
        (row,) = narrow(box(x=few), box(x=few), found, NOISE)
        narrowed += row.decision == "narrowed"
    assert narrowed <= 12


@pytest.mark.parametrize("space", [(2, 2), (4, 3)])
def test_copies_of_a_configuration_are_no_evidence(space):
    """Of equal values under one seed the score is the same: a hundred trials are a few results.

    No dimension has an effect, so whatever is narrowed is chance; of 200 rounds at most 6 are.
    """
    rng, narrowed = np.random.default_rng(7), 0
    dimensions = {
        n: Choices(tuple(map(str, range(size)))) for n, size in zip("xy", space, strict=True)
    }
    for _ in range(200):
        luck = rng.normal(0.9, NOISE, space)
        places = [tuple(int(rng.integers(size)) for size in space) for _ in range(100)]
        found = [
            Outcome(i, {"x": str(x), "y": str(y)}, luck[x, y], 0.1, seed=1)
            for i, (x, y) in enumerate(places)
        ]
        rows = narrow(box(**dimensions), box(**dimensions), found, NOISE)
        narrowed += any(row.decision != "kept" for row in rows)
    assert narrowed <= 6


# --------------------------------------------------------------------- choices


OPTIONS = Choices(("relu", "tanh", "sigmoid"))


def by_choice(scores, **tried):
    """Trials of each option, 30 unless told, with scores that fall a little from trial to trial."""
    names = [name for name in scores for _ in range(tried.get(name, 30))]
    return [Outcome(i, {"x": name}, scores[name] - i / 1e6, 0.1) for i, name in enumerate(names)]


def choices_row(found, options=OPTIONS):
    # So much noise that all trials of one option are alike.
    (row,) = narrow(box(x=options), box(x=options), found, 1e-3)
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
    found = by_choice({"relu": 0.9, "tanh": 0.3, "sigmoid": 0.2}, relu=3, tanh=4, sigmoid=4)
    found[3:] = [replace(outcome, score=None, loss=None) for outcome in found[3:]]
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
    rows = narrow(space, space, found, NOISE)
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
    rest = [Outcome(4 + i, {"learning_rate": i / 12}, None, None) for i in range(12)]
    (row,) = narrow(box, box, best + rest, NOISE)
    assert row.decision == "kept"
    assert "chance alone has it in 1.2% of rounds" in row.reason
