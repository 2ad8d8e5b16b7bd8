"""What a person sees of the layers of a network that does not learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, train
from hpsearch.settings import Constant, ModelSpec, Normal, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")

NOISE = Examples(
    np.random.default_rng(0).normal(size=(1000, 100)).astype(np.float32),
    np.random.default_rng(1).integers(0, 10, 1000),
    10,
)


def layers(hidden=(100,) * 5, step=0, rows=NOISE, training=None, **model):
    """The diagnosed layers of one member, as documents."""
    settings = TrialSettings(
        model=ModelSpec(hidden=hidden, **model),
        training=TrainingSpec(**({"epochs": 0, "diagnose": (step,)} | (training or {}))),
    )
    (result,) = train([Member(settings, 1)], rows, rows)
    return [layer.document() for layer in result.diagnoses[step]]


def test_sigmoids_with_large_weights_saturate():
    """With a deviation of 1 most outputs of every sigmoid layer must lie at 0 and 1."""
    for layer in layers(activation="sigmoid", initializer=Normal(normal=1.0))[:-1]:
        counts = layer["histogram"]["counts"]
        assert layer["saturated"] > 0.5
        assert counts[0] + counts[-1] > 0.5 * sum(counts)
        assert (layer["histogram"]["low"], layer["histogram"]["high"]) == (0, 1)
        assert sum(counts) == 1000 * 100


def test_sigmoids_with_small_weights_say_nothing():
    """With a deviation of 0.01 the outputs of deep sigmoid layers must all be near 0.5."""
    deep = layers(activation="sigmoid", initializer=Normal(normal=0.01))[4]
    assert deep["mean"] == pytest.approx(0.5, abs=0.05)
    assert deep["std"] < 0.05
    assert deep["saturated"] == 0


def test_he_keeps_the_scale_of_relus():
    """ReLU outputs must fade layer by layer with Xavier's weights, and not with He's."""
    he, xavier = (layers(initializer=name) for name in ("he", "xavier"))
    assert he[4]["std"] > 0.5 * he[0]["std"]
    assert xavier[4]["std"] < 0.4 * xavier[0]["std"]
    small = layers(initializer=Normal(normal=0.01))
    assert small[4]["gradient_norm"] < 1e-3 * he[4]["gradient_norm"]


def test_dead_units_are_counted():
    """A ReLU unit that is 0 for every row must count as dead, all of them with negative inputs."""
    positive = Examples(np.ones((20, 3), np.float32), np.zeros(20, np.int64), 2)
    (layer, _) = layers((4,), rows=positive, initializer=Constant(constant=-1.0))
    assert layer["dead"] == 1
    assert layer["histogram"] == {"low": 0, "high": 0, "counts": [80] + [0] * 29}
    assert layer["saturated"] is None
    (layer, _) = layers((4,), rows=positive, initializer=Constant(constant=1.0))
    assert layer["dead"] == 0
    assert (layer["mean"], layer["std"]) == (3, 0)
    # 20 rows of 4 units, all of them 3.
    assert layer["histogram"] == {"low": 3, "high": 3, "counts": [80] + [0] * 29}


def test_the_output_is_a_layer_of_logits():
    """The last layer must be the output, with the gradient a hand can work out."""
    rows = Examples(np.array([[1.0, 2.0]], np.float32), np.array([0]), 2)
    (output,) = layers((), rows=rows, initializer=Constant(constant=0.0))
    assert (output["layer"], output["activation"], output["mean"]) == (1, None, 0)
    # dL/dW = x (softmax - onehot) = (1, 2) times (-1/2, 1/2).
    assert output["gradient_norm"] == pytest.approx(math.sqrt((1 + 4) / 2), rel=1e-6)


def test_looking_changes_nothing():
    """A member that is looked at must end with the bits of one that is not."""
    results = []
    for steps in ((), (0, 1, 3)):
        settings = TrialSettings(
            model=ModelSpec(hidden=(6, 6), batch_norm=True, dropout=0.3),
            training=TrainingSpec(epochs=3, diagnose=steps),
        )
        (result,) = train([Member(settings, 1)], NOISE, NOISE)
        results.append(result)
    assert results[0].parameters.tobytes() == results[1].parameters.tobytes()
    assert results[0].curve == results[1].curve
    assert list(results[1].diagnoses) == [0, 1, 3]


def test_numbers_that_are_not_finite_are_null():
    """A document must stay valid JSON when a layer has overflown."""
    rows = Examples(np.full((5, 2), 1e38, np.float32), np.zeros(5, np.int64), 2)
    (layer, _) = layers((3,), rows=rows, initializer=Constant(constant=100.0))
    assert layer["mean"] is None
    assert layer["histogram"] == {"low": 0, "high": 1, "counts": [0] * 30}


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("constant", [0.7, 1e17])
def test_outputs_a_few_bits_apart_are_one_bar(activation, constant):
    """Layers whose outputs differ in their last bits alone must not fail the trial."""
    found = layers(
        (100,) * 3,
        activation=activation,
        initializer=Constant(constant=constant),
        training={"precision": "float64"},
    )
    assert all(sum(layer["histogram"]["counts"]) <= 1000 * 100 for layer in found)
