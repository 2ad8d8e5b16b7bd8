"""Values of activations, losses and initial weights, at their limits too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.draws import Noise, Seed
from hpsearch.nn.initializers import initial_parameters, initial_running, standard_deviation
from hpsearch.nn.kernels import kernels
from hpsearch.nn.layers import Layout
from hpsearch.nn.losses import LOSSES, mean_losses
from hpsearch.nn.minibatches import Minibatches
from hpsearch.settings import Constant, Draws, Normal

CASES = [
    ("relu", [-2.0, 0.0, 3.0], [0.0, 0.0, 3.0]),
    ("leaky_relu", [-2.0, 0.0, 3.0], [-0.02, 0.0, 3.0]),
    ("sigmoid", [-2.0, 0.0, 3.0], [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]),
    ("tanh", [-2.0, 0.0, 3.0], [math.tanh(-2), 0.0, math.tanh(3)]),
]

each_kernels = pytest.mark.usefixtures("each_kernels")


def activate(name, values):
    """Replace values (n,) by their activation, with the kernels under test."""
    rows = values.reshape(1, 1, -1)
    none = np.empty((1, 0), values.dtype)
    kernels().neurons(name, none, none, None).forward(rows, np.empty(rows.shape, bool))


@each_kernels
@pytest.mark.parametrize(("name", "inputs", "expected"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_values(name, inputs, expected, dtype):
    """Every activation must give the values of its formula, in place and in its dtype."""
    values = np.array(inputs, dtype=dtype)
    activate(name, values)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@each_kernels
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.filterwarnings("error")
def test_activations_stand_extreme_values(name):
    """No finite input may overflow or lose its order, and not-a-number must stay visible."""
    values = np.array([-1e38, -1000, -88, 88, 1000, 1e38], dtype=np.float32)
    activate(name, values)
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()
    unknown = np.full(3, np.nan, dtype=np.float32)
    activate(name, unknown)
    assert np.isnan(unknown).all()


def noted(logits, targets, output="softmax"):
    """The loss after a forward pass with the kernels under test, and its mean per member."""
    members, rows, outputs = logits.shape
    loss = kernels().losses[output](members, rows, outputs, logits.dtype)
    shifted, sums = np.empty((2, members, rows), logits.dtype)
    loss.forward(logits, targets, shifted, sums)
    return loss, mean_losses(shifted, sums)


@each_kernels
def test_cross_entropy_of_equal_logits():
    """Equal logits must cost log(classes), whatever their value."""
    for value in (0.0, 1e4, -1e4):
        logits = np.full((2, 3, 5), value, dtype=np.float32)
        _, losses = noted(logits, np.zeros((1, 3), dtype=np.int64))
        assert losses == pytest.approx([math.log(5)] * 2, rel=1e-6)


@each_kernels
@pytest.mark.parametrize(
    ("output", "row", "target", "gradient"),
    [
        ("softmax", [1000.0, -1000.0], 1, [1.0, -1.0]),
        ("softmax", [-1000.0, 1000.0], 0, [-1.0, 1.0]),
        ("sigmoid", [2000.0], 0, [1.0]),
        ("sigmoid", [-2000.0], 1, [-1.0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_confident_mistake_costs_a_finite_loss(output, row, target, gradient, dtype):
    """A logit 2,000 on the wrong side must cost 2,000, not infinity."""
    logits = np.array([[row]], dtype)
    loss, losses = noted(logits, np.array([[target]]), output)
    assert losses == [2000.0]
    loss.backward(logits)
    assert logits[0, 0].tolist() == pytest.approx(gradient, abs=1e-30)


@each_kernels
@pytest.mark.parametrize("place", [0, 1, 2])
def test_prediction_of_a_broken_row(place):
    """The first not-a-number of a row must be its prediction, as for argmax, its loss unknown."""
    row = np.array([0.0, 2.0, 1.0, np.nan], np.float32)
    row[place] = np.nan
    loss, losses = noted(np.array([[row]]), np.array([[1]]))
    assert loss.predictions.tolist() == [[place]]
    assert math.isnan(losses[0])


@each_kernels
@pytest.mark.parametrize("output", LOSSES)
def test_not_a_number_costs_no_number(output):
    """A loss of which nothing is known must say so."""
    width = {"softmax": 3, "sigmoid": 1}[output]
    _, losses = noted(np.full((1, 2, width), np.nan, np.float32), np.array([[0, 1]]), output)
    assert math.isnan(losses[0])


@each_kernels
def test_prediction_of_a_tie_is_the_first_class():
    """A network that knows nothing must not be counted right on every row."""
    loss, _ = noted(np.zeros((1, 4, 3), dtype=np.float32), np.array([[0, 1, 2, 1]]))
    assert loss.predictions.tolist() == [[0, 0, 0, 0]]


def test_standard_deviations():
    """The initializers must have the standard deviations of their papers."""
    assert standard_deviation("he", 8, 3) == 0.5
    assert standard_deviation("xavier", 4, 3) == 0.5
    assert standard_deviation("glorot", 5, 3) == 0.5
    assert standard_deviation(Normal(normal=0.01), 50, 3) == 0.01
    with pytest.raises(ValueError, match="kaiming"):
        standard_deviation("kaiming", 4, 3)


def test_initial_weights_share_their_draws():
    """Members with one seed must differ by their scale alone, and start with zero biases."""
    layout = Layout((100, 50, 10))
    he, small = (
        initial_parameters(initializer, layout, Seed(3))
        for initializer in ("he", Normal(normal=0.01))
    )
    first = slice(0, 100 * 50)
    np.testing.assert_allclose(he[first] * 0.01, small[first] * math.sqrt(0.02), rtol=1e-6)
    assert he.dtype == np.float32
    assert not he[layout.weight_count :].any()
    # 5,000 draws: four standard errors are 4 %, a false alarm in 16,000 seeds.
    assert he[first].std() == pytest.approx(math.sqrt(0.02), rel=0.04)


def test_constant_weights():
    """A constant initializer must give every weight the same value, and biases still 0."""
    layout = Layout((3, 2, 2))
    parameters = initial_parameters(Constant(constant=0.25), layout, Seed(0))
    assert parameters.tolist() == [0.25] * 10 + [0.0] * 4


def test_normalised_layers_start_as_they_are():
    """Gammas must start at 1, betas at 0, running means at 0 and running variances at 1."""
    layout = Layout((3, 2, 2), batch_norm=True)
    parameters = initial_parameters("he", layout, Seed(0))[layout.weight_count :]
    assert parameters.tolist() == [0.0] * 4 + [1.0] * 2
    assert initial_running(layout).tolist() == [0.0, 0.0, 1.0, 1.0]


def epoch(batches):
    """Row numbers (streams, rows) of a whole epoch."""
    return np.concatenate([batches.next()[0] for _ in range(batches.per_epoch)], axis=1)


def batches(seeds, rows=7, size=3):
    """Minibatches of members with these seeds; the targets are the row numbers."""
    return Minibatches([Seed(seed) for seed in seeds], np.arange(rows), size)


def test_orders_are_permutations_of_each_seed_alone():
    """Every epoch must visit every row once, in an order that only the member's seed decides."""
    mixed, alone = batches([4, 5, 4]), batches([5])
    for _ in range(3):
        orders, own = epoch(mixed), epoch(alone)
        assert (np.sort(orders, axis=1) == np.arange(7)).all()
        assert (orders[0] == orders[2]).all()
        assert (orders[1] == own[0]).all()
    mixed.select([1])
    assert (epoch(mixed) == epoch(alone)).all()


