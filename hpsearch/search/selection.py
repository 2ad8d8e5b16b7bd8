"""From the best trials of the search to a winner that was measured again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.space import Value, label


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
        candidate: The finalist with the best mean.
        ties: Other finalists that the paired repeats cannot tell from it, best first.
    """

    candidate: Candidate
    ties: tuple[Candidate, ...]


def finalists(outcomes: Sequence[Outcome], count: int) -> list[dict[str, Value]]:
    """Values of the best `count` distinct trials of the search, best first."""
    distinct: dict[str, dict[str, Value]] = {}
    for outcome in ranked(outcomes):
        distinct.setdefault(_signature(outcome.values), outcome.values)
    return list(distinct.values())[:count]


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
        group = groups.setdefault(_signature(outcome.values), [])
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
    theirs = {outcome.replicate: _points(outcome) for outcome in other}
    pairs = [(_points(o), theirs[o.replicate]) for o in best if o.replicate in theirs]
    lead = [mine - yours for mine, yours in pairs]
    return not lead or statistics.fmean(lead) <= _error(lead)


def _points(outcome: Outcome) -> float:
    """The score; a repeat that diverged has earned nothing."""
    return 0.0 if outcome.score is None else outcome.score


def _diverged(group: list[Outcome]) -> int:
    return sum(outcome.score is None for outcome in group)


def _error(sample: list[float]) -> float:
    """Standard error of the mean; 0 for a single figure."""
    return statistics.stdev(sample) / math.sqrt(len(sample)) if len(sample) > 1 else 0.0


def _signature(values: dict[str, Value]) -> str:
    return "\0".join(f"{name}={label(value)}" for name, value in values.items())


def wilson_interval(successes: int, rows: int, z: float = 1.959963984540054) -> tuple[float, float]:
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
