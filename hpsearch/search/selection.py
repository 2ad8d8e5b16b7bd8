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
        score: Mean score over the seeds; a diverged repeat counts as 0.
        standard_error: Of that mean, over the seeds; 0 for a single seed.
        seeds: How many repeats stand behind it.
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
        ties: Other finalists within one standard error of the winner's mean, best first.
    """

    candidate: Candidate
    ties: tuple[Candidate, ...]


def finalists(outcomes: Sequence[Outcome], count: int) -> list[dict[str, Value]]:
    """Values of the best `count` distinct trials of the search, best first."""
    distinct: dict[str, dict[str, Value]] = {}
    for outcome in ranked(outcomes):
        distinct.setdefault(_signature(outcome.values), outcome.values)
    return list(distinct.values())[:count]


def choose_winner(repeats: Sequence[Outcome]) -> Winner:
    """The best mean over the repeats of each finalist; an earlier trial wins a dead heat.

    Raises:
        ValueError: If there are no repeats.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in sorted(repeats, key=lambda o: o.number):
        groups.setdefault(_signature(outcome.values), []).append(outcome)
    if not groups:
        raise ValueError("a winner needs at least one repeat")
    order = sorted((_candidate(group) for group in groups.values()), key=lambda c: -c.score)
    best, others = order[0], order[1:]
    tied = tuple(c for c in others if c.score >= best.score - best.standard_error)
    return Winner(best, tied)


def _candidate(group: list[Outcome]) -> Candidate:
    scores = [outcome.score or 0.0 for outcome in group]
    error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0
    return Candidate(group[0].values, statistics.fmean(scores), error, len(scores))


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
