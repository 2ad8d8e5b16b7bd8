"""Schedules: the learning rate eps_k of update k = 0, 1, ... (Goodfellow et al. 2016, Alg. 8.1).

A schedule is a factor on the learning rate. Everything in it is a share of the training, so that
it means the same for a training given in epochs and in iterations. After the last update the
factor stays what it was.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.columns import column, columns_by_step, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.settings import TrainingSpec

# What decides the factors, beside the number of updates.
_KEYS = ("schedule", "schedule_end", "step_every", "step_factor", "warmup")

# 0.07 * 100 is a little more than 7: a share that ends on an update must not end after it.
_ROUNDING = 1e-9


def factors(
    spec: TrainingSpec, updates: NDArray[np.int64], total_steps: int
) -> NDArray[np.float64]:
    """What the learning rate is multiplied by.

    - constant: 1
    - linear: (1 - alpha) + alpha end, alpha = k / tau (eq. 8.14), tau being the last update
    - step: step_factor^j after j times the share step_every of the updates
    - cosine: end + (1 - end) (1 + cos(pi alpha)) / 2 (Loshchilov & Hutter 2017, eq. 5, one run)
    - warmup, times any of these: (k + 1) / n in the first n updates, n the share rounded up

    Args:
        spec: schedule, schedule_end, step_every, step_factor and warmup are read.
        updates: k, (n,) int64, from 0.
        total_steps: Updates of the whole training.

    Returns:
        (n,) float64.

    Example:
        >>> spec = TrainingSpec(schedule="linear", schedule_end=0.0)
        >>> factors(spec, np.arange(6), total_steps=5)
        array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """
    k = np.minimum(updates, max(0, total_steps - 1)).astype(np.float64)
    alpha = k / max(1, total_steps - 1)
    end = spec.schedule_end
    if spec.schedule == "linear":
        shape = (1 - alpha) + alpha * end
    elif spec.schedule == "step":
        share = max(1, total_steps) * spec.step_every
        shape = spec.step_factor ** np.floor(k / share + _ROUNDING)
    elif spec.schedule == "cosine":
        shape = end + (1 - end) * (1 + np.cos(np.pi * alpha)) / 2
    else:
        shape = np.ones_like(k)
    warm = math.ceil(total_steps * spec.warmup - _ROUNDING)
    return shape * np.minimum((k + 1) / warm, 1) if warm else shape


def scheduled(
    values: Sequence[float],
    specs: Sequence[TrainingSpec],
    total_steps: int,
    first: int,
    row_length: int,
    dtype: DTypeLike,
) -> Iterator[NDArray[Any]]:
    """Columns of value x factor for update `first`, the next, ... without end.

    Args:
        values: One per member, at factor 1.
        specs: One per member; say the schedule.
        total_steps: Updates of the whole training.
        first: Number of the update to start with.
        row_length: Numbers in a row of the arrays the columns are for.
        dtype: Of those arrays.
    """
    if all(spec.schedule == "constant" and spec.warmup == 0 for spec in specs):
        return repeat(column(values, row_length, dtype))
    starting = np.array(values)

    def table(updates: NDArray[np.int64]) -> NDArray[np.float64]:
        return starting * factors_of(specs, updates, total_steps)

    return columns_by_step(table, first, dtype)


def factors_of(
    specs: Sequence[TrainingSpec], updates: NDArray[np.int64], total_steps: int
) -> NDArray[np.float64]:
    """Factors (updates, members), or (updates, 1) where all members have one schedule; float64."""
    keys = [tuple(getattr(spec, name) for name in _KEYS) for spec in specs]
    distinct = dict(zip(keys, specs, strict=True))
    numbers = {key: factors(spec, updates, total_steps) for key, spec in distinct.items()}
    return side_by_side(keys, numbers)
