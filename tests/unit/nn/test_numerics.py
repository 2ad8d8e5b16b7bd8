"""Values of activations, losses and initial weights, at their limits too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.initializers import initial_parameters, standard_deviation
from hpsearch.nn.layers import Layout
from hpsearch.nn.losses import SoftmaxCrossEntropy, mean_losses
from hpsearch.nn.minibatches import Shuffles, streams
from hpsearch.study import ModelSpec, Normal

CASES = [
    ("relu", [-2.0, 0.0, 3.0], [0.0, 0.0, 3.0]),
    ("sigmoid", [-2.0, 0.0, 3.0], [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]),
    ("tanh", [-2.0, 0.0, 3.0], [math.tanh(-2), 0.0, math.tanh(3)]),
]


@pytest.mark.parametrize(("name", "inputs", "expected"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_values(name, inputs, expected, dtype):
    """Every activation must give the values of its formula, in place and in its dtype."""
    values = np.array(inputs, dtype=dtype)
    ACTIVATIONS[name].forward(values)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.filterwarnings("error")
def test_activations_stand_extreme_values(name):
    """No finite input may overflow, and not-a-number must stay visible."""
    values = np.array([-1e38, -1000, -88, 88, 1000, 1e38], dtype=np.float32)
    ACTIVATIONS[name].forward(values)
    assert np.isfinite(values).all()
    unknown = np.full(3, np.nan, dtype=np.float32)
    ACTIVATIONS[name].forward(unknown)
    assert np.isnan(unknown).all()


def noted(logits, targets):
    """The loss after a forward pass, and its mean per member."""
    members, rows, classes = logits.shape
    loss = SoftmaxCrossEntropy(members, rows, classes, logits.dtype)
    shifted, sums = np.empty((2, members, rows), logits.dtype)
    loss.forward(logits, targets, shifted, sums)
    return loss, mean_losses(shifted, sums)


def test_cross_entropy_of_equal_logits():
    """Equal logits must cost log(classes), whatever their value."""
    for value in (0.0, 1e4, -1e4):
        logits = np.full((2, 3, 5), value, dtype=np.float32)
        _, losses = noted(logits, np.zeros((1, 3), dtype=np.int64))
        assert losses == pytest.approx([math.log(5)] * 2, rel=1e-6)


@pytest.mark.filterwarnings("error")
def test_confident_mistake_costs_a_finite_loss():
    """A logit 2,000 below the largest must cost 2,000, not infinity."""
    logits = np.array([[[1000.0, -1000.0]]], dtype=np.float32)
    loss, losses = noted(logits, np.array([[1]]))
    assert losses == [2000.0]
    loss.backward(logits)
    assert logits.tolist() == [[[1.0, -1.0]]]


def test_prediction_of_a_tie_is_the_first_class():
    """A network that knows nothing must not be counted right on every row."""
    loss, _ = noted(np.zeros((1, 4, 3), dtype=np.float32), np.array([[0, 1, 2, 1]]))
    assert loss.predictions.tolist() == [[0, 0, 0, 0]]


def test_standard_deviations():
    """The initializers must have the standard deviations of their papers."""
    assert standard_deviation("he", 8) == 0.5
    assert standard_deviation("xavier", 4) == 0.5
    assert standard_deviation(Normal(normal=0.01), 50) == 0.01
    with pytest.raises(ValueError, match="glorot"):
        standard_deviation("glorot", 4)


def test_initial_weights_share_their_draws():
    """Members with one seed must differ by their scale alone, and start with zero biases."""
    layout = Layout((100, 50, 10))
    he, small = (
        initial_parameters(ModelSpec(initializer=initializer), layout, streams(3)[0])
        for initializer in ("he", Normal(normal=0.01))
    )
    first = slice(0, 100 * 50)
    np.testing.assert_allclose(he[first] * 0.01, small[first] * math.sqrt(0.02), rtol=1e-6)
    assert he.dtype == np.float32
    assert not he[layout.weight_count :].any()
    # 5,000 draws: four standard errors are 4 %, a false alarm in 16,000 seeds.
    assert he[first].std() == pytest.approx(math.sqrt(0.02), rel=0.04)


def test_orders_are_permutations_of_each_seed_alone():
    """Every epoch must visit every row once, in an order that only the member's seed decides."""
    mixed, alone = Shuffles([4, 5, 4], 7), Shuffles([5], 7)
    for _ in range(3):
        orders, own = mixed.next_epoch(), alone.next_epoch()
        assert (np.sort(orders, axis=1) == np.arange(7)).all()
        assert (orders[0] == orders[2]).all()
        assert (orders[1] == own[0]).all()
    mixed.select([1])
    assert (mixed.next_epoch() == alone.next_epoch()).all()


def test_shared_seed_has_one_order():
    """Members that share their seed must share one order, so that one gather serves them all."""
    assert Shuffles([9, 9, 9], 5).next_epoch().shape == (1, 5)
