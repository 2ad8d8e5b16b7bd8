"""Update rules: by hand, and against each other."""

import math
import tracemalloc

import numpy as np
import pytest

from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

# Two layers of weights, then a bias.
SPANS = ((0, 2), (2, 3))
W0 = (1.0, -2.0, 0.5, 3.0)
GRADIENTS = ((0.1, -0.2, 0.3, 1.0), (0.2, 0.1, -0.4, 1.0), (-0.3, 0.05, 0.2, 1.0))

# What each paper, or its common use, says where a study says nothing.
OPEN = {
    "sgd": {"learning_rate": 1e-3},
    "momentum": {"learning_rate": 1e-3},
    "nesterov": {"learning_rate": 1e-3},
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-7},
    "rmsprop": {"learning_rate": 1e-3, "rho": 0.9, "epsilon": 1e-8},
    "adadelta": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6},
    "adam": {"learning_rate": 1e-3, "epsilon": 1e-8},
    "adamw": {"learning_rate": 1e-3, "epsilon": 1e-8, "weight_decay": 1e-2},
}
CLOSED = {"momentum": 0.9, "dampening": 0.0, "beta1": 0.9, "beta2": 0.999}
CLOSED |= {"l1": 0.0, "l2": 0.0, "linf": 0.0, "weight_decay": 0.0}


def build(specs, dtype=np.float64, size=4, spans=SPANS):
    """An optimizer of these members; the last parameter is a bias."""
    return PopulationOptimizer(
        specs, spans, size, dtype, total_steps=3000, rules=kernels().optimizers
    )


def steps(specs, gradients=GRADIENTS, dtype=np.float64, optimizer=None):
    """Parameters (members, 4) after every one of the gradients, the same for all members."""
    optimizer = optimizer or build(specs, dtype)
    parameters = np.tile(np.array(W0, dtype), (len(specs), 1))
    seen = []
    for gradient in gradients:
        optimizer.step(parameters, np.tile(np.array(gradient, dtype), (len(specs), 1)))
        seen.append(parameters.copy())
    return seen


def spec_of(name, **written):
    """The training of one member."""
    return TrainingSpec(optimizer=name, **written)


# ---------------------------------------------------------------- the papers, one number at a time


def sgd(h):
    """Robbins and Monro: w - lr g."""
    return lambda w, g: w - h["learning_rate"] * g


def momentum(h):
    """Sutskever et al., eqs. 1-2, the gradient weighted by 1 - dampening."""
    v = 0.0

    def step(w, g):
        nonlocal v
        v = h["momentum"] * v - (1 - h["dampening"]) * h["learning_rate"] * g
        return w + v

    return step


def nesterov(h):
    """Sutskever et al., eqs. 3-4, in theta; what is seen is where the next gradient is taken."""
    v = 0.0

    def step(ahead, g):
        nonlocal v
        theta = ahead - h["momentum"] * v
        v = h["momentum"] * v - h["learning_rate"] * g
        return theta + v + h["momentum"] * v

    return step


def adagrad(h):
    """Duchi et al., the diagonal form."""
    total = 0.0

    def step(w, g):
        nonlocal total
        total += g * g
        return w - h["learning_rate"] * g / (math.sqrt(total) + h["epsilon"])

    return step


def rmsprop(h):
    """Tieleman and Hinton, epsilon outside the root."""
    v = 0.0

    def step(w, g):
        nonlocal v
        v = h["rho"] * v + (1 - h["rho"]) * g * g
        return w - h["learning_rate"] * g / (math.sqrt(v) + h["epsilon"])

    return step


def adadelta(h):
    """Zeiler, Algorithm 1."""
    g2 = d2 = 0.0

    def step(w, g):
        nonlocal g2, d2
        g2 = h["rho"] * g2 + (1 - h["rho"]) * g * g
        delta = math.sqrt(d2 + h["epsilon"]) / math.sqrt(g2 + h["epsilon"]) * g
        d2 = h["rho"] * d2 + (1 - h["rho"]) * delta * delta
        return w - h["learning_rate"] * delta

    return step


