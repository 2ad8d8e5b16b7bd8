"""Initial weights, drawn so that members with one seed share their draws whatever their scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.study import ModelSpec, Normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpsearch.nn.layers import Layout


def standard_deviation(initializer: str | Normal, fan_in: int) -> float:
    """Standard deviation of the weights of a layer with `fan_in` inputs.

    "he" is sqrt(2 / n) (He et al. 2015, eq. 10); "xavier" is 1 / sqrt(n), the form Glorot & Bengio
    2010 (eq. 1) start from and textbooks use; `Normal` is its own number.

    Raises:
        ValueError: If the name is not one of these.
    """
    if isinstance(initializer, Normal):
        return initializer.normal
    if initializer == "he":
        return math.sqrt(2 / fan_in)
    if initializer == "xavier":
        return math.sqrt(1 / fan_in)
    raise ValueError(f'initializer: write "he", "xavier" or a Normal, got {initializer!r}')


def initial_parameters(
    model: ModelSpec, layout: Layout, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Parameters of one member before its first step: scaled normal weights, biases zero.

    Args:
        model: Says how the weights are scaled.
        layout: Shapes of the layers.
        generator: Source of the weights; standard normals are drawn first and scaled after, so
            the same generator gives the same pattern at every scale.

    Returns:
        (P,) float32.
    """
    parameters: NDArray[np.float32] = np.zeros((1, layout.parameter_count), dtype=np.float32)
    drawn = parameters[:, : layout.weight_count]
    drawn[0] = generator.standard_normal(layout.weight_count, dtype=np.float32)
    for weights in layout.weights(parameters):
        deviation = standard_deviation(model.initializer, weights.shape[1])
        np.multiply(weights, np.float32(deviation), out=weights)
    return parameters.reshape(-1)
