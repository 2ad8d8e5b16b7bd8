"""The draws of a member: initial weights, the order of the training rows, and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpsearch.settings import Draws


@dataclass(frozen=True)
class Seed:
    """What decides all draws of a member; members with equal seeds share them.

    Attributes:
        number: Seed of its streams, 0 or above.
        published: Seeds of published code that drew with NumPy's RandomState, or None.
    """

    number: int
    published: Draws | None = None

    def weights(self) -> np.random.Generator:
        """Stream of the initial weights."""
        return self._stream(0)

    def order(self) -> Order:
        """Stream of the minibatch order."""
        if self.published is not None:
            return _PublishedOrder(self.published.batches)
        return self._stream(1)

    def dropout(self) -> np.random.Generator:
        """Stream of what is dropped."""
        return self._stream(2)

    def _stream(self, index: int) -> np.random.Generator:
        children = np.random.SeedSequence(self.number).spawn(index + 1)
        return np.random.default_rng(children[index])


class Order(Protocol):
    """Where a new order of the rows comes from, epoch after epoch."""

    def permutation(self, rows: int, /) -> NDArray[np.int64]:
        """The numbers 0 ... rows - 1 in a new order."""


class _PublishedOrder:
    """The order of epoch e = 0, 1, ... from NumPy's RandomState(seed + e)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def permutation(self, rows: int, /) -> NDArray[np.int64]:
        """The next epoch's order."""
        order = np.random.RandomState(self._seed).permutation(rows)
        self._seed += 1
        return order


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


class Noise:
    """Uniform draws in [0, 1) for dropout, from each member's own seed.

    Args:
        seeds: One per member; members with one seed share their draws.
    """

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self._seeds = tuple(seeds)
        self._generators = {seed: seed.dropout() for seed in self._seeds}

    @property
    def streams(self) -> int:
        """Length of the draws' first axis: 1 when all members share their seed."""
        return 1 if len(self._generators) == 1 else len(self._seeds)

    def draw(self, out: NDArray[np.float32]) -> None:
        """Fill `out`, (members, rows, features) or (1, rows, features), with the next draws."""
        first: dict[Seed, int] = {}
        for index, seed in enumerate(self._seeds[: self.streams]):
            if seed in first:
                out[index] = out[first[seed]]
            else:
                self._generators[seed].random(out=out[index], dtype=np.float32)
                first[seed] = index

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; their draws go on as if nobody had left."""
        self._seeds = tuple(self._seeds[index] for index in members)
        self._generators = {seed: self._generators[seed] for seed in self._seeds}
