"""From the best trials to a winner: ranks, finalists, ties and intervals."""

import pytest

from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.search.selection import choose_winner, finalists, wilson_interval


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


def test_finalists_are_distinct():
    """Two trials with the same values are one finalist."""
    found = [outcome(0, 0.9, x=1.0), outcome(1, 0.8, x=1.0), outcome(2, 0.7, x=2.0)]
    assert finalists(found, 5) == [{"x": 1.0}, {"x": 2.0}]
    assert finalists(found, 1) == [{"x": 1.0}]


def test_values_that_look_alike_are_not_the_same():
    """The list [50], the number 50 and the float 50.0 are three configurations."""
    found = [outcome(0, 0.9, x=(50,)), outcome(1, 0.8, x=50), outcome(2, 0.7, x=50.0)]
    assert len(finalists(found, 5)) == 3


def test_nobody_is_a_finalist_where_all_diverged():
    """Trials without a score are never repeated."""
    assert finalists([outcome(0, None, None)], 5) == []


def repeats(**scores):
    """Trials numbered seed by seed, as the confirmation plans them."""
    rows = [(seed, name) for seed in range(3) for name in scores]
    return [Outcome(n, {"x": name}, scores[name][seed], 0.1) for n, (seed, name) in enumerate(rows)]


def test_the_best_mean_wins():
    """The winner is the finalist with the best mean over its seeds, not the best single run."""
    winner = choose_winner(repeats(a=[0.80, 0.80, 0.80], b=[0.95, 0.60, 0.60]))
    assert winner.candidate.values == {"x": "a"}
    assert (winner.candidate.score, winner.candidate.seeds) == (pytest.approx(0.8), 3)
    assert winner.candidate.standard_error == pytest.approx(0, abs=1e-12)
    assert winner.ties == ()


def test_ties_within_one_standard_error_are_named():
    """Finalists within the winner's standard error are ties, best first; others are not."""
    winner = choose_winner(
        repeats(a=[0.90, 0.92, 0.94], b=[0.91, 0.91, 0.91], c=[0.915] * 3, d=[0.5] * 3)
    )
    assert winner.candidate.standard_error == pytest.approx(0.02 / 3**0.5)
    assert [tie.values["x"] for tie in winner.ties] == ["c", "b"]


def test_a_dead_heat_goes_to_the_earlier_finalist():
    """Equal means: the finalist that ranked higher in the search wins."""
    winner = choose_winner(repeats(b=[0.9] * 3, a=[0.9] * 3))
    assert winner.candidate.values == {"x": "b"}
    assert [tie.values["x"] for tie in winner.ties] == ["a"]


def test_a_diverged_repeat_counts_as_nothing():
    """A finalist that diverges under another seed pays for it in its mean."""
    winner = choose_winner(repeats(a=[0.9, 0.9, None], b=[0.7, 0.7, 0.7]))
    assert winner.candidate.values == {"x": "b"}


def test_the_order_of_arrival_does_not_matter():
    """Repeats in any order give the same winner."""
    found = repeats(a=[0.9, 0.8, 0.7], b=[0.8, 0.8, 0.8])
    assert choose_winner(found) == choose_winner(found[::-1])


def test_a_winner_needs_repeats():
    """Without any repeat there is no winner to choose."""
    with pytest.raises(ValueError, match="at least one repeat"):
        choose_winner([])


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
