"""Backward passes against central differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.draws import Noise, Seed
from hpsearch.nn.initializers import initial_parameters, initial_running
from hpsearch.nn.kernels import kernels
from hpsearch.nn.layers import Layout
from hpsearch.nn.losses import mean_losses
from hpsearch.nn.population import Architecture, Population, Workspace
from hpsearch.settings import Constant, ModelSpec, Normal

pytestmark = pytest.mark.usefixtures("each_kernels")

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


def losses_of(logits, targets, output="softmax"):
    """Mean cross-entropies (members,), by the loss under test."""
    members, rows, outputs = logits.shape
    loss = kernels().losses[output](members, rows, outputs, logits.dtype)
    shifted, sums = np.empty((2, members, rows))
    loss.forward(logits, targets, shifted, sums)
    return loss, mean_losses(shifted, sums)


@pytest.mark.parametrize("name", [*ACTIVATIONS, None])
@pytest.mark.parametrize("members", [1, 3])
def test_activation_gradient(name, members):
    """The derivatives of f(z + b) by z and b must be the slopes of its forward pass."""
    draw = np.random.default_rng(0)
    values, upstream = draw.normal(size=(2, members, 4, 5))
    parameters = draw.normal(size=(members, 7))
    sums = np.zeros_like(parameters)
    mask, ones = np.empty(values.shape, bool), np.ones((1, 1, 4))
    neurons = kernels().neurons(name, parameters, sums, (1, 6))

    def forward():
        outputs = values.copy()
        neurons.forward(outputs, mask)
        return outputs

    expected, expected_sums = (
        central_difference(lambda: float((forward() * upstream).sum()), array)
        for array in (values, parameters)
    )
    gradients = upstream.copy()
    neurons.backward(forward(), gradients, ones, mask)
    np.testing.assert_allclose(gradients, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("output", "outputs", "classes"), [("softmax", 4, 4), ("sigmoid", 1, 2)])
def test_loss_gradient(members, output, outputs, classes):
    """The gradient of a loss must be the slope of its mean over the batch."""
    draw = np.random.default_rng(1)
    logits = 3 * draw.normal(size=(members, 6, outputs))
    targets = draw.integers(0, classes, (members, 6))
    expected = central_difference(lambda: sum(losses_of(logits.copy(), targets, output)[1]), logits)
    gradients = logits.copy()
    loss, _ = losses_of(gradients, targets, output)
    loss.backward(gradients)
    np.testing.assert_allclose(gradients, expected, rtol=1e-6, atol=1e-8)


class Network:
    """A small population with every choice of a network, its rows and its loss."""

    def __init__(
        self,
        hidden=(4,),
        members=3,
        shared=False,
        initializer="he",
        **model,
    ):
        draw = np.random.default_rng(2)
        spec = ModelSpec(hidden=hidden, initializer=initializer, **model)
        classes = 2 if spec.output == "sigmoid" else 4
        self.architecture = Architecture.of(spec, 3, classes)
        layout = self.architecture.layout
        seeds = [Seed(number) for number in range(members)]
        weights = [initial_parameters(spec.initializer, layout, s, np.float64) for s in seeds]
        running = np.stack([initial_running(layout, np.float64)] * members)
        self.rates = [spec.dropout, 0.0, spec.dropout / 2][:members] if spec.dropout else None
        self.population = Population(self.architecture, np.stack(weights), running, self.rates)
        # Biases, betas and gammas of 0 and 1 would hide what multiplies or adds them.
        tail = self.population.parameters[:, layout.weight_count :]
        tail += 0.3 * draw.normal(size=tail.shape)
        self.inputs = draw.normal(size=(1 if shared else members, 5, 3))
        self.targets = draw.integers(0, classes, (len(self.inputs), 5))
        self.seeds = seeds[:1] * members if shared else seeds
        self.work = Workspace(
            members,
            5,
            self.architecture,
            np.dtype(np.float64),
            streams=Noise(self.seeds).streams if self.rates else 0,
        )

    def forward(self):
        """The loss and its means, every time with the same draws."""
        noise = Noise(self.seeds) if self.rates else None
        logits = self.population.forward_training(self.inputs, self.work, noise)
        return losses_of(logits, self.targets, self.architecture.output)

    def check(self):
        """Compare every parameter's gradient with the slope of the summed losses."""
        expected = central_difference(lambda: sum(self.forward()[1]), self.population.parameters)
        loss, _ = self.forward()
        loss.backward(self.work.logits)
        self.population.backward(self.inputs, self.work)
        np.testing.assert_allclose(self.population.gradients, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (1,), (4,), (3, 5)], ids=str)
@pytest.mark.parametrize(("members", "shared"), [(1, True), (3, True), (3, False)])
def test_network_gradient(activation, hidden, members, shared):
    """The gradient of every weight and bias must be the slope of the network's loss."""
    Network(hidden, members, shared, activation=activation).check()


LAYERS = [
    {"batch_norm": batch_norm, "dropout": dropout}
    for batch_norm in (False, True)
    for dropout in (0.0, 0.4)
]


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_gradient(layers, activation):
    """So it must be with batch normalisation and dropout around any activation."""
    Network((3, 4), activation=activation, **layers).check()


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("members", "shared"), [(1, True), (3, True), (3, False)])
def test_layers_gradient_in_any_company(layers, output, members, shared):
    """So it must be with either output, for one member and for several, with draws of one or many.

    The activation stands between two layers and knows neither the output nor who shares draws.
    """
    Network((3, 4), members, shared, output=output, activation="tanh", **layers).check()


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "initializer",
    ["he", "xavier", "glorot", Normal(normal=0.5), Constant(constant=0.1)],
    ids=str,
)
def test_gradient_at_every_start(initializer, members):
    """The gradient must be right wherever an initializer puts the weights."""
    Network((4, 6), members, initializer=initializer, activation="tanh").check()


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
