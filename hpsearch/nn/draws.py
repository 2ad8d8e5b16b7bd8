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
