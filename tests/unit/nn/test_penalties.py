"""Penalties and decay: gradients against values, and what is never touched."""

import numpy as np
import pytest

from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer
from hpsearch.nn.penalties import Penalties, penalty_values
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

# Two layers of weights, then two biases.
SPANS = ((0, 6), (6, 10))
SIZE = 12
PRICES = [{"l2": 0.3}, {"l1": 0.2}, {"linf": 0.7}, {"l2": 0.1, "l1": 0.2, "linf": 0.3}]


def added(specs, parameters):
    """What the penalties add to gradients of 0."""
    gradients = np.zeros_like(parameters)
    Penalties(specs, SPANS, np.empty_like(parameters)).add(parameters, gradients)
    return gradients


def some_parameters(members):
    """Parameters no two of which are equally large."""
    return np.random.default_rng(5).normal(size=(members, SIZE))


def test_values_by_hand():
    """A penalty must be l2/2 sum w^2 + l1 sum |w| + linf times the layers' largest |w|."""
    parameters = np.array([[3.0, -4.0, 1.0, 100.0], [1.0, 1.0, -2.0, 100.0]])
    specs = [TrainingSpec(l2=0.1, l1=0.5, linf=2.0), TrainingSpec()]
    values = penalty_values(specs, [(0, 2), (2, 3)], parameters)
    np.testing.assert_allclose(values, [0.05 * 26 + 0.5 * 8 + 2 * (4 + 1), 0.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_those_of_the_value(dtype):
    """What is added to the gradient must be the slope of the penalty's value."""
    specs = [TrainingSpec(**price) for price in [*PRICES, {}]]
    parameters = some_parameters(len(specs))
    slopes = np.empty_like(parameters)
    for place in range(SIZE):
        step = np.zeros(SIZE)
        step[place] = 1e-6
        higher, lower = (penalty_values(specs, SPANS, parameters + s) for s in (step, -step))
        slopes[:, place] = (higher - lower) / 2e-6
    tolerance = 1e-6 if dtype is np.float32 else 1e-8
    np.testing.assert_allclose(added(specs, parameters.astype(dtype)), slopes, atol=tolerance)


@pytest.mark.parametrize("price", PRICES, ids=str)
def test_members_pay_their_own_price(price):
    """A member must get the bits it gets alone, and one without a penalty nothing at all."""
    specs = [TrainingSpec(), TrainingSpec(**price), TrainingSpec(), TrainingSpec(l2=0.5)]
    parameters = some_parameters(4)
    together = added(specs, parameters)
    assert not together[[0, 2]].any()
    for index in (1, 3):
        alone = added([specs[index]], parameters[index : index + 1])
        assert together[index].tobytes() == alone[0].tobytes()


def test_largest_of_equals_is_the_first():
    """Linf must press on one weight of every layer only, the first of the largest."""
    parameters = np.array([[1.0, -2.0, 2.0, -2.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 9.0, 9.0]])
    expected = np.zeros((1, SIZE))
    expected[0, 1], expected[0, 6] = -0.3, 0.3
    np.testing.assert_array_equal(added([TrainingSpec(linf=0.3)], parameters), expected)


def test_weights_at_zero_stay_there():
    """At w = 0 neither l1 nor linf may push anywhere."""
    assert not added([TrainingSpec(l1=0.3, linf=0.3)], np.zeros((1, SIZE))).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("price", [*PRICES, {"weight_decay": 0.5}], ids=str)
def test_biases_are_never_touched(name, price):
    """Penalties and decay must move weights of every layer and not a bit of a bias."""
    parameters = np.tile(some_parameters(1), (2, 1))
    plain = {"optimizer": name, "learning_rate": 0.1, "weight_decay": 0.0}
    specs = [TrainingSpec(**plain), TrainingSpec(**plain | price)]
    optimizer = PopulationOptimizer(
        specs, SPANS, SIZE, np.float64, total_steps=3, rules=kernels().optimizers
    )
    for gradient in np.random.default_rng(6).normal(size=(3, SIZE)):
        optimizer.step(parameters, np.tile(gradient, (2, 1)))
    free, priced = parameters
    assert free[10:].tobytes() == priced[10:].tobytes()
    for start, stop in SPANS:
        assert (free[start:stop] != priced[start:stop]).any()


def test_a_network_without_weights_has_no_penalty():
    """Where nothing is a weight, penalties and decay must change nothing."""
    specs = [TrainingSpec(optimizer="sgd", l2=1.0, l1=1.0, linf=1.0, weight_decay=1.0)]
    optimizer = PopulationOptimizer(
        specs, (), 3, np.float64, total_steps=1, rules=kernels().optimizers
    )
    parameters = np.ones((1, 3))
    optimizer.step(parameters, np.zeros((1, 3)))
    np.testing.assert_array_equal(parameters, np.ones((1, 3)))