def adam(h):
    """Kingma and Ba, Algorithm 1."""
    b1, b2 = h["beta1"], h["beta2"]
    m = v = 0.0
    t = 0

    def step(w, g):
        nonlocal m, v, t
        t += 1
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        corrected = m / (1 - b1**t), v / (1 - b2**t)
        return w - h["learning_rate"] * corrected[0] / (math.sqrt(corrected[1]) + h["epsilon"])

    return step


PAPERS = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "adam": adam,
    "adamw": adam,
}


def penalised(h, w, gradient):
    """The gradient with that of the penalties; the last number is a bias."""
    g = list(gradient)
    for start, stop in SPANS:
        largest = max(range(start, stop), key=lambda i: abs(w[i]))
        for i in range(start, stop):
            g[i] += h["l2"] * w[i] + h["l1"] * math.copysign(1, w[i])
        g[largest] += h["linf"] * math.copysign(1, w[largest])
    return g


def by_hand(name, written, gradients=GRADIENTS):
    """Parameters after every step, in plain floats."""
    h = CLOSED | OPEN[name] | written
    rules = [PAPERS[name](h) for _ in W0]
    w, seen = list(W0), []
    for gradient in gradients:
        g = penalised(h, w, gradient)
        shrunk = [x - h["learning_rate"] * h["weight_decay"] * x for x in w[:3]] + w[3:]
        w = [rule(x, y) for rule, x, y in zip(rules, shrunk, g, strict=True)]
        seen.append(w)
    return seen


WRITTEN = [
    {},
    {"learning_rate": 0.1},
    {"learning_rate": 0.1, "l2": 0.3},
    {"learning_rate": 0.1, "l1": 0.3, "linf": 0.2},
    {"learning_rate": 0.1, "weight_decay": 0.3},
    {"learning_rate": 0.1, "l2": 0.2, "weight_decay": 0.5},
    {"learning_rate": 0.01, "momentum": 0.5, "beta1": 0.7, "beta2": 0.9, "epsilon": 0.1},
    {"learning_rate": 0.01, "rho": 0.5, "dampening": 0.3, "epsilon": 1e-3},
    {"learning_rate": 0.01, "momentum": 0.0, "beta1": 0.0, "beta2": 0.0, "rho": 0.0},
]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_first_three_steps(name, written):
    """The first three steps must be those of the paper's algorithm."""
    ours = [seen[0] for seen in steps([spec_of(name, **written)])]
    np.testing.assert_allclose(ours, by_hand(name, written), rtol=1e-12, atol=1e-15)


def test_table_names_every_rule():
    """Every optimizer a study can name must have its rule, and its paper in the table here."""
    assert OPTIMIZERS.keys() == PAPERS.keys() == OPEN.keys()


# ---------------------------------------------------------------- identities


def same_steps(specs, rtol=0.0):
    """Both members take the same steps."""
    one, other = (steps([spec]) for spec in specs)
    np.testing.assert_allclose(one, other, rtol=rtol, atol=0)


DECAYS = {"learning_rate": 0.1, "l2": 0.1, "l1": 0.01, "weight_decay": 0.2}


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_without_momentum_it_is_sgd(name):
    """Momentum and Nesterov's with a = 0 must be plain SGD, to the last bit."""
    same_steps([spec_of(name, momentum=0.0, **DECAYS), spec_of("sgd", **DECAYS)])


def test_adamw_without_decay_is_adam():
    """AdamW with weight_decay = 0 must be Adam, to the last bit."""
    same_steps([spec_of("adamw", weight_decay=0.0, l2=0.1), spec_of("adam", l2=0.1)])


