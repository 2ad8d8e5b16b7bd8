"""Biases and activations, fused; the way back adds up the biases' gradients too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpsearch.nn.fused import compiled
from hpsearch.nn.layers.neurons import Neurons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PASSES = {
    "relu": (compiled.relu_forward, compiled.relu_backward),
    "leaky_relu": (compiled.leaky_relu_forward, compiled.leaky_relu_backward),
    "sigmoid": (compiled.sigmoid_forward, compiled.sigmoid_backward),
    "tanh": (compiled.tanh_forward, compiled.tanh_backward),
    None: (compiled.biases_forward, compiled.biases_backward),
}
# What the kernels are told where a layer has no biases of its own.
_NO_BIASES = -1


class FusedNeurons(Neurons):
    """As `Neurons`."""

    def __init__(
        self,
        activation: str | None,
        parameters: NDArray[Any],
        gradients: NDArray[Any],
        span: tuple[int, int] | None,
    ) -> None:
        super().__init__(activation, parameters, gradients, span)
        self._parameters, self._gradients = parameters, gradients
        self._start = _NO_BIASES if span is None else span[0]
        self._forward, self._backward = _PASSES[activation]

    def forward(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        """As `Neurons.forward`."""
        self._forward(values, self._parameters, self._start)

    def backward(
        self,
        outputs: NDArray[Any],
        gradients: NDArray[Any],
        ones: NDArray[Any],
        mask: NDArray[np.bool_],
    ) -> None:
        """As `Neurons.backward`."""
        self._backward(outputs, gradients, self._gradients, self._start)
