"""Losses, fused: every row is read once forward and once back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.fused import compiled
from hpsearch.nn.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.nn.losses import Loss


class FusedSoftmaxCrossEntropy(SoftmaxCrossEntropy):
    """As `SoftmaxCrossEntropy`."""

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted: NDArray[Any],
        sums: NDArray[Any],
        start: int = 0,
    ) -> None:
        """As `SoftmaxCrossEntropy.forward`."""
        # A copy has one layout, whoever the targets come from: there is one kernel for all.
        self._targets[...] = targets
        compiled.softmax_forward(
            logits, self._targets, self.predictions, self._totals, shifted, sums, start
        )

    def backward(self, exponentials: NDArray[Any]) -> None:
        """As `SoftmaxCrossEntropy.backward`."""
        compiled.softmax_backward(exponentials, self._targets, self._totals)

    def _make_room(
        self,
        members: int,
        rows: int,
        classes: int,  # noqa: ARG002 - a row's cells are found in the kernel
        dtype: DTypeLike,
    ) -> None:
        self._totals = np.empty((members, rows), dtype)
        self._targets = np.empty((members, rows), np.int64)


class FusedSigmoidCrossEntropy(SigmoidCrossEntropy):
    """As `SigmoidCrossEntropy`."""

    def forward(
        self,
        logits: NDArray[Any],
        targets: NDArray[np.int64],
        shifted: NDArray[Any],
        sums: NDArray[Any],
        start: int = 0,
    ) -> None:
        """As `SigmoidCrossEntropy.forward`."""
        self._classes[...] = targets
        compiled.sigmoid_loss_forward(
            logits, self._classes, self.predictions, self._sums, shifted, sums, start
        )

    def backward(self, logits: NDArray[Any]) -> None:
        """As `SigmoidCrossEntropy.backward`."""
        compiled.sigmoid_loss_backward(logits, self._classes, self.predictions, self._sums)

    def _make_room(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        self._sums = np.empty(shape, dtype)
        self._classes = np.empty(shape, np.int64)


FUSED_LOSSES: dict[str, Callable[[int, int, int, DTypeLike], Loss]] = {
    "softmax": FusedSoftmaxCrossEntropy,
    "sigmoid": FusedSigmoidCrossEntropy,
}
