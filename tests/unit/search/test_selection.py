"""From the best trials to a winner: ranks, finalists, ties and intervals."""

import numpy as np
import pytest

from hpsearch.search.outcomes import Outcome, configurations, ranked
from hpsearch.search.selection import (
    choose_winner,
    in_turn,
    mean_interval,
    race,
    wilson_interval,
)


def outcome(number, score, loss=0.5, **values):
    return Outcome(number, values or {"x": number}, score, loss)


def test_ranks_go_by_score_then_loss_then_number():
    """Ties in score go to the lower loss, then to the lower number; no score, no rank."""
    found = [
        outcome(4, 0.9, 0.3),
        outcome(3, 0.9, 0.3),
        outcome(2, 0.9, 0.2),
        outcome(1, 0.95, 0.9),
        outcome(0, None, None),
        outcome(5, 0.9, None),
    ]
    assert [o.number for o in ranked(found)] == [1, 2, 3, 4, 5]


def test_configurations_are_distinct():
    """Two trials with the same values are one finalist."""
    found = [outcome(0, 0.9, x=1.0), outcome(1, 0.8, x=1.0), outcome(2, 0.7, x=2.0)]
    assert configurations(found) == [{"x": 1.0}, {"x": 2.0}]


def test_values_that_look_alike_are_not_the_same():
    """The list [50], the number 50 and the float 50.0 are three configurations."""
    found = [outcome(0, 0.9, x=(50,)), outcome(1, 0.8, x=50), outcome(2, 0.7, x=50.0)]
    assert len(configurations(found)) == 3


def test_nobody_is_a_finalist_where_all_diverged():
    """Trials without a score are never repeated."""
    assert configurations([outcome(0, None, None)]) == []


FAILED = "failed"


def repeats(**scores):
    """Trials numbered seed by seed, as the confirmation plans them."""
    seeds = range(len(next(iter(scores.values()))))
    rows = [(seed, name) for seed in seeds for name in scores]
    return [
        Outcome(n, {"x": name}, None, None, seed, failed=True)
        if scores[name][seed] == FAILED
        else Outcome(n, {"x": name}, scores[name][seed], 0.1, seed)
        for n, (seed, name) in enumerate(rows)
    ]


def test_two_orders_are_taken_in_turn():
    """One of each, none twice, until both are used up."""
    one, two, three = {"x": 1.0}, {"x": 2.0}, {"x": 3.0}
    assert in_turn([one, two, three], [three, one, two]) == [one, three, two]


def test_the_best_mean_wins():
    """The winner is the finalist with the best mean over its seeds, not the best single run."""
    winner = choose_winner(repeats(a=[0.80, 0.80, 0.80], b=[0.85, 0.60, 0.60]))
    assert winner.candidate.values == {"x": "a"}
    assert (winner.candidate.score, winner.candidate.seeds) == (pytest.approx(0.8), 3)
    assert winner.candidate.standard_error == pytest.approx(0, abs=1e-12)
    assert winner.ties == ()


def test_who_scatters_widely_is_not_as_good_for_that():
    """Simpler, and not to be told from the best by any test: but its mean is further below."""
    best = [0.96, 0.965, 0.955, 0.96]
    wide = [0.99, 0.89, 0.98, 0.90]
    near = [0.9585, 0.9625, 0.9535, 0.9585]
    size = {"a": (3,), "b": (1,), "c": (2,)}
    found = race(repeats(a=best, b=wide, c=near), lambda values: size[values["x"]])
    assert len(found.running) == 2  # c is told from a, seed by seed
    assert found.winner.candidate.values == {"x": "a"}
    assert names(found.winner.ties) == ["b"]
    found = race(repeats(a=best, b=wide, c=best), lambda values: size[values["x"]])
    assert found.winner.candidate.values == {"x": "c"}


def names(ties):
    return [tie.values["x"] for tie in ties]


def test_ties_are_judged_seed_by_seed():
    """A small lead in every seed is a lead; a larger one that seeds disagree about is not."""
    winner = choose_winner(
        repeats(a=[0.90, 0.92, 0.94], b=[0.89, 0.91, 0.93], c=[0.95, 0.90, 0.90], d=[0.5] * 3)
    )
    assert winner.candidate.values == {"x": "a"}
    assert winner.candidate.standard_error == pytest.approx(0.02 / 3**0.5)
    # Against b: 0.01 in every seed. Against c: -0.05, 0.02, 0.04, mean 0.003, standard error 0.027.
    assert names(winner.ties) == ["c"]


def test_a_steady_winner_is_tied_with_an_unsteady_finalist():
    """That the winner's own scores are alike says nothing about the other's mean."""
    winner = choose_winner(repeats(a=[0.9601] * 5, b=[0.99, 0.93, 0.97, 0.94, 0.96]))
    assert winner.candidate.values == {"x": "a"}
    assert names(winner.ties) == ["b"]


def test_ties_come_best_first():
    """Of several ties the one with the better mean stands first."""
    winner = choose_winner(repeats(a=[0.96] * 3, b=[0.90, 0.99, 0.93], c=[0.90, 1.0, 0.95]))
    assert names(winner.ties) == ["c", "b"]


