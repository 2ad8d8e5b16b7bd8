"""From the best trials of the search to a winner that was measured again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpsearch.search.outcomes import Outcome, ranked, signature
from hpsearch.space import Value

# Fewer seeds than this tell nobody apart.
_LEAST_SEEDS = 4


@dataclass(frozen=True)
class Candidate:
    """A finalist after its repeats.

    Attributes:
        values: One value per dimension.
        score: Mean score over the seeds; a diverged repeat counts as 0, a failed one not at all.
        standard_error: Of that mean, over the seeds; 0 for a single seed.
        seeds: How many repeats stand behind it; 1 also for a search trial that was not repeated.
    """

    values: dict[str, Value]
    score: float
    standard_error: float
    seeds: int


@dataclass(frozen=True)
class Winner:
    """The best finalist, and those that cannot be told from it.

    Attributes:
        candidate: The finalist with the best mean, or a simpler one that is as good.
        ties: Other finalists that the paired repeats cannot tell from it, best first.
        raced: The winner over the seeds that chose it; None where `candidate` is that.
    """

    candidate: Candidate
    ties: tuple[Candidate, ...]
    raced: Candidate | None = None


@dataclass(frozen=True)
class Difference:
    """How much better one configuration scores than another, seed by seed.

    Attributes:
        mean: Of the differences.
        interval: 95 %, by Student's distribution; None for a single seed.
        seeds: How many both have met.
    """

    mean: float
    interval: tuple[float, float] | None
    seeds: int


@dataclass(frozen=True)
class Race:
    """How far the confirmation is.

    Attributes:
        running: Finalists that cannot be told from the best, in their order in the search.
        seeds: How many seeds they have met.
        winner: The best of them; None where no repeat of any finalist has a score.
    """

    running: tuple[dict[str, Value], ...]
    seeds: int
    winner: Winner | None


def race(
    repeats: Sequence[Outcome],
    simplicity: Callable[[dict[str, Value]], tuple[float, ...]] = lambda _values: (),
) -> Race:
    """Who is still in the race after these repeats.

    A finalist drops out when, seed by seed, the best of those that are left leads it by more than
    chance would in one of twenty races (Student's paired test, one-sided), or when it diverged more
    often. Fewer than four seeds drop nobody.

    The winner is the simplest of those left whose mean is within a standard error of the best mean
    (the one-standard-error rule: Breiman et al., *Classification and Regression Trees*, 1984,
    3.4.3). One whose repeats scatter widely stays in a race for long, and is not as good for that.

    Args:
        repeats: All repeats so far. Those still in the race have met every seed.
        simplicity: The smallest is the simplest; of equally simple ones the best mean wins.
    """
    seeds = max((outcome.replicate for outcome in repeats), default=-1) + 1
    met_all = {signature(o.values) for o in repeats if o.replicate == seeds - 1}
    groups = [g for g in _by_values(repeats) if any(o.score is not None for o in g)]
    left = [group for group in groups if signature(group[0].values) in met_all]
    if not left:
        return Race((), seeds, None)
    best = max(left, key=lambda group: _candidate(group).score)
    running = [group for group in left if group is best or not _beaten(best, group)]
    ranking = sorted(map(_candidate, running), key=lambda candidate: -candidate.score)
    as_good = ranking[0].score - ranking[0].standard_error
    alike = [candidate for candidate in ranking if candidate.score >= as_good]
    first = min(alike, key=lambda candidate: simplicity(candidate.values))
    winner = Winner(first, tuple(candidate for candidate in ranking if candidate is not first))
    return Race(tuple(group[0].values for group in running), seeds, winner)


def _beaten(best: list[Outcome], other: list[Outcome]) -> bool:
    """Whether the best's lead over another is more than chance."""
    if _diverged(other) > _diverged(best):
        return True
    lead = _lead(best, other)
    if len(lead) < _LEAST_SEEDS:
        return False
    error = _error(lead)
    mean = statistics.fmean(lead)
    return mean > 0 if error == 0 else mean / error > _quantile(len(lead) - 1, 0.95)


def _quantile(freedom: int, share: float) -> float:
    """A quantile of Student's distribution."""
    from scipy.stats import t

    return float(t.ppf(share, freedom))


def in_turn(
    first: Sequence[dict[str, Value]], second: Sequence[dict[str, Value]]
) -> list[dict[str, Value]]:
    """One of each in turn, none of them twice."""
    distinct: dict[str, dict[str, Value]] = {}
    for pair in zip(first, second, strict=True):
        for values in pair:
            distinct.setdefault(signature(values), values)
    return list(distinct.values())


def choose_winner(repeats: Sequence[Outcome]) -> Winner | None:
    """The best mean over the repeats of each finalist; an earlier trial wins a dead heat.

    Returns:
        None where no repeat of any finalist has a score.
    """
    groups = [group for group in _by_values(repeats) if any(o.score is not None for o in group)]
    if not groups:
        return None
    order = sorted(groups, key=lambda group: -_candidate(group).score)
    best, others = order[0], order[1:]
    return Winner(_candidate(best), tuple(_candidate(g) for g in others if _tied(best, g)))


def measured_winner(winner: Winner, repeats: Sequence[Outcome]) -> Winner:
    """The winner with a score from seeds that had no part in choosing it.

    Args:
        winner: As it was chosen.
        repeats: Its repeats over those seeds. Where all failed, its score stays what it was.
    """
    groups = [group for group in _by_values(repeats) if group]
    if not groups:
        return winner
    return replace(winner, candidate=_candidate(groups[0]), raced=winner.candidate)


def paired_difference(
    mine: Sequence[Outcome], yours: Sequence[Outcome], seeds: Sequence[int]
) -> Difference | None:
    """How much better one configuration scores than another over seeds that both have met.

    Args:
        mine: Repeats of the one.
        yours: Repeats of the other.
        seeds: Replicates that count; repeats that failed do not.

    Returns:
        None where no seed has a repeat of both.
    """
    counted = [[o for o in all_ if not o.failed and o.replicate in seeds] for all_ in (mine, yours)]
    lead = _lead(*counted)
    if not lead:
        return None
    mean = statistics.fmean(lead)
    return Difference(mean, seeds_interval(lead), len(lead))


def seeds_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a mean over seeds, by Student's distribution; None for a single seed."""
    if len(scores) < 2:  # noqa: PLR2004 - one score has no spread
        return None
    mean = statistics.fmean(scores)
    half = _quantile(len(scores) - 1, 0.975) * _error(list(scores))
    return mean - half, mean + half


def repeats_of(candidate: Candidate, repeats: Sequence[Outcome]) -> list[Outcome]:
    """The repeats of one finalist among those of all."""
    return [o for o in repeats if signature(o.values) == signature(candidate.values)]


def unconfirmed_winner(outcomes: Sequence[Outcome]) -> Winner | None:
    """The best trial of a search whose trials are not run again, as it was measured once.

    Returns:
        None where no trial has a score. Nobody is tied: without repeats nobody can say so.
    """
    best = ranked(outcomes)[:1]
    return next((Winner(Candidate(o.values, o.score or 0.0, 0.0, 1), ()) for o in best), None)


def _by_values(repeats: Sequence[Outcome]) -> list[list[Outcome]]:
    """One list per finalist, in their order in the search; without the repeats that failed."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in sorted(repeats, key=lambda o: o.number):
        group = groups.setdefault(signature(outcome.values), [])
        if not outcome.failed:
            group.append(outcome)
    return list(groups.values())


def _candidate(group: list[Outcome]) -> Candidate:
    scores = [_points(outcome) for outcome in group]
    return Candidate(group[0].values, statistics.fmean(scores), _error(scores), len(scores))


def _tied(best: list[Outcome], other: list[Outcome]) -> bool:
    """Whether the seeds that both have met leave open which of the two is better.

    What one seed does to all finalists alike cancels in the differences, so these are steadier
    than either mean. Divergence is no noise: who diverged more often than the winner is not tied.
    """
    if _diverged(other) > _diverged(best):
        return False
    lead = _lead(best, other)
    return not lead or statistics.fmean(lead) <= _error(lead)


def _lead(best: list[Outcome], other: list[Outcome]) -> list[float]:
    """By how much the best is ahead, for every seed that both have met."""
    theirs = {outcome.replicate: _points(outcome) for outcome in other}
    pairs = [(_points(o), theirs[o.replicate]) for o in best if o.replicate in theirs]
    return [mine - yours for mine, yours in pairs]


def _points(outcome: Outcome) -> float:
    """The score; a repeat that diverged has earned nothing."""
    return 0.0 if outcome.score is None else outcome.score


def _diverged(group: list[Outcome]) -> int:
    return sum(outcome.score is None for outcome in group)


def _error(sample: list[float]) -> float:
    """Standard error of the mean; 0 for a single figure."""
    return statistics.stdev(sample) / math.sqrt(len(sample)) if len(sample) > 1 else 0.0


def wilson_interval(
    successes: float, rows: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), 95 % by default.

    Args:
        successes: Rows that were right.
        rows: Rows in all, at least 1.
        z: Normal quantile of the wanted confidence.

    Returns:
        Lower and upper end, within [0, 1].
    """
    share = successes / rows
    centre = share + z * z / (2 * rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    # At none and at all the ends are exactly 0 and 1, which rounding would miss by a hair.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == rows else (centre + half) / scale
    return low, high


def mean_interval(shares: Sequence[float], rows: int) -> tuple[float, float]:
    """95 % interval of a mean accuracy over trainings, each measured on the same rows.

    It covers both sources of luck: which rows were drawn (Wilson's interval of the mean) and which
    seeds (Student's). They are independent, so their distances from the mean are added in squares
    (Zou and Donner 2008).

    Args:
        shares: Accuracy of each training.
        rows: Rows they were all measured on, at least 1.

    Returns:
        Lower and upper end, within [0, 1].
    """
    mean = statistics.fmean(shares)
    low, high = wilson_interval(mean * rows, rows)
    of_seeds = seeds_interval(shares)
    seeds = 0.0 if of_seeds is None else of_seeds[1] - mean
    return max(mean - math.hypot(mean - low, seeds), 0.0), min(
        mean + math.hypot(high - mean, seeds), 1.0
    )
