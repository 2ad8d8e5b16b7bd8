"""Networks of one shape, trained side by side in stacked arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.layers import Layout, Linear
from hpsearch.nn.losses import SoftmaxCrossEntropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


class Workspace:
    """Every array a step writes, for one population and one number of rows.

    Args:
        members: Members K of the population.
        rows: Rows of a batch; the last partial batch of an epoch has a workspace of its own.
        layout: Shapes of the layers.
        dtype: Of parameters and activations.
        backward: Whether gradients are wanted; measuring needs half the memory.
    """

    def __init__(
        self,
        members: int,
        rows: int,
        layout: Layout,
        dtype: DTypeLike = np.float32,
        *,
        backward: bool = True,
    ) -> None:
        *hidden, classes = layout.widths[1:]
        shapes = [(members, rows, width) for width in hidden]
        self.hidden = [np.empty(shape, dtype) for shape in shapes]
        self.hidden_gradients = [np.empty(shape, dtype) for shape in shapes] if backward else []
        self.logits = np.empty((members, rows, classes), dtype)
        self.ones = np.ones((1, 1, rows), dtype)
        self.loss = SoftmaxCrossEntropy(members, rows, classes, dtype)


class Population:
    """K networks of one shape: linear layers with an activation between them.

    Args:
        layout: Shapes of the layers.
        activation: A name in `ACTIVATIONS`.
        parameters: (members, P), updated in place by an optimizer.
    """

    def __init__(self, layout: Layout, activation: str, parameters: NDArray[Any]) -> None:
        self.layout = layout
        self._activation = ACTIVATIONS[activation]
        self._adopt(parameters)

    def __len__(self) -> int:
        return int(self.parameters.shape[0])

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order, bit for bit as they are."""
        self._adopt(self.parameters[list(members)])

    def forward(self, inputs: NDArray[Any], work: Workspace) -> NDArray[Any]:
        """Logits (members, rows, classes) of a batch, in `work.logits`.

        Args:
            inputs: (members, rows, features), or (1, rows, features) when all see the same rows.
            work: Buffers for this many members and rows.
        """
        for layer, hidden in zip(self._layers, work.hidden, strict=False):
            layer.forward(inputs, hidden)
            self._activation.forward(hidden)
            inputs = hidden
        self._layers[-1].forward(inputs, work.logits)
        return work.logits

    def backward(self, inputs: NDArray[Any], work: Workspace) -> None:
        """Write dL/dparameters into `gradients`.

        Args:
            inputs: As given to `forward`.
            work: As given to `forward`, with dL/dlogits standing in `work.logits` by now;
                its hidden outputs are used up.
        """
        gradients = work.logits
        for index in range(len(self._layers) - 1, 0, -1):
            hidden, below = work.hidden[index - 1], work.hidden_gradients[index - 1]
            self._layers[index].backward(hidden, gradients, work.ones, below)
            self._activation.backward(hidden, below)
            gradients = below
        self._layers[0].backward(inputs, gradients, work.ones, None)

    def _adopt(self, parameters: NDArray[Any]) -> None:
        self.parameters = parameters
        self.gradients = np.zeros_like(parameters)
        views = (
            self.layout.weights(parameters),
            self.layout.biases(parameters),
            self.layout.weights(self.gradients),
            self.layout.biases(self.gradients),
        )
        self._layers = [Linear(*arrays) for arrays in zip(*views, strict=True)]
