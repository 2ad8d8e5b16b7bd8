"""Initial weights, drawn so that members with one seed share their draws whatever their scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.settings import Constant, Initializer, Normal

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from hpsearch.nn.draws import Seed
    from hpsearch.nn.layers import Layout


def standard_deviation(initializer: Initializer, fan_in: int, fan_out: int) -> float:
    """Standard deviation of the weights of a layer.

    "he" is sqrt(2 / in) (He et al. 2015, eq. 10). "glorot" is sqrt(2 / (in + out)) (Glorot &
    Bengio 2010, eq. 12). "xavier" is 1 / sqrt(in), what textbooks call Xavier: the deviation of
    LeCun et al. 1998, section 4.6. `Normal` is its own number, and a constant has no deviation.

    Args:
        initializer: As in the study file.
        fan_in: Numbers going into the layer.
        fan_out: Numbers coming out of it.

    Raises:
        ValueError: If the name is not one of these.
    """
    if isinstance(initializer, Normal):
        return initializer.normal
    if isinstance(initializer, Constant):
        return 0.0
    variances = {"he": 2 / fan_in, "xavier": 1 / fan_in, "glorot": 2 / (fan_in + fan_out)}
    if initializer not in variances:
        raise ValueError(f"initializer: write one of {', '.join(variances)}, got {initializer!r}")
    return math.sqrt(variances[initializer])


def initial_parameters(
    initializer: Initializer, layout: Layout, seed: Seed, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Parameters of one member before its first step: weights drawn, biases 0, gammas 1.

    Standard normals are drawn first and scaled after, so that one seed gives one pattern at every
    scale; they are drawn in float32 for every precision, so that one start serves both.

    Args:
        initializer: Says how the weights are scaled.
        layout: Shapes of the layers.
        seed: Source of the weights.
        dtype: Of the result.

    Returns:
        (P,) dtype.
    """
    parameters: NDArray[Any] = np.zeros((1, layout.parameter_count), dtype)
    _draw(parameters, layout, seed)
    for weights in layout.weights(parameters):
        if isinstance(initializer, Constant):
            weights[...] = initializer.constant
            continue
        deviation = standard_deviation(initializer, *weights.shape[1:])
        np.multiply(weights, weights.dtype.type(deviation), out=weights)
    for gammas in layout.gammas(parameters):
        gammas[...] = 1
    return parameters.reshape(-1)


def initial_running(layout: Layout, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Running statistics of one member before its first step: means 0, variances 1; (R,) dtype."""
    running: NDArray[Any] = np.zeros((1, layout.running_count), dtype)
    for variances in layout.running_variances(running):
        variances[...] = 1
    return running.reshape(-1)


def _draw(parameters: NDArray[Any], layout: Layout, seed: Seed) -> None:
    """Fill the weights with standard normals."""
    if seed.published is None:
        drawn = seed.weights().standard_normal(layout.weight_count, dtype=np.float32)
        parameters[0, : layout.weight_count] = drawn
        return
    # Published code keeps a layer's weights as (out, in), and draws them layer by layer.
    state = np.random.RandomState(seed.published.weights)
    for weights in layout.weights(parameters):
        weights[0] = state.standard_normal(weights.shape[:0:-1]).T
