"""Hyperparameters of a population as columns, spread over the members' rows by broadcasting.

A column decides nothing about bits: every form below gives each element the same factor, so that
the form may follow from what is fastest.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

# What changes from step to step is worked out for this many steps at a time: one step's corrections
# of Adam alone cost 6 us, an eighth of the whole step of a small network.
TABLE_STEPS = 128

# Two full arrays multiply without numpy's broadcasting, which costs 0.5 us a call: for (16, 33) it
# is 0.41 us against 0.89 us by a (1, 1), even at 16,000 numbers, and slower beyond.
_SMALL_ARRAY = 8192

# A row longer than this is multiplied by its own number as fast as memory allows. Shorter rows go
# through numpy's buffer of 8192 numbers: (16, 3760) by (16, 1) took 10.7 us, by a full array 5.4.
_LONGEST_BUFFERED_ROW = 4096


def column(values: Sequence[float], row_length: int, dtype: DTypeLike) -> NDArray[Any]:
    """One number per member, for arrays (members, row_length).

    Returns:
        (members, row_length), (1, 1) or (members, 1), whichever is fastest.
    """
    numbers = np.array(values, dtype=dtype).reshape(-1, 1)
    if len(numbers) * row_length > _SMALL_ARRAY:
        if (numbers == numbers[:1]).all():
            return numbers[:1]
        if row_length > _LONGEST_BUFFERED_ROW:
            return numbers
    return np.repeat(numbers, row_length, axis=1)


def columns_by_step(
    table: Callable[[NDArray[np.int64]], NDArray[np.float64]], first: int, dtype: DTypeLike
) -> Iterator[NDArray[Any]]:
    """Columns (members, 1), or (1, 1) where all members agree, of update `first`, the next, ...

    Args:
        table: Gives (TABLE_STEPS, members or 1) float64 for the numbers of as many updates, from 0.
            Tables start at multiples of their length, wherever `first` is: the same numbers are
            then always computed in the same place of the same array.
        first: Number of the update to start with.
        dtype: The float64 numbers are rounded to this once.
    """
    for start in count(first - first % TABLE_STEPS, TABLE_STEPS):
        rows = table(np.arange(start, start + TABLE_STEPS)).astype(dtype)[:, :, None]
        shared = rows[:, :1]
        yield from (shared if (rows == shared).all() else rows)[max(0, first - start) :]


def side_by_side(
    keys: Sequence[Hashable], numbers: Mapping[Any, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Numbers (updates,) of every member's key as (updates, members), or (updates, 1) if shared.

    Members share what is worked out for their key, one key at a time: the last bits of a power or
    a cosine may depend on where it stands in an array.
    """
    if len(numbers) == 1:
        return numbers[keys[0]][:, None]
    return np.stack([numbers[key] for key in keys], axis=1)
