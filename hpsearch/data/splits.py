"""Which row belongs to which split: seeded, stratified and exact.

Everything is built on one step, `stratified_choice`: take exactly N rows so that every class
is represented by its share, rounded down or up. Test rows are chosen from all rows, a limited
sample from what is left, validation rows from that; training gets the rest. The steps draw
from streams of their own, so that a limit does not move a single row in or out of the test
split.
"""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.errors import DataError
from hpsearch.seeds import split_seed
from hpsearch.study import FirstRows, Split, StudySpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpsearch.data.rows import Rows

Indices = NDArray[np.intp]


class Stream(IntEnum):
    """Random streams of a study's data; the numbers enter the seeds and are never reordered."""

    TEST = 0
    LIMIT = 1
    VALIDATION = 2
    ORDER = 3
    ROWS = 4


def apportioned(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """`total` shared out in proportion to `weights` by the largest remainder.

    Every share is its exact quota rounded down or up; they add up to `total`. Equal remainders
    go to the earlier weight. The arithmetic is exact, so that no rounding decides a tie.
    """
    whole = sum(weights)
    quotas = [Fraction(total) * weight / whole for weight in weights]
    shares = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda i: (shares[i] - quotas[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def stratified_choice(
    labels: NDArray[Any], count: int, generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """`count` rows in which every class has its share of `labels`, and the other rows.

    Args:
        labels: (rows,) integers, the class of each row.
        count: How many to choose, from 0 to the number of rows.
        generator: Decides which rows of a class are chosen.

    Returns:
        Chosen and remaining indices, each ascending; together every index exactly once.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    chosen = np.zeros(len(labels), dtype=bool)
    if count:
        for label, share in zip(classes, apportioned(count, sizes.tolist()), strict=True):
            members = np.flatnonzero(labels == label)
            chosen[generator.permutation(members)[:share]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def without_test(labels: NDArray[Any], spec: StudySpec) -> tuple[Indices, Indices]:
    """Rows for training and validation, and the test rows, of a source that has no own.

    Returns:
        Two ascending index arrays: learning rows, test rows.

    Raises:
        DataError: If the test share is less than a row.
    """
    shares = spec.data.shares
    if shares is None:
        return np.arange(len(labels)), np.arange(0)
    train, validation, test = _exact_shares(shares)
    count = apportioned(len(labels), (train, validation, test))[2]
    if not count:
        raise DataError(
            f"{spec.data.source}: {len(labels)} rows leave no test row; "
            "raise split.test or the number of rows"
        )
    sealed, learning = stratified_choice(labels, count, generator_of(spec, Stream.TEST))
    return learning, sealed


def learning_split(labels: NDArray[Any], spec: StudySpec) -> tuple[Indices, Indices]:
    """Training and validation rows among the learning rows, limited and shuffled.

    Where nothing is held out both are all of the limited rows, in the source's order: published
    experiments draw their batches from rows as they stand.

    Args:
        labels: (rows,) classes of all rows that are not test rows, in the source's order.
        spec: Its seed, limit and shares decide.

    Returns:
        Two index arrays: training rows, validation rows.

    Raises:
        DataError: If the limit exceeds the rows there are, or a part stays empty.
    """
    limited = _limited(labels, spec)
    shares = spec.data.shares
    if shares is None:
        return limited, limited
    train, validation, _ = _exact_shares(shares)
    counts = apportioned(len(limited), (train, validation))
    for part, count in zip(("training", "validation"), counts, strict=True):
        if not count:
            raise DataError(
                f"{spec.data.source}: {len(limited)} rows leave no {part} row; "
                "raise limit or the part's share in split"
            )
    generator = generator_of(spec, Stream.VALIDATION)
    held, rest = stratified_choice(labels[limited], counts[1], generator)
    order = generator_of(spec, Stream.ORDER)
    return limited[order.permutation(rest)], limited[order.permutation(held)]


def learning_parts(rows: Rows, spec: StudySpec) -> tuple[Rows, Rows]:
    """Training and validation rows out of the learning rows; see `learning_split`."""
    training, validation = learning_split(rows.y, spec)
    return rows.take(training), rows.take(validation)


def _limited(labels: NDArray[Any], spec: StudySpec) -> Indices:
    """Ascending indices of the rows the limit lets through."""
    limit = spec.data.limit
    if limit is None:
        return np.arange(len(labels))
    count = limit.first if isinstance(limit, FirstRows) else limit
    if count > len(labels):
        written = f"{{ first = {count} }}" if isinstance(limit, FirstRows) else f"{count}"
        raise DataError(
            f"limit = {written}: {spec.data.source} has {len(labels)} rows for training and "
            f"validation; write at most {len(labels)}"
        )
    if isinstance(limit, FirstRows):
        return np.arange(count)
    return stratified_choice(labels, count, generator_of(spec, Stream.LIMIT))[0]


def _exact_shares(shares: Split) -> tuple[Fraction, Fraction, Fraction]:
    """Shares as the decimals that were written: 0.1 is a tenth, not the nearest float."""
    train, validation, test = shares.train, shares.validation, shares.test
    return Fraction(repr(train)), Fraction(repr(validation)), Fraction(repr(test))


def generator_of(spec: StudySpec, stream: Stream) -> np.random.Generator:
    """The generator that draws one part of a study's data."""
    return np.random.default_rng((split_seed(spec.seed), int(stream)))
