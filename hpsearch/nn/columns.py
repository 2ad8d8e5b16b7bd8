"""Hyperparameters of a population as columns, spread over the members' rows by broadcasting.

A column decides nothing about bits: every form below gives each element the same factor, so that
the form may follow from what is fastest.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

# What changes from step to step is worked out for this many steps at a time: one step's corrections
# of Adam alone cost 6 us, an eighth of the whole step of a small network.
TABLE_STEPS = 128

# A row longer than this is multiplied by its number as fast as memory allows. Shorter rows go
# through numpy's buffer of 8192 numbers: (16, 3760) times (16, 1) took 10.7 us, times a full
# (16, 3760) 5.4 us; for (16, 33) it was 1.06 us and 0.40 us.
_LONGEST_BUFFERED_ROW = 4096


def column(values: Sequence[float], row_length: int, dtype: DTypeLike) -> NDArray[Any]:
    """One number per member, for arrays (members, row_length).

    Returns:
        (1, 1) where all members agree, (members, row_length) for short rows, else (members, 1).
    """
    numbers = np.array(values, dtype=dtype).reshape(-1, 1)
    if (numbers == numbers[:1]).all():
        return numbers[:1]
    if row_length <= _LONGEST_BUFFERED_ROW:
        return np.repeat(numbers, row_length, axis=1)
    return numbers


def columns_by_step(
    table: Callable[[NDArray[np.int64]], NDArray[np.float64]], first: int, dtype: DTypeLike
) -> Iterator[NDArray[Any]]:
    """Columns (members, 1), or (1, 1) where all members agree, of update `first`, the next, ...

    Args:
        table: Gives (TABLE_STEPS, members) float64 for the numbers of as many updates, from 0.
            Tables start at multiples of their length, wherever `first` is: the same numbers are
            then always computed in the same place of the same array.
        first: Number of the update to start with.
        dtype: The float64 numbers are rounded to this once.
    """
    for start in count(first - first % TABLE_STEPS, TABLE_STEPS):
        rows = table(np.arange(start, start + TABLE_STEPS)).astype(dtype)[:, :, None]
        shared = rows[:, :1]
        yield from (shared if (rows == shared).all() else rows)[max(0, first - start) :]
