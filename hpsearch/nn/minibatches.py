"""The order in which members see the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def streams(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Independent generators of a member's initial weights and of its minibatch order."""
    weights, order = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(weights), np.random.default_rng(order)


class Shuffles:
    """A new order of the rows for every epoch, from each member's own seed.

    Args:
        seeds: One per member; members with one seed see the same rows at the same time.
        rows: Rows of the training split.
    """

    def __init__(self, seeds: Sequence[int], rows: int) -> None:
        self._seeds = tuple(seeds)
        self._rows = rows
        self._generators = {seed: streams(seed)[1] for seed in self._seeds}

    @property
    def orders(self) -> int:
        """Length of the first axis of an epoch's order: 1 when all members share their seed."""
        return 1 if len(self._generators) == 1 else len(self._seeds)

    def next_epoch(self) -> NDArray[np.intp]:
        """Row numbers, (members, rows); (1, rows) when all members share their seed."""
        orders = {seed: draw.permutation(self._rows) for seed, draw in self._generators.items()}
        return np.stack([orders[seed] for seed in self._seeds[: self.orders]])

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; their orders go on as if nobody had left."""
        self._seeds = tuple(self._seeds[index] for index in members)
        self._generators = {seed: self._generators[seed] for seed in self._seeds}
