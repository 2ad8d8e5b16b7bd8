"""Fully connected layers: their products; biases stand with the activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Linear:
    """x W for every member, as batched products.

    One product per member, never one wide product over all: the bits of a member are then those
    it would have alone.

    Args:
        weights: (members, in, out); a view of the flat parameters.
        weight_gradients: As `weights`, a view of the flat gradients.
    """

    def __init__(self, weights: NDArray[Any], weight_gradients: NDArray[Any]) -> None:
        self.weights = weights
        self.weight_gradients = weight_gradients
        self._weights_transposed = weights.swapaxes(1, 2)

    def forward(self, inputs: NDArray[Any], out: NDArray[Any]) -> None:
        """Write x W.

        Args:
            inputs: x, (members, batch, in), or (1, batch, in) when all members see the same rows.
            out: (members, batch, out).
        """
        np.matmul(inputs, self.weights, out=out)

    def backward(
        self, inputs: NDArray[Any], gradients: NDArray[Any], out: NDArray[Any] | None
    ) -> None:
        """Write dL/dW = x^T dL/dy, and dL/dx = dL/dy W^T where asked.

        Args:
            inputs: x as given to `forward`.
            gradients: dL/dy, (members, batch, out).
            out: (members, batch, in) for dL/dx, or None for the first layer.
        """
        np.matmul(inputs.swapaxes(1, 2), gradients, out=self.weight_gradients)
        if out is not None:
            np.matmul(gradients, self._weights_transposed, out=out)
