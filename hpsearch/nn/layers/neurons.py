"""What follows a layer's product: its biases and its activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.activations import ACTIVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Neurons:
    """y = f(z + b) for every member.

    Args:
        activation: A name in `ACTIVATIONS`; None for the outputs, which have none.
        parameters: (members, P), the flat parameters.
        gradients: (members, P), the flat gradients.
        span: (start, stop) of the biases in a member's vector; None where a batch normalisation
            stands in between.
    """

    def __init__(
        self,
        activation: str | None,
        parameters: NDArray[Any],
        gradients: NDArray[Any],
        span: tuple[int, int] | None,
    ) -> None:
        self._activation = None if activation is None else ACTIVATIONS[activation]
        self._biases = self._sums = None
        if span is not None:
            self._biases, self._sums = (a[:, None, slice(*span)] for a in (parameters, gradients))

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace values z (members, rows, width) by f(z + b); `mask`, as large, is scratch."""
        if self._biases is not None:
            np.add(values, self._biases, out=values)
        if self._activation is not None:
            self._activation.forward(values, mask)

    def backward(
        self,
        outputs: NDArray[Any],
        gradients: NDArray[Any],
        ones: NDArray[Any],
        mask: NDArray[np.bool_],
    ) -> None:
        """Turn dL/dy into dL/dz, in place, and write dL/db = 1^T dL/dz.

        Args:
            outputs: y, as `forward` left it; used up.
            gradients: dL/dy, (members, rows, width).
            ones: (1, 1, rows) of ones; a product adds rows up 1.5-3 times as fast as a sum.
            mask: As `outputs`, scratch.
        """
        if self._activation is not None:
            self._activation.backward(outputs, gradients, mask)
        if self._sums is not None:
            np.matmul(ones, gradients, out=self._sums)
