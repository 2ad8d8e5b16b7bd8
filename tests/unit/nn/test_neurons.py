"""Biases and activations: nothing may leave an activation out unasked."""

import numpy as np
import pytest

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.kernels import kernels


@pytest.mark.parametrize("activation", [*ACTIVATIONS, None])
@pytest.mark.usefixtures("each_kernels")
def test_the_room_to_work_in_must_be_given(activation):
    """Without the mask there must be an error, with either kernels, not an activation less."""
    parameters, gradients = np.ones((2, 1, 2), np.float32)
    neurons = kernels().neurons(activation, parameters, gradients, (0, 2))
    values = np.ones((1, 3, 2), np.float32)
    with pytest.raises(TypeError, match="mask"):
        neurons.forward(values)
    with pytest.raises(TypeError, match="mask"):
        neurons.backward(values, values.copy(), np.ones((1, 1, 3), np.float32))
