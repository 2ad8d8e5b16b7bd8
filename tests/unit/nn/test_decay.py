"""Decoupled decay in float32: however small it is, it must act as it does in float64."""

import numpy as np
import pytest

from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

# lr x decay = 2e-8: by itself W - 2e-8 W is W again in float32, for any W.
RATE, DECAY = 1e-2, 2e-6
WEIGHTS, SIZE, STEPS = 4000, 4010, 200


def trained(dtype, steps=STEPS, **written):
    """The start, and the parameters of one member after so many random gradients, float64."""
    spec = TrainingSpec(**{"learning_rate": RATE, "weight_decay": 0.0} | written)
    optimizer = PopulationOptimizer(
        [spec], [(0, WEIGHTS)], SIZE, dtype, total_steps=steps, rules=kernels().optimizers
    )
    draw = np.random.default_rng(3)
    start = draw.normal(size=(1, SIZE)).astype(np.float32)
    parameters = start.astype(dtype)
    for _ in range(steps):
        gradients = draw.normal(size=(1, SIZE)).astype(np.float32)
        optimizer.step(parameters, gradients.astype(dtype))
    return start[0].astype(np.float64), parameters[0].astype(np.float64)


def shrinkage(dtype, **written):
    """The share of the weights that a decay (or penalty) takes: least squares over all of them."""
    start, free = trained(dtype, optimizer=written["optimizer"])
    _, decayed = trained(dtype, **written)
    assert free[WEIGHTS:].tobytes() == decayed[WEIGHTS:].tobytes()
    w = start[:WEIGHTS]
    return float((free - decayed)[:WEIGHTS] @ w / (w @ w))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_small_decay_changes_most_weights(name):
    """After some steps most weights must differ from those of a member without decay."""
    ends = [trained(np.float32, 50, optimizer=name, weight_decay=d)[1] for d in (0.0, DECAY)]
    free, decayed = (end[:WEIGHTS] for end in ends)
    assert (free != decayed).mean() > 0.5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_small_decay_shrinks_as_in_float64(name):
    """A decay lost in every single rounding must add up to what exact numbers give.

    A step rounds a weight near 1 by 0.29 x 6e-8 (standard deviation). Of 200 steps of both members,
    averaged over 4000 weights, 6e-9 remains, a seven-hundredth of the 4e-6 that decay takes:
    2 % are 14 standard deviations.
    """
    ours, exact = (
        shrinkage(dtype, optimizer=name, weight_decay=DECAY) for dtype in (np.float32, np.float64)
    )
    assert exact == pytest.approx(STEPS * RATE * DECAY, rel=0.1)
    assert ours == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("decay", [DECAY, 1e-3, 0.1])
def test_for_sgd_it_is_l2_in_float32_too(decay):
    """For plain SGD both names must mean the same, a last bit a step apart at most.

    The tolerance is 200 roundings of 3e-8 at weights up to 8, all in one direction; what the
    largest decay takes is 1000 times that.
    """
    ends = [
        trained(np.float32, optimizer="sgd", **{key: decay})[1] for key in ("l2", "weight_decay")
    ]
    np.testing.assert_allclose(*ends, rtol=0, atol=STEPS * 3e-8 * 8)
    shares = [
        shrinkage(np.float32, optimizer="sgd", **{key: decay}) for key in ("l2", "weight_decay")
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.02)
