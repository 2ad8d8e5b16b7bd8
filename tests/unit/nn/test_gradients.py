"""Backward passes against central differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.layers import Layout
from hpsearch.nn.losses import SoftmaxCrossEntropy, mean_losses
from hpsearch.nn.population import Population, Workspace

STEP = 1e-6


def central_difference(function, array):
    """Derivative of the function's sum with respect to every cell of `array`, which it reads."""
    slopes = np.empty_like(array)
    for cell in np.ndindex(array.shape):
        kept = array[cell]
        array[cell] = kept + STEP
        above = function()
        array[cell] = kept - STEP
        below = function()
        array[cell] = kept
        slopes[cell] = (above - below) / (2 * STEP)
    return slopes


def losses_of(logits, targets):
    """Mean cross-entropies (members,), by the loss under test."""
    members, rows, classes = logits.shape
    loss = SoftmaxCrossEntropy(members, rows, classes, logits.dtype)
    shifted, sums = np.empty((2, members, rows))
    loss.forward(logits, targets, shifted, sums)
    return loss, mean_losses(shifted, sums)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("members", [1, 3])
def test_activation_gradient(name, members):
    """The derivative of every activation must be the slope of its forward pass."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(members, 4, 5))
    upstream = draw.normal(size=values.shape)

    def weighted_sum():
        outputs = values.copy()
        ACTIVATIONS[name].forward(outputs)
        return float((outputs * upstream).sum())

    expected = central_difference(weighted_sum, values)
    outputs, gradients = values.copy(), upstream.copy()
    ACTIVATIONS[name].forward(outputs)
    ACTIVATIONS[name].backward(outputs, gradients)
    np.testing.assert_allclose(gradients, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("members", [1, 3])
def test_loss_gradient(members):
    """The gradient of softmax cross-entropy must be the slope of its mean over the batch."""
    draw = np.random.default_rng(1)
    logits = 3 * draw.normal(size=(members, 6, 4))
    targets = draw.integers(0, 4, (members, 6))
    expected = central_difference(lambda: sum(losses_of(logits.copy(), targets)[1]), logits)
    gradients = logits.copy()
    loss, _ = losses_of(gradients, targets)
    loss.backward(gradients)
    np.testing.assert_allclose(gradients, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (1,), (4,), (3, 5)], ids=str)
@pytest.mark.parametrize(("members", "shared"), [(1, True), (3, True), (3, False)])
def test_network_gradient(activation, hidden, members, shared):
    """The gradient of every weight and bias must be the slope of the network's loss."""
    draw = np.random.default_rng(2)
    layout = Layout((3, *hidden, 4))
    population = Population(layout, activation, draw.normal(size=(members, layout.parameter_count)))
    inputs = draw.normal(size=(1 if shared else members, 5, 3))
    targets = draw.integers(0, 4, (len(inputs), 5))
    work = Workspace(members, 5, layout, np.float64)

    def total_loss():
        return sum(losses_of(population.forward(inputs, work), targets)[1])

    expected = central_difference(total_loss, population.parameters)
    loss, _ = losses_of(population.forward(inputs, work), targets)
    loss.backward(work.logits)
    population.backward(inputs, work)
    np.testing.assert_allclose(population.gradients, expected, rtol=1e-5, atol=1e-8)


def test_layers_are_views_of_the_flat_vector():
    """A number written into the flat vector must be the layer's, weights before all biases."""
    layout = Layout((2, 3, 4))
    flat = np.arange(2 * layout.parameter_count, dtype=np.float32).reshape(2, -1)
    weights, biases = list(layout.weights(flat)), list(layout.biases(flat))
    assert all(np.shares_memory(view, flat) for view in weights + biases)
    assert [w.shape for w in weights] == [(2, 2, 3), (2, 3, 4)]
    assert [b.shape for b in biases] == [(2, 1, 3), (2, 1, 4)]
    first = np.concatenate([view[0].ravel() for view in weights + biases])
    assert first.tolist() == flat[0].tolist()
    assert layout.weight_count == 18


@pytest.mark.parametrize("widths", [(4,), (4, 0, 2), ()])
def test_impossible_layouts_are_refused(widths):
    """A network without a layer, or with an empty one, must be refused by name."""
    with pytest.raises(ValueError, match="widths"):
        Layout(widths)
