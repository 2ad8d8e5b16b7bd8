"""Linear layers over one flat vector of parameters per member.

All numbers of a member stand in one row, so that an optimizer updates a whole population with a
few array operations, whatever the number of layers. Weights come first, layer by layer, then the
biases: what decays is one contiguous stretch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """Where the weights and biases of a network stand in a member's flat vector.

    Attributes:
        widths: Numbers going into the first layer, then out of every layer: (64, 50, 10).

    Raises:
        ValueError: If there is no layer, or a width is below 1.
    """

    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:  # noqa: PLR2004 - one layer has two
            raise ValueError(f"a network needs widths of at least 1, got {self.widths}")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of every layer's weights."""
        return tuple(pairwise(self.widths))

    @property
    def weight_count(self) -> int:
        """Numbers that are weights; they fill the start of the flat vector."""
        return sum(fan_in * fan_out for fan_in, fan_out in self.shapes)

    @property
    def parameter_count(self) -> int:
        """Length P of the flat vector."""
        return self.weight_count + sum(self.widths[1:])

    def weights(self, flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, in, out) of `flat` (members, P), layer by layer."""
        starts = accumulate((i * o for i, o in self.shapes), initial=0)
        for start, (fan_in, fan_out) in zip(starts, self.shapes, strict=False):
            part = flat[:, start : start + fan_in * fan_out]
            yield part.reshape(-1, fan_in, fan_out)

    def biases(self, flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, 1, out) of `flat` (members, P), layer by layer."""
        bounds = accumulate(self.widths[1:], initial=self.weight_count)
        for start, stop in pairwise(bounds):
            yield flat[:, None, start:stop]


class Linear:
    """y = x W + b for every member, as batched products.

    One product per member, never one wide product over all: the bits of a member are then those
    it would have alone.

    Args:
        weights: (members, in, out); a view of the flat parameters.
        biases: (members, 1, out); a view of the flat parameters.
        weight_gradients: As `weights`, a view of the flat gradients.
        bias_gradients: As `biases`, a view of the flat gradients.
    """

    def __init__(
        self,
        weights: NDArray[Any],
        biases: NDArray[Any],
        weight_gradients: NDArray[Any],
        bias_gradients: NDArray[Any],
    ) -> None:
        self.weights = weights
        self.biases = biases
        self.weight_gradients = weight_gradients
        self.bias_gradients = bias_gradients
        self._weights_transposed = weights.swapaxes(1, 2)

    def forward(self, inputs: NDArray[Any], out: NDArray[Any]) -> None:
        """Write x W + b.

        Args:
            inputs: x, (members, batch, in), or (1, batch, in) when all members see the same rows.
            out: (members, batch, out).
        """
        np.matmul(inputs, self.weights, out=out)
        np.add(out, self.biases, out=out)

    def backward(
        self,
        inputs: NDArray[Any],
        gradients: NDArray[Any],
        ones: NDArray[Any],
        out: NDArray[Any] | None,
    ) -> None:
        """Write dL/dW = x^T dL/dy and dL/db = 1^T dL/dy, and dL/dx = dL/dy W^T where asked.

        Args:
            inputs: x as given to `forward`.
            gradients: dL/dy, (members, batch, out).
            ones: (1, 1, batch) of ones; a product adds rows up 1.5-3 times as fast as a sum.
            out: (members, batch, in) for dL/dx, or None for the first layer.
        """
        np.matmul(inputs.swapaxes(1, 2), gradients, out=self.weight_gradients)
        np.matmul(ones, gradients, out=self.bias_gradients)
        if out is not None:
            np.matmul(gradients, self._weights_transposed, out=out)