def test_adamw_is_adam_with_decay():
    """AdamW must be Adam with a weight_decay of 0.01 that needs not be written."""
    same_steps([spec_of("adamw"), spec_of("adam", weight_decay=0.01)])


def test_adam_without_memory_of_gradients_is_rmsprop():
    """Adam with b1 = 0 and no bias correction must be RMSProp with rho = b2.

    After 10,000 steps nothing is left of the correction (0.9^10,000 is 0): Adam starts there.
    """
    adam_spec = spec_of("adam", beta1=0.0, beta2=0.9, learning_rate=0.1)
    optimizer = OPTIMIZERS["adam"]([adam_spec], SPANS, 4, np.float64, total_steps=1)
    optimizer._steps = 10_000
    optimizer.select([0])
    uncorrected = steps([adam_spec], optimizer=optimizer)
    plain = steps([spec_of("rmsprop", rho=0.9, learning_rate=0.1)])
    np.testing.assert_allclose(uncorrected, plain, rtol=1e-12)


def test_dampened_momentum_is_a_moving_average():
    """With dampening = a = 0.9, v / -lr must be the average 0.9 v + 0.1 g, from the first step."""
    ours = steps([spec_of("momentum", momentum=0.9, dampening=0.9, learning_rate=0.5)])
    average, w = np.zeros(4), np.array(W0)
    for seen, gradient in zip(ours, GRADIENTS, strict=True):
        average = 0.9 * average + 0.1 * np.array(gradient)
        w = w - 0.5 * average
        np.testing.assert_allclose(seen[0], w, rtol=1e-12)


def test_first_adam_step_is_the_learning_rate():
    """Adam's first step must be lr |g| / (|g| + epsilon): epsilon beside the corrected root."""
    tiny = ((1e-6,) * 4,)
    moved = np.array(W0) - steps([spec_of("adam", learning_rate=0.1)], tiny)[0][0]
    np.testing.assert_allclose(moved, 0.1 * 1e-6 / (1e-6 + 1e-8), rtol=1e-9)


def test_decays_are_the_same_for_sgd_only():
    """l2 and weight_decay must agree for plain SGD and differ for Adam."""
    decays = {"l2": 0.2}, {"weight_decay": 0.2}
    sgds = [steps([spec_of("sgd", learning_rate=0.1, **decay)])[-1] for decay in decays]
    np.testing.assert_allclose(sgds[0], sgds[1], rtol=1e-14)
    adams = [steps([spec_of("adam", learning_rate=0.1, **decay)])[-1] for decay in decays]
    assert not np.allclose(adams[0], adams[1], rtol=1e-3)


def test_adam_stands_long_training():
    """Adam's corrections must vanish with time: a constant gradient moves lr a step, always."""
    optimizer = build([spec_of("adam", learning_rate=0.5)])
    parameters = np.zeros((1, 4))
    for _ in range(3000):
        before = parameters.copy()
        optimizer.step(parameters, np.ones((1, 4)))
        assert math.isclose(float((before - parameters)[0, 0]), 0.5, rel_tol=1e-6)


# ---------------------------------------------------------------- memory

PRICES = {"l2": 0.1, "l1": 0.1, "linf": 0.1, "weight_decay": 0.1, "schedule": "cosine"}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("written", [{"weight_decay": 0.0}, PRICES], ids=["plain", "priced"])
def test_steps_allocate_no_arrays(name, written):
    """A step must need no memory that grows with the network, whatever is switched on."""
    size = 100_000
    specs = [spec_of(name, learning_rate=rate, **written) for rate in (0.1, 0.2)]
    optimizer = build(specs, np.float32, size, spans=((0, size // 2), (size // 2, size - 1)))
    parameters, gradients = np.ones((2, 2, size), np.float32)
    optimizer.step(parameters, gradients)
    tracemalloc.start()
    try:
        optimizer.step(parameters, gradients)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A tenth of one member's row; what there is (4.6 kB) are views and single numbers.
    assert peak < size * 4 / 10
