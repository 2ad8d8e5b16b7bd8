"""How far a score may be from its mean over seeds: measured, not assumed.

A few good configurations of the first round are trained again over fresh seeds, the same ones for
all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpsearch.search.outcomes import Outcome, configurations, ranked
from hpsearch.space import Value

# So many configurations, from the best quarter of a round, over so many seeds.
CONFIGURATIONS, SEEDS = 4, 4
_SHARE = 0.25
# Fewer trials than this are too few to spare one repeated configuration for.
_TRIALS_EACH = 10


def repeated(outcomes: Sequence[Outcome]) -> list[dict[str, Value]]:
    """Configurations of a round to train again: the best, and others down to its best quarter."""
    order = configurations(outcomes)
    count = min(CONFIGURATIONS, len(outcomes) // _TRIALS_EACH, len(order))
    if count < 1:
        return []
    last = max(round(_SHARE * len(order)) - 1, count - 1)
    return [order[round(i * last / max(count - 1, 1))] for i in range(count)]


def measured_noise(repeats: Sequence[Outcome], *, common: bool) -> float | None:
    """Standard deviation of a score around its configuration's mean.

    Args:
        repeats: Every configuration over the same seeds (`replicate`); those without a score
            count for nothing.
        common: Whether trials that are compared share their seed. What a seed does to all of them
            alike is then no noise: the residual of a two-way layout is what is left.

    Returns:
        None where no configuration has two scores.
    """
    table = _table(repeats)
    centred = table - np.nanmean(table, axis=1, keepdims=True)
    count = int(np.isfinite(table).sum())
    rows, columns = table.shape
    freedom = count - rows
    if common and rows > 1:
        centred = centred - np.nanmean(centred, axis=0, keepdims=True)
        freedom -= columns - 1
    if freedom < 1:
        return None
    return math.sqrt(float(np.nansum(centred**2)) / freedom)


def noise_of(
    outcomes: Sequence[Outcome], repeats: Sequence[Outcome], *, common: bool, validation_rows: int
) -> float:
    """Standard deviation of these trials' scores around their means over seeds.

    As the repeats show it, and never below the binomial error of the best score; 0 without any.
    """
    best = ranked(outcomes)
    if not best or best[0].score is None:
        return 0.0
    measured = measured_noise(repeats, common=common) or 0.0
    return max(measured, standard_error(best[0].score, validation_rows))


def standard_error(accuracy: float, rows: int) -> float:
    """Binomial standard error of an accuracy measured on `rows` rows.

    One success and one failure are added (Agresti and Coull 1998), so that an accuracy of
    exactly 1 is not taken for certain.
    """
    smoothed = (accuracy * rows + 1) / (rows + 2)
    return math.sqrt(smoothed * (1 - smoothed) / rows)


def _table(repeats: Sequence[Outcome]) -> np.ndarray:
    """(configurations, seeds) float64; NaN where there is no score."""
    rows: dict[str, dict[int, float]] = {}
    for outcome in repeats:
        if outcome.score is not None:
            key = repr(sorted(outcome.values.items(), key=lambda item: item[0]))
            rows.setdefault(key, {})[outcome.replicate] = outcome.score
    seeds = sorted({seed for row in rows.values() for seed in row})
    return np.array([[row.get(seed, np.nan) for seed in seeds] for row in rows.values()]).reshape(
        len(rows), len(seeds)
    )
