"""Networks of one shape, trained side by side in stacked arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hpsearch.nn.kernels import kernels
from hpsearch.nn.layers import BatchNorm, Dropout, Layout, Linear, Neurons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpsearch.nn.draws import Noise
    from hpsearch.settings import ModelSpec


@dataclass(frozen=True)
class Architecture:
    """What all members of a population have in common.

    Attributes:
        layout: Shapes of the layers.
        activation: A name in `ACTIVATIONS`, between the layers.
        output: A name in `LOSSES`.
    """

    layout: Layout
    activation: str = "relu"
    output: str = "softmax"

    @classmethod
    def of(cls, model: ModelSpec, features: int, classes: int) -> Self:
        """The network of a study for rows of `features` numbers and that many classes.

        Raises:
            ValueError: If a sigmoid output is asked for with other than two classes.
        """
        if model.output == "sigmoid" and classes != 2:  # noqa: PLR2004 - yes or no
            raise ValueError(
                f'output = "sigmoid" tells two classes apart, the data have {classes}; '
                'write output = "softmax"'
            )
        outputs = 1 if model.output == "sigmoid" else classes
        layout = Layout((features, *model.hidden, outputs), model.batch_norm)
        return cls(layout, model.activation, model.output)


class Workspace:
    """Every array a step writes, for one population and one number of rows.

    Args:
        members: Members K of the population.
        rows: Rows of a batch; the last partial batch of an epoch has a workspace of its own.
        architecture: The network.
        dtype: Of parameters and activations.
        backward: Whether gradients are wanted; measuring needs half the memory.
        streams: Independent streams of dropout draws: 0 without dropout, 1 when all members share
            theirs, else K.
    """

    def __init__(
        self,
        members: int,
        rows: int,
        architecture: Architecture,
        dtype: np.dtype[Any],
        *,
        backward: bool = True,
        streams: int = 0,
    ) -> None:
        layout = architecture.layout
        shapes = [(members, rows, width) for width in layout.hidden]
        outputs = members, rows, layout.widths[-1]
        mask = np.empty(members * rows * max(layout.widths[1:]), np.bool_)
        self.masks = [mask[: np.prod(shape)].reshape(shape) for shape in (*shapes, outputs)]
        self.hidden = [np.empty(shape, dtype) for shape in shapes]
        self.hidden_gradients = [np.empty(shape, dtype) for shape in shapes] if backward else []
        normalizing = layout.batch_norm and backward
        self.normalized = [np.empty(shape, dtype) for shape in shapes] if normalizing else []
        dropping = shapes if streams else []
        self.draws = [np.empty((streams, *shape[1:]), np.float32) for shape in dropping]
        self.kept = [np.empty(shape, dtype) for shape in dropping]
        self.dropped = [np.empty(shape, dtype) for shape in dropping]
        self.logits = np.empty(outputs, dtype)
        self.ones = np.ones((1, 1, rows), dtype)
        self.loss = kernels().losses[architecture.output](members, rows, layout.widths[-1], dtype)

    @property
    def fed(self) -> list[NDArray[Any]]:
        """What each layer but the first was given in training."""
        return self.dropped or self.hidden


class Population:
    """K networks of one architecture.

    Args:
        architecture: The network.
        parameters: (members, P), updated in place by an optimizer.
        running: (members, R), updated in place by training; R is 0 without batch normalisation.
        dropout: One rate per member; None where nobody drops anything.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: NDArray[Any],
        running: NDArray[Any],
        dropout: Sequence[float] | None = None,
    ) -> None:
        self.architecture = architecture
        self._kernels = kernels()
        self._rates = None if dropout is None else tuple(dropout)
        self._adopt(parameters, running)

    def __len__(self) -> int:
        return int(self.parameters.shape[0])

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order, bit for bit as they are."""
        chosen = list(members)
        if self._rates is not None:
            self._rates = tuple(self._rates[index] for index in chosen)
        self._adopt(self.parameters[chosen], self.running[chosen])

    def member(self, index: int) -> NDArray[Any]:
        """Parameters and running statistics of a member, (P + R,); a copy."""
        return np.concatenate([self.parameters[index], self.running[index]])

    def forward(self, inputs: NDArray[Any], work: Workspace) -> NDArray[Any]:
        """Logits (members, rows, outputs) of some rows, in `work.logits`, as in evaluation.

        Args:
            inputs: (members, rows, features), or (1, rows, features) when all see the same rows.
            work: Buffers for this many members and rows.
        """
        for index, hidden in enumerate(work.hidden):
            self._linear[index].forward(inputs, hidden)
            if self._norms:
                self._norms[index].forward(hidden)
            self._neurons[index].forward(hidden, work.masks[index])
            inputs = hidden
        return self._outputs(inputs, work)

    def forward_training(
        self, inputs: NDArray[Any], work: Workspace, noise: Noise | None = None
    ) -> NDArray[Any]:
        """As `forward`, with the batch's own statistics and with dropout.

        Args:
            inputs: As in `forward`.
            work: As in `forward`.
            noise: Where dropout draws from, with a workspace made for it; None drops nothing.
        """
        for index, hidden in enumerate(work.hidden):
            if self._norms:
                normalized = work.normalized[index]
                self._linear[index].forward(inputs, normalized)
                self._norms[index].forward_training(normalized, work.ones, hidden)
            else:
                self._linear[index].forward(inputs, hidden)
            self._neurons[index].forward(hidden, work.masks[index])
            if noise is not None:
                noise.draw(work.draws[index])
                kept, dropped = work.kept[index], work.dropped[index]
                self._dropout.forward(hidden, work.draws[index], kept, dropped)
            inputs = work.fed[index]
        return self._outputs(inputs, work)

    def backward(self, inputs: NDArray[Any], work: Workspace) -> None:
        """Write dL/dparameters into `gradients`.

        Args:
            inputs: As given to `forward_training`.
            work: As given to `forward_training`, with dL/dlogits standing in `work.logits` by now;
                its hidden outputs are used up.
        """
        gradients = work.logits
        self._neurons[-1].backward(work.logits, gradients, work.ones, work.masks[-1])
        for index in range(len(work.hidden) - 1, -1, -1):
            hidden, below = work.hidden[index], work.hidden_gradients[index]
            self._linear[index + 1].backward(work.fed[index], gradients, below)
            if work.dropped:
                self._dropout.backward(below, work.kept[index])
            self._neurons[index].backward(hidden, below, work.ones, work.masks[index])
            if self._norms:
                # The outputs have been used up, so their memory is free.
                self._norms[index].backward(below, work.normalized[index], work.ones, hidden)
            gradients = below
        self._linear[0].backward(inputs, gradients, None)

    def _outputs(self, inputs: NDArray[Any], work: Workspace) -> NDArray[Any]:
        self._linear[-1].forward(inputs, work.logits)
        self._neurons[-1].forward(work.logits, work.masks[-1])
        return work.logits

    def _adopt(self, parameters: NDArray[Any], running: NDArray[Any]) -> None:
        layout = self.architecture.layout
        self.parameters = parameters
        self.running = running
        self.gradients = np.zeros_like(parameters)
        self._linear = [
            Linear(*arrays)
            for arrays in zip(
                layout.weights(parameters), layout.weights(self.gradients), strict=True
            )
        ]
        self._neurons = self._make_neurons()
        self._norms = self._make_norms() if layout.batch_norm else []
        if self._rates is not None:
            self._dropout = Dropout(self._rates, parameters.dtype)

    def _make_neurons(self) -> list[Neurons]:
        layout = self.architecture.layout
        names = [*[self.architecture.activation] * len(layout.hidden), None]
        spans: list[tuple[int, int] | None] = list(layout.bias_spans)
        if layout.batch_norm:
            # A normalised layer has beta there.
            spans[:-1] = [None] * len(layout.hidden)
        return [
            self._kernels.neurons(name, self.parameters, self.gradients, span)
            for name, span in zip(names, spans, strict=True)
        ]

    def _make_norms(self) -> list[BatchNorm]:
        layout, normalized = self.architecture.layout, len(self.architecture.layout.hidden)
        return [
            BatchNorm(*arrays)
            for arrays in zip(
                layout.gammas(self.parameters),
                list(layout.biases(self.parameters))[:normalized],
                layout.gammas(self.gradients),
                list(layout.biases(self.gradients))[:normalized],
                layout.running_means(self.running),
                layout.running_variances(self.running),
                strict=True,
            )
        ]