def test_selection_within_an_epoch():
    """Members that stay must see the rest of an epoch as if nobody had left."""
    mixed, alone = batches([4, 5, 6, 5]), batches([5])
    mixed.next(), alone.next()
    mixed.select([3, 1])
    for _ in range(5):
        (rows, targets), (own, _) = mixed.next(), alone.next()
        assert rows.shape[0] == 1
        assert (rows == own).all()
        assert (targets == rows).all()


def test_shared_seed_has_one_order():
    """Members that share their seed must share one order, so that one gather serves them all."""
    assert batches([9, 9, 9]).next()[0].shape == (1, 3)


def test_published_draws():
    """Published draws must be RandomState's: weights (out, in), one seed an epoch."""
    seed = Seed(0, Draws(weights=3, batches=11))
    state = np.random.RandomState(3)
    first, second = state.randn(5, 2), state.randn(1, 5)
    layout = Layout((2, 5, 1))
    weights = layout.weights(initial_parameters("xavier", layout, seed, np.float64)[None])
    np.testing.assert_array_equal(next(weights)[0], first.T * math.sqrt(1 / 2))
    np.testing.assert_array_equal(next(weights)[0], second.T * math.sqrt(1 / 5))
    drawn = Minibatches([seed], np.arange(9), 4)
    for epoch_seed in (11, 12, 13):
        assert epoch(drawn)[0].tolist() == np.random.RandomState(epoch_seed).permutation(9).tolist()


def test_dropped_draws_belong_to_the_seed():
    """What a member drops must depend on its seed alone, and go on when others leave."""
    mixed, alone = Noise([Seed(4), Seed(5), Seed(4)]), Noise([Seed(5)])
    for _ in range(2):
        theirs, own = np.empty((3, 2, 6), np.float32), np.empty((1, 2, 6), np.float32)
        mixed.draw(theirs), alone.draw(own)
        assert (theirs[1] == own[0]).all()
        assert (theirs[0] == theirs[2]).all()
        assert (theirs[0] != theirs[1]).any()
    mixed.select([1])
    mixed.draw(theirs[:1]), alone.draw(own)
    assert (theirs[0] == own[0]).all()
