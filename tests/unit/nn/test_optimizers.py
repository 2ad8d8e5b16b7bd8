"""Update rules: by hand, against each other, and on a parabola."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.study import TrainingSpec

W0 = np.array([1.0, -2.0, 0.5, 3.0])
GRADIENTS = (
    np.array([0.1, -0.2, 0.3, 1.0]),
    np.array([0.2, 0.1, -0.4, 1.0]),
    np.array([-0.3, 0.05, 0.2, 1.0]),
)


def build(name, *specs, dtype=np.float64, size=4, weight_count=3):
    """An optimizer of some members, whose last parameter is a bias."""
    members = [TrainingSpec(optimizer=name, **spec) for spec in specs]
    return OPTIMIZERS[name](members, weight_count, size, dtype)


def steps(optimizer, gradients=GRADIENTS, members=1, dtype=np.float64):
    """Parameters (members, 4) after every one of the gradients."""
    parameters = np.tile(W0.astype(dtype), (members, 1))
    seen = []
    for gradient in gradients:
        optimizer.step(parameters, np.tile(gradient.astype(dtype), (members, 1)))
        seen.append(parameters.copy())
    return seen


def by_hand(name, spec, gradients=GRADIENTS):
    """The papers' algorithms, written plainly for one member."""
    lr, a = spec.get("learning_rate", 1e-3), spec.get("momentum", 0.9)
    b1, b2 = spec.get("beta1", 0.9), spec.get("beta2", 0.999)
    epsilon = spec.get("epsilon", 1e-8)
    decays = np.array([1.0, 1.0, 1.0, 0.0])
    w, v, m, s = W0.copy(), np.zeros(4), np.zeros(4), np.zeros(4)
    seen = []
    for t, raw in enumerate(gradients, 1):
        g = raw + spec.get("l2", 0.0) * decays * w
        w = w - lr * spec.get("weight_decay", 0.0) * decays * w
        if name == "sgd":
            w = w - lr * g
        elif name == "momentum":
            v = a * v - lr * g
            w = w + v
        else:
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            w = w - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + epsilon)
        seen.append(w.copy())
    return seen


SPECS = [
    {},
    {"learning_rate": 0.1},
    {"learning_rate": 0.1, "l2": 0.3},
    {"learning_rate": 0.1, "weight_decay": 0.3},
    {"learning_rate": 0.1, "l2": 0.2, "weight_decay": 0.5},
    {"learning_rate": 0.01, "momentum": 0.5, "beta1": 0.7, "beta2": 0.9, "epsilon": 0.1},
    {"learning_rate": 0.01, "momentum": 0.0, "beta1": 0.0, "beta2": 0.0},
]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_first_three_steps(name, spec):
    """The first three steps must be those of the paper's algorithm."""
    for ours, expected in zip(steps(build(name, spec)), by_hand(name, spec), strict=True):
        np.testing.assert_allclose(ours[0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_have_their_own_hyperparameters(name):
    """Every member of a population must follow its own numbers, bit for bit as alone."""
    together = steps(build(name, *SPECS, dtype=np.float32), members=len(SPECS), dtype=np.float32)
    for index, spec in enumerate(SPECS):
        alone = steps(build(name, spec, dtype=np.float32), dtype=np.float32)
        for many, one in zip(together, alone, strict=True):
            assert many[index].tobytes() == one[0].tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_selection_goes_on_bit_for_bit(name):
    """Members that stay when others leave must go on as if nothing had happened."""
    whole = build(name, *SPECS)
    parameters = np.tile(W0, (len(SPECS), 1))
    for gradient in GRADIENTS:
        whole.step(parameters, np.tile(gradient, (len(SPECS), 1)))
    kept = parameters[[4, 1]]
    whole.select([4, 1])
    whole.step(kept, np.tile(GRADIENTS[0], (2, 1)))
    gradients = (*GRADIENTS, GRADIENTS[0])
    expected = steps(build(name, *SPECS), gradients, members=len(SPECS))[-1]
    assert kept.tobytes() == expected[[4, 1]].tobytes()


def test_first_adam_step_is_the_learning_rate():
    """Adam's first step must be lr |g| / (|g| + epsilon): epsilon beside the corrected root."""
    tiny = (np.full(4, 1e-6),)
    moved = W0 - steps(build("adam", {"learning_rate": 0.1}), tiny)[0][0]
    np.testing.assert_allclose(moved, 0.1 * 1e-6 / (1e-6 + 1e-8), rtol=1e-9)


def test_momentum_zero_is_sgd():
    """Momentum without momentum must be plain SGD."""
    spec = {"learning_rate": 0.1, "momentum": 0.0, "l2": 0.1, "weight_decay": 0.2}
    for momentum, sgd in zip(
        steps(build("momentum", spec)), steps(build("sgd", spec)), strict=True
    ):
        np.testing.assert_allclose(momentum, sgd, rtol=1e-14)


def test_decays_are_the_same_for_sgd_only():
    """l2 and weight_decay must agree for plain SGD and differ for Adam."""
    l2, decoupled = {"learning_rate": 0.1, "l2": 0.2}, {"learning_rate": 0.1, "weight_decay": 0.2}
    sgd = [steps(build("sgd", spec))[-1] for spec in (l2, decoupled)]
    np.testing.assert_allclose(sgd[0], sgd[1], rtol=1e-14)
    adam = [steps(build("adam", spec))[-1] for spec in (l2, decoupled)]
    assert not np.allclose(adam[0], adam[1], rtol=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", ["l2", "weight_decay"])
def test_biases_never_decay(name, decay):
    """Decay must move every weight and no bias."""
    spec = {"learning_rate": 0.1}
    plain = steps(build(name, spec))[-1][0]
    decayed = steps(build(name, spec | {decay: 0.5}))[-1][0]
    assert decayed[3] == plain[3]
    assert (decayed[:3] != plain[:3]).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", ["l2", "weight_decay"])
def test_no_decay_beside_a_decaying_neighbour(name, decay):
    """A member without decay must keep its bits beside one with it, odd values included."""
    odd = np.array([[-0.0, np.inf, np.nan, -0.0]], dtype=np.float32)
    gradient = np.array([[-0.0, 1.0, 1.0, 0.0]], dtype=np.float32)

    def moved(*specs):
        optimizer = build(name, *specs, dtype=np.float32)
        parameters = np.tile(odd, (len(specs), 1))
        with np.errstate(all="ignore"):
            optimizer.step(parameters, np.tile(gradient, (len(specs), 1)))
        return parameters[0].tobytes()

    assert moved({}) == moved({}, {decay: 0.5})


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parabola(name, dtype):
    """Every rule must find the bottom of a parabola twice as steep in each direction."""
    steepness = np.array([1.0, 2.0, 4.0, 8.0], dtype=dtype)
    optimizer = build(name, {"learning_rate": 0.01, "momentum": 0.9}, dtype=dtype)
    parameters = W0.astype(dtype)[None].copy()
    for _ in range(1500):
        optimizer.step(parameters, steepness * parameters)
    assert np.abs(parameters).max() < 1e-3


def test_adam_stands_long_training():
    """Adam's corrections must vanish with time: a constant gradient moves lr a step, always."""
    optimizer = build("adam", {"learning_rate": 0.5})
    parameters = np.zeros((1, 4))
    for _ in range(3000):
        before = parameters.copy()
        optimizer.step(parameters, np.ones((1, 4)))
        assert math.isclose(float((before - parameters)[0, 0]), 0.5, rel_tol=1e-6)
