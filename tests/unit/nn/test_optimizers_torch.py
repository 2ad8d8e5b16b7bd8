"""Update rules against PyTorch's, where PyTorch is installed.

Rules that PyTorch defines otherwise are compared where both definitions meet:

- momentum: PyTorch does not dampen the first step, and has the rate outside v, which differs once
  a schedule changes it. Compared without dampening, and with it from the second step on.
- rmsprop and adagrad have PyTorch's own rho (alpha) 0.99 and epsilon 1e-10 written out.
"""

import numpy as np
import pytest

from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import PopulationOptimizer
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

torch = pytest.importorskip("torch")

STEPS = 50
CASES = {
    "sgd": (
        {"optimizer": "sgd", "learning_rate": 0.1, "l2": 0.01},
        lambda w: torch.optim.SGD(w, lr=0.1, weight_decay=0.01),
    ),
    "momentum": (
        {"optimizer": "momentum", "learning_rate": 0.05, "momentum": 0.9, "l2": 0.01},
        lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        {"optimizer": "nesterov", "learning_rate": 0.05, "momentum": 0.9, "l2": 0.01},
        lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adagrad": (
        {"optimizer": "adagrad", "learning_rate": 0.1, "epsilon": 1e-10},
        lambda w: torch.optim.Adagrad(w, lr=0.1),
    ),
    "rmsprop": (
        {"optimizer": "rmsprop", "learning_rate": 0.01, "rho": 0.99},
        lambda w: torch.optim.RMSprop(w, lr=0.01),
    ),
    "adadelta": (
        {"optimizer": "adadelta", "learning_rate": 1.0, "rho": 0.9},
        lambda w: torch.optim.Adadelta(w, lr=1.0),
    ),
    "adam": (
        {"optimizer": "adam", "learning_rate": 0.01, "l2": 0.01},
        lambda w: torch.optim.Adam(w, lr=0.01, weight_decay=0.01),
    ),
    "adamw": (
        {"optimizer": "adamw", "learning_rate": 0.01},
        lambda w: torch.optim.AdamW(w, lr=0.01),
    ),
    "adam, its other numbers": (
        {"optimizer": "adam", "learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 0.01},
        lambda w: torch.optim.Adam(w, lr=0.1, betas=(0.5, 0.9), eps=0.01),
    ),
}


def gradients_of(parameters, noise):
    """A bowl, steeper in every next direction, and noise."""
    return parameters * np.linspace(0.1, 3, parameters.shape[-1]) + noise


def ours(written, start, noises):
    """Parameters after every step."""
    optimizer = PopulationOptimizer(
        [TrainingSpec(**written)],
        [(0, start.size)],
        start.size,
        np.float64,
        total_steps=STEPS,
        rules=kernels().optimizers,
    )
    parameters, seen = start[None].copy(), []
    for noise in noises:
        optimizer.step(parameters, gradients_of(parameters, noise))
        seen.append(parameters[0].copy())
    return np.array(seen)


def theirs(build, start, noises):
    """Parameters after every step."""
    weights = torch.tensor(start, requires_grad=True)
    optimizer, seen = build([weights]), []
    for noise in noises:
        weights.grad = torch.tensor(gradients_of(weights.detach().numpy(), noise))
        optimizer.step()
        seen.append(weights.detach().numpy().copy())
    return np.array(seen)


@pytest.fixture
def journey():
    """Where to start, and the noise of every gradient."""
    random = np.random.default_rng(1)
    return random.normal(size=7), random.normal(scale=0.3, size=(STEPS, 7))


@pytest.mark.parametrize("case", CASES)
def test_as_pytorch(case, journey):
    """Fifty steps on noisy gradients must be PyTorch's, where the definitions agree."""
    written, build = CASES[case]
    np.testing.assert_allclose(ours(written, *journey), theirs(build, *journey), rtol=1e-5)


def test_dampening_as_pytorch_after_the_first_step(journey):
    """Dampened momentum must be PyTorch's but for the first step, which it leaves undampened."""
    start, noises = journey
    written = {"optimizer": "momentum", "learning_rate": 0.1, "momentum": 0.9, "dampening": 0.9}
    mine = ours(written, start, noises)
    # The same first velocity: PyTorch is shown a first gradient that is dampened already.
    first = 0.1 * gradients_of(start, noises[0]) - gradients_of(start, 0)
    other = theirs(
        lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, dampening=0.9),
        start,
        np.concatenate([first[None], noises[1:]]),
    )
    np.testing.assert_allclose(mine, other, rtol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_schedule_as_pytorch(name, journey):
    """A linear and a cosine schedule must be PyTorch's for rules without memory of rates."""
    start, noises = journey
    for schedule, build in {
        "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, STEPS - 1),
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS - 1, 0.001),
    }.items():
        written = {"optimizer": name.lower(), "learning_rate": 0.01, "rho": 0.99}
        mine = ours(written | {"schedule": schedule, "schedule_end": 0.1}, start, noises)
        weights = torch.tensor(start, requires_grad=True)
        optimizer = getattr(torch.optim, name)([weights], lr=0.01)
        scheduler = build(optimizer)
        for noise, expected in zip(noises, mine, strict=True):
            weights.grad = torch.tensor(gradients_of(weights.detach().numpy(), noise))
            optimizer.step()
            scheduler.step()
            np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-5)
