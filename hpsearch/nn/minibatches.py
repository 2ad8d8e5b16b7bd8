"""The training rows in minibatches, every member's in its own order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpsearch.nn.draws import Seed


class Minibatches:
    """The training rows in a new order every epoch, batch by batch, from each member's own seed.

    Args:
        seeds: One per member; members with one seed see the same rows at the same time.
        targets: (rows,) int64, the class of every training row.
        batch_size: Rows of a batch; the last batch of an epoch has what is left.
    """

    def __init__(self, seeds: Sequence[Seed], targets: NDArray[np.int64], batch_size: int) -> None:
        self._seeds = tuple(seeds)
        self._orders = {seed: seed.order() for seed in self._seeds}
        self._all_targets = targets
        self._batch_size = batch_size
        self._start = len(targets)
        self._rows = self._targets = np.empty((self.streams, 0), np.int64)

    @property
    def streams(self) -> int:
        """Length of a batch's first axis: 1 when all members share their seed."""
        return 1 if len(self._orders) == 1 else len(self._seeds)

    @property
    def sizes(self) -> set[int]:
        """How many rows a batch can have."""
        total = len(self._all_targets)
        return {self._batch_size, total % self._batch_size or self._batch_size}

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._all_targets) // self._batch_size)

    def next(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers and targets of the next batch, both (members, rows) or (1, rows)."""
        if self._start >= len(self._all_targets):
            self._begin_epoch()
        part = slice(self._start, self._start + self._batch_size)
        self._start += self._batch_size
        return self._rows[:, part], self._targets[:, part]

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; their orders go on as if nobody had left."""
        rows = np.broadcast_to(self._rows, (len(self._seeds), self._rows.shape[1]))
        self._seeds = tuple(self._seeds[index] for index in members)
        self._orders = {seed: self._orders[seed] for seed in self._seeds}
        self._rows = rows[list(members)][: self.streams]
        self._targets = self._all_targets[self._rows]

    def _begin_epoch(self) -> None:
        total = len(self._all_targets)
        orders = {seed: order.permutation(total) for seed, order in self._orders.items()}
        self._rows = np.stack([orders[seed] for seed in self._seeds[: self.streams]])
        self._targets = self._all_targets[self._rows]
        self._start = 0
