"""All update rules over one table of landscapes: each must come down to the lowest point."""

import numpy as np
import pytest

from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer
from hpsearch.settings import TrainingSpec


def parabola(w):
    """Gradient of the sum of w^2 / 2, from (1, -2)."""
    return w.copy()


def valley(w):
    """Gradient of x^2 / 20 + y^2, from (-7, 2)."""
    return w * np.array([0.1, 2.0], w.dtype)


def rosenbrock(w):
    """Gradient of (1 - x)^2 + 100 (y - x^2)^2, whose lowest point is (1, 1)."""
    x, y = w[:, 0], w[:, 1]
    bend = y - x * x
    return np.stack([-2 * (1 - x) - 400 * x * bend, 200 * bend], axis=1)


LANDSCAPES = {
    "parabola": (parabola, (1.0, -2.0), (0.0, 0.0)),
    "valley": (valley, (-7.0, 2.0), (0.0, 0.0)),
    "rosenbrock": (rosenbrock, (-1.2, 1.0), (1.0, 1.0)),
}

# How each rule is sent through the parabola, the valley and Rosenbrock's bend. RMSProp's steps stay
# about lr long, and AdaDelta's grow: they come to rest by a schedule.
FALLING = {"schedule": "cosine", "schedule_end": 0.0}
JOURNEYS = {
    "sgd": ({"learning_rate": 0.5}, {"learning_rate": 0.95}, {"learning_rate": 2e-3}),
    "momentum": ({"learning_rate": 0.1}, {"learning_rate": 0.1}, {"learning_rate": 1e-3}),
    "nesterov": ({"learning_rate": 0.5}, {"learning_rate": 0.2}, {"learning_rate": 1e-3}),
    "adagrad": ({"learning_rate": 1.5}, {"learning_rate": 1.5}, {"learning_rate": 1.5}),
    "rmsprop": (
        {"learning_rate": 0.1, **FALLING},
        {"learning_rate": 0.1, **FALLING},
        {"learning_rate": 2e-3, **FALLING},
    ),
    "adadelta": (
        {"learning_rate": 10.0, **FALLING},
        {"learning_rate": 30.0, **FALLING},
        {"learning_rate": 0.5, **FALLING},
    ),
    "adam": ({"learning_rate": 0.2}, {"learning_rate": 0.5}, {"learning_rate": 0.01}),
    "adamw": ({"learning_rate": 0.2}, {"learning_rate": 0.5}, {"learning_rate": 0.01}),
}
UPDATES = {"parabola": 300, "valley": 300, "rosenbrock": 10_000}


@pytest.mark.parametrize("landscape", LANDSCAPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finds_the_lowest_point(name, landscape, dtype):
    """Every rule must come down to within 0.001 of the lowest point of every landscape."""
    gradient, start, lowest = LANDSCAPES[landscape]
    written = dict(zip(LANDSCAPES, JOURNEYS[name], strict=True))[landscape]
    spec = TrainingSpec(optimizer=name, weight_decay=0.0, **written)
    count = UPDATES[landscape]
    optimizer = PopulationOptimizer([spec], [(0, 2)], 2, dtype, total_steps=count)
    parameters = np.array([start], dtype)
    for _ in range(count):
        optimizer.step(parameters, gradient(parameters))
    assert np.abs(parameters[0] - lowest).max() < 1e-3
