"""Cross-entropy of classifiers: with a softmax over the classes, or one sigmoid for two classes.

Both note for every row the two numbers its loss is made of, and leave logarithms and means to
`mean_losses`: that spares every step two reductions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray


class Loss(Protocol):
    """What a step needs of a loss, for one population and one number of rows."""

    predictions: NDArray[np.intp]

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted: NDArray[Any],
        sums: NDArray[Any],
        start: int = 0,
    ) -> None:
        """Note what the rows' losses log(sum) - shifted are made of, and their predictions."""

    def backward(self, logits: NDArray[Any]) -> None:
        """Turn what `forward` left in the logits into dL/dlogits, in place."""


class SoftmaxCrossEntropy:
    """L = mean over the batch of log(sum_j exp(z_j)) - z_t, t being the row's class.

    z is shifted by its largest value first, so that no exponential overflows; the logarithm is
    taken of the sum, never of a probability, so that a confident mistake has a large finite loss.

    Args:
        members: Members K of the population.
        rows: Rows of a batch.
        classes: Numbers in a row of logits.
        dtype: Of the logits.
    """

    def __init__(
        self, members: int, rows: int, classes: int, dtype: DTypeLike = np.float32
    ) -> None:
        self.predictions = np.empty((members, rows), dtype=np.intp)
        self._make_room(members, rows, classes, dtype)

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted: NDArray[Any],
        sums: NDArray[Any],
        start: int = 0,
    ) -> None:
        """Turn logits into exp(z - max z), in place, and note what the loss is made of.

        `predictions` (members, rows) holds the class of the largest logit afterwards.

        Args:
            logits: z, (members, rows, classes), C-contiguous; overwritten.
            targets: t, (members, rows) or (1, rows).
            shifted: (members, most rows), receives z_t - max z from column `start` on.
            sums: As `shifted`, receives sum_j exp(z_j - max z).
            start: Where the rows stand in `shifted` and `sums`.
        """
        flat = logits.reshape(-1)
        # A maximum by its position: argmax is 5 times as fast as a maximum over short rows.
        logits.argmax(axis=-1, out=self.predictions)
        np.add(self._row_starts, self.predictions, out=self._cells)
        flat.take(self._cells, out=self._largest, mode="clip")
        np.subtract(logits, self._largest[:, :, None], out=logits)
        np.add(self._row_starts, targets, out=self._cells)
        part = slice(start, start + logits.shape[1])
        shifted[:, part] = flat.take(self._cells, out=self._largest, mode="clip")
        np.exp(logits, out=logits)
        np.matmul(logits, self._ones, out=self._sums)
        sums[:, part] = self._sums[:, :, 0]

    def backward(self, exponentials: NDArray[Any]) -> None:
        """Turn what `forward` left into dL/dz = (softmax(z) - onehot(t)) / rows, in place.

        Args:
            exponentials: (members, rows, classes), the array `forward` was given.
        """
        rows = exponentials.shape[1]
        np.multiply(self._sums, rows, out=self._sums)
        np.divide(exponentials, self._sums, out=exponentials)
        # Every row has one cell of its own, so no cell is meant twice.
        exponentials.reshape(-1)[self._cells] -= 1 / rows

    def _make_room(self, members: int, rows: int, classes: int, dtype: DTypeLike) -> None:
        """What `forward` leaves for `backward`, and scratch."""
        self._row_starts = np.arange(0, members * rows * classes, classes).reshape(members, rows)
        self._cells = np.empty((members, rows), dtype=np.intp)
        self._largest = np.empty((members, rows), dtype=dtype)
        self._sums = np.empty((members, rows, 1), dtype=dtype)
        self._ones = np.ones((classes, 1), dtype=dtype)


class SigmoidCrossEntropy:
    """L = mean over the batch of log(1 + exp(z)) - t z, one logit z per row and t 0 or 1.

    log(1 + exp(z)) is taken as max(z, 0) + log(1 + exp(-|z|)), which never overflows.

    Args:
        members: Members K of the population.
        rows: Rows of a batch.
        outputs: 1, the numbers in a row of logits.
        dtype: Of the logits.
    """

    def __init__(
        self, members: int, rows: int, outputs: int = 1, dtype: DTypeLike = np.float32
    ) -> None:
        if outputs != 1:
            raise ValueError(f"a sigmoid output is one number a row, got {outputs}")
        self.predictions = np.empty((members, rows), np.intp)
        self._make_room((members, rows), dtype)

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted: NDArray[Any],
        sums: NDArray[Any],
        start: int = 0,
    ) -> None:
        """Turn logits into exp(-|z|), in place, and note what the loss is made of.

        `predictions` (members, rows) holds 1 where z > 0 afterwards.

        Args:
            logits: z, (members, rows, 1); overwritten.
            targets: t, (members, rows) or (1, rows).
            shifted: (members, most rows), receives t z - max(z, 0) from column `start` on.
            sums: As `shifted`, receives 1 + exp(-|z|).
            start: Where the rows stand in `shifted` and `sums`.
        """
        z = logits[:, :, 0]
        np.greater(z, 0, out=self._positive)
        self.predictions[...] = self._positive
        self._targets[...] = targets
        noted = shifted[:, start : start + logits.shape[1]]
        np.multiply(self._targets, z, out=noted)
        np.maximum(z, 0, out=self._scratch)
        np.subtract(noted, self._scratch, out=noted)
        np.absolute(z, out=z)
        np.negative(z, out=z)
        np.exp(z, out=z)
        np.add(z, 1, out=self._sums)
        sums[:, start : start + logits.shape[1]] = self._sums

    def backward(self, logits: NDArray[Any]) -> None:
        """Turn what `forward` left into dL/dz = (sigmoid(z) - t) / rows, in place.

        Args:
            logits: (members, rows, 1), the array `forward` was given.
        """
        z = logits[:, :, 0]
        # sigmoid(z) is 1 / (1 + exp(-|z|)) above 0, and exp(-|z|) times that below.
        np.copyto(z, 1, where=self._positive)
        np.divide(z, self._sums, out=z)
        np.subtract(z, self._targets, out=z)
        np.divide(z, z.shape[1], out=z)

    def _make_room(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        """What `forward` leaves for `backward`, and scratch."""
        self._positive = np.empty(shape, np.bool_)
        self._scratch = np.empty(shape, dtype)
        self._targets = np.empty(shape, dtype)
        self._sums = np.empty(shape, dtype)


LOSSES: dict[str, Callable[[int, int, int, DTypeLike], Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "sigmoid": SigmoidCrossEntropy,
}


def mean_losses(shifted: NDArray[Any], sums: NDArray[Any]) -> list[float]:
    """Mean cross-entropy per member over noted rows: the mean of log(sums) - shifted.

    Args:
        shifted: (members, rows), as a loss's `forward` left them.
        sums: (members, rows), likewise.
    """
    losses = np.empty(sums.shape[1])
    means = []
    # Member by member: the order of the additions must not depend on the neighbours, and what is
    # noted of one fits into the cache. 16 members with 12,800 rows took 1.8 ms at once, 0.4 so.
    for noted, subtracted in zip(sums, shifted, strict=True):
        np.log(noted, out=losses, dtype=np.float64)
        np.subtract(losses, subtracted, out=losses)
        means.append(float(losses.mean()))
    return means