def test_one_seed_ties_only_equals():
    """With one seed there is no standard error, so only equal scores are ties."""
    winner = choose_winner(repeats(a=[0.96], b=[0.96], c=[0.9599]))
    assert names(winner.ties) == ["b"]


def test_a_dead_heat_goes_to_the_earlier_finalist():
    """Equal means: the finalist that ranked higher in the search wins."""
    winner = choose_winner(repeats(b=[0.9] * 3, a=[0.9] * 3))
    assert winner.candidate.values == {"x": "b"}
    assert [tie.values["x"] for tie in winner.ties] == ["a"]


def test_a_diverged_repeat_counts_as_nothing():
    """A finalist that diverges under another seed pays for it in its mean."""
    winner = choose_winner(repeats(a=[0.9, 0.9, None], b=[0.7, 0.7, 0.7]))
    assert winner.candidate.values == {"x": "b"}


def test_who_diverged_more_often_is_no_tie():
    """Divergence spreads the differences, which must not pass for noise."""
    winner = choose_winner(repeats(a=[0.9, 0.91, 0.9], b=[0.91, 0.9, None]))
    assert (winner.candidate.values, winner.ties) == ({"x": "a"}, ())


def test_a_failed_repeat_is_left_out():
    """Lost workers cost a finalist a repeat, not its accuracy."""
    winner = choose_winner(repeats(a=[0.9, FAILED, 0.9], b=[0.7, 0.7, 0.7]))
    assert winner.candidate.values == {"x": "a"}
    assert (winner.candidate.score, winner.candidate.seeds) == (pytest.approx(0.9), 2)
    assert winner.ties == ()


def test_finalists_without_a_common_seed_are_ties():
    """Where failures leave no seed that both have met, neither can be told from the other."""
    winner = choose_winner(repeats(a=[0.9, FAILED], b=[FAILED, 0.5]))
    assert names(winner.ties) == ["b"]


def test_a_dead_heat_is_decided_by_rank_even_after_a_failure():
    """The finalist that ranked higher wins a dead heat also when its first repeat failed."""
    winner = choose_winner(repeats(a=[FAILED, 0.9], b=[0.9, 0.9]))
    assert winner.candidate.values == {"x": "a"}


def test_the_order_of_arrival_does_not_matter():
    """Repeats in any order give the same winner."""
    found = repeats(a=[0.9, 0.8, 0.7], b=[0.8, 0.8, 0.8])
    assert choose_winner(found) == choose_winner(found[::-1])


@pytest.mark.parametrize(
    "found",
    [
        [],
        repeats(a=[None, None], b=[None, None]),
        repeats(a=[FAILED, FAILED], b=[FAILED, FAILED]),
        repeats(a=[FAILED, None], b=[None, FAILED]),
    ],
)
def test_without_a_scored_repeat_nobody_wins(found):
    """Where every repeat diverged or failed there is no winner to test."""
    assert choose_winner(found) is None


def test_a_finalist_without_a_score_is_nobodys_tie():
    """A finalist whose repeats all diverged is left out beside a winner that hardly scored."""
    winner = choose_winner(repeats(a=[None, None], b=[0.0, 0.01]))
    assert (winner.candidate.values, winner.ties) == ({"x": "b"}, ())


@pytest.mark.parametrize(
    ("successes", "rows", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_the_published_values(successes, rows, low, high):
    """The interval agrees with the examples of Newcombe (1998) to their four digits."""
    found = wilson_interval(successes, rows)
    assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("rows", [1, 2, 24, 360, 10_000])
def test_wilson_interval_contains_the_share(rows):
    """From nothing right to all right the share lies inside, and inside [0, 1]."""
    for successes in {0, 1, rows // 2, rows - 1, rows}:
        low, high = wilson_interval(successes, rows)
        assert 0 <= low <= successes / rows <= high <= 1


def test_a_single_training_has_wilsons_interval():
    """Where nothing is known about seeds, only the rows are counted."""
    assert mean_interval([0.75], 100) == wilson_interval(75, 100)
    assert mean_interval([0.75] * 5, 100) == pytest.approx(wilson_interval(75, 100))


def test_seeds_widen_the_interval():
    """Trainings that differ make the mean less certain, on both sides, within [0, 1]."""
    low, high = mean_interval([0.7, 0.8, 0.75, 0.72, 0.78], 100)
    narrow = wilson_interval(75, 100)
    assert 0 < low < narrow[0] < narrow[1] < high < 1
    assert mean_interval([1.0, 0.0], 10) == (0.0, 1.0)


def test_the_interval_covers_the_truth():
    """2,000 studies whose rows and seeds are drawn: it covers the mean in 94 % or more.

    An interval that covers 95 % fails this with a probability of 2 %.
    """
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        skill = np.clip(0.9 + 0.02 * rng.standard_normal(5), 0, 1)
        # Rows are easy or hard for all trainings alike.
        luck = rng.random(200)
        low, high = mean_interval([float(np.mean(luck < s)) for s in skill], 200)
        covered += low <= 0.9 <= high
    assert covered >= 0.94 * 2000
