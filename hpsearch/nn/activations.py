"""Activation functions: forward in place, backward beside it.

`backward` needs only the outputs of `forward`, and uses their memory up: in a network the outputs
of a layer are not read again once its activation has been differentiated. Both are given a mask of
the values' shape to write in, so that nothing is allocated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# exp(87) is the largest power whose inverse is still a normal float32: clipped here, exp(-z) does
# not overflow and the sigmoid is a normal number. Gradients times its derivative need not be one.
_LOWEST_SIGMOID_INPUT = -87.0


class Activation(Protocol):
    """An elementwise function between two linear layers."""

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace values of any shape by f(values), in place."""

    def backward(
        self, outputs: NDArray[Any], gradients: NDArray[Any], mask: NDArray[np.bool_]
    ) -> None:
        """Multiply gradients by f'(values), in place; outputs = f(values) are used up."""


class Relu:
    """f(z) = max(z, 0); the derivative at 0 is taken as 0."""

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace values by max(values, 0); not-a-number stays what it is."""
        np.maximum(values, 0, out=values)

    def backward(
        self, outputs: NDArray[Any], gradients: NDArray[Any], mask: NDArray[np.bool_]
    ) -> None:
        """Let gradients through where the output is positive."""
        # Multiplying by the mask is 3-5 times as fast as a masked assignment.
        np.greater(outputs, 0, out=mask)
        np.multiply(gradients, mask, out=gradients)


class LeakyRelu:
    """f(z) = z where z > 0, else 0.01 z (Maas et al. 2013)."""

    _SLOPE = 0.01

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace negative values by a hundredth of themselves."""
        np.less(values, 0, out=mask)
        np.multiply(values, self._SLOPE, out=values, where=mask)

    def backward(
        self, outputs: NDArray[Any], gradients: NDArray[Any], mask: NDArray[np.bool_]
    ) -> None:
        """Multiply gradients by 1 where the output is positive, else by 0.01."""
        np.less_equal(outputs, 0, out=mask)
        np.multiply(gradients, self._SLOPE, out=gradients, where=mask)


class Sigmoid:
    """f(z) = 1 / (1 + exp(-z)), f'(z) = f(z) (1 - f(z))."""

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace values by their sigmoid; finite for every finite input."""
        np.maximum(values, _LOWEST_SIGMOID_INPUT, out=values)
        np.negative(values, out=values)
        np.exp(values, out=values)
        np.add(values, 1, out=values)
        np.reciprocal(values, out=values)

    def backward(
        self, outputs: NDArray[Any], gradients: NDArray[Any], mask: NDArray[np.bool_]
    ) -> None:
        """Multiply gradients by outputs (1 - outputs)."""
        np.multiply(gradients, outputs, out=gradients)
        np.subtract(1, outputs, out=outputs)
        np.multiply(gradients, outputs, out=gradients)


class Tanh:
    """f(z) = tanh(z), f'(z) = 1 - f(z)^2."""

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """Replace values by their hyperbolic tangent."""
        np.tanh(values, out=values)

    def backward(
        self, outputs: NDArray[Any], gradients: NDArray[Any], mask: NDArray[np.bool_]
    ) -> None:
        """Multiply gradients by 1 - outputs^2."""
        np.multiply(outputs, outputs, out=outputs)
        np.subtract(1, outputs, out=outputs)
        np.multiply(gradients, outputs, out=gradients)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Relu(),
    "leaky_relu": LeakyRelu(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
}
