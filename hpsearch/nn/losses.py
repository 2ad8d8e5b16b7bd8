"""Softmax with cross-entropy, the loss of every classifier here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class SoftmaxCrossEntropy:
    """L = mean over the batch of log(sum_j exp(z_j)) - z_t, t being the row's class.

    z is shifted by its largest value first, so that no exponential overflows; the logarithm is
    taken of the sum, never of a probability, so that a confident mistake has a large finite loss.

    Logarithms and means wait until `mean_losses`: during an epoch only the shifted z_t and the
    sums are kept, which spares every step two reductions.

    Args:
        members: Members K of the population.
        rows: Rows of a batch.
        classes: Numbers in a row of logits.
        dtype: Of the logits.
    """

    def __init__(
        self, members: int, rows: int, classes: int, dtype: DTypeLike = np.float32
    ) -> None:
        self._row_starts = np.arange(0, members * rows * classes, classes).reshape(members, rows)
        self._cells = np.empty((members, rows), dtype=np.intp)
        self._largest = np.empty((members, rows), dtype=dtype)
        self._sums = np.empty((members, rows, 1), dtype=dtype)
        self._ones = np.ones((classes, 1), dtype=dtype)
        self.predictions = np.empty((members, rows), dtype=np.intp)

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted_out: NDArray[Any],
        sums_out: NDArray[Any],
    ) -> None:
        """Turn logits into exp(z - max z), in place, and note what the loss is made of.

        `predictions` (members, rows) holds the class of the largest logit afterwards.

        Args:
            logits: z, (members, rows, classes), C-contiguous; overwritten.
            targets: t, (members, rows) or (1, rows).
            shifted_out: (members, rows), receives z_t - max z.
            sums_out: (members, rows), receives sum_j exp(z_j - max z).
        """
        flat = logits.reshape(-1)
        # A maximum by its position: argmax is 5 times as fast as a maximum over short rows.
        logits.argmax(axis=-1, out=self.predictions)
        np.add(self._row_starts, self.predictions, out=self._cells)
        flat.take(self._cells, out=self._largest, mode="clip")
        np.subtract(logits, self._largest[:, :, None], out=logits)
        np.add(self._row_starts, targets, out=self._cells)
        shifted_out[...] = flat.take(self._cells, out=self._largest, mode="clip")
        np.exp(logits, out=logits)
        np.matmul(logits, self._ones, out=self._sums)
        sums_out[...] = self._sums[:, :, 0]

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


def mean_losses(shifted: NDArray[Any], sums: NDArray[Any]) -> list[float]:
    """Mean cross-entropy per member, over rows `SoftmaxCrossEntropy.forward` has noted.

    Args:
        shifted: (members, rows), z_t - max z.
        sums: (members, rows), sum_j exp(z_j - max z).
    """
    losses = np.log(sums.astype(np.float64))
    np.subtract(losses, shifted, out=losses)
    # One sum per member: the order of the additions must not depend on the neighbours.
    return [float(row.mean()) for row in losses]
