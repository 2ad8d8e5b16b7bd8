"""Schedules: the factor on the learning rate, by hand and in a training."""

import math
from itertools import islice

import numpy as np
import pytest

from hpsearch.nn.columns import TABLE_STEPS
from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer
from hpsearch.nn.schedules import factors, scheduled
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

HALF = math.sqrt(0.5)
BY_HAND = [
    ({}, 4, [1, 1, 1, 1, 1]),
    ({"schedule": "linear", "schedule_end": 0.2}, 5, [1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2]),
    ({"schedule": "linear", "schedule_end": 0.0}, 2, [1, 0, 0]),
    ({"schedule": "linear"}, 1, [1, 1]),
    (
        {"schedule": "step", "step_every": 0.3, "step_factor": 0.5},
        10,
        [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125],
    ),
    (
        {"schedule": "cosine", "schedule_end": 0.0},
        5,
        [1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 0, 0],
    ),
    ({"schedule": "cosine", "schedule_end": 0.5}, 3, [1, 0.75, 0.5, 0.5]),
    ({"warmup": 0.5}, 8, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
    ({"warmup": 0.25}, 3, [1, 1, 1]),
    ({"warmup": 0.5, "schedule": "linear", "schedule_end": 0.0}, 5, [1 / 3, 0.5, 0.5, 0.25, 0]),
    ({"warmup": 0.5, "schedule": "cosine"}, 0, [1]),
]


@pytest.mark.parametrize(("written", "total", "expected"), BY_HAND, ids=str)
def test_factors_by_hand(written, total, expected):
    """Factors must be those of the formulas, and stay what they are after the last update."""
    ours = factors(TrainingSpec(**written), np.arange(len(expected)), total)
    np.testing.assert_allclose(ours, expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("total", [100, 101, 999, 1000])
@pytest.mark.parametrize("every", [0.07, 0.1, 0.29, 0.3, 0.7])
def test_steps_fall_on_their_share(every, total):
    """The rate must fall for the j-th time at the first update not before the j-th share."""
    spec = TrainingSpec(schedule="step", step_every=every, step_factor=0.5)
    ours = factors(spec, np.arange(total), total)
    falls = (np.flatnonzero(np.diff(ours)) + 1).tolist()
    share = round(every * 100)
    expected = [-(-j * share * total // 100) for j in range(1, 100)]
    assert falls == [update for update in expected if update < total]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("total", [2, 10, 1000])
def test_end_is_reached_at_the_last_update(schedule, total):
    """The first update must have the whole rate and the last one exactly its end."""
    spec = TrainingSpec(schedule=schedule, schedule_end=0.25)
    ours = factors(spec, np.arange(total + 5), total)
    assert ours[0] == 1
    assert (ours[total - 1 :] == 0.25).all()
    assert (np.diff(ours[:total]) < 0).all()


def test_columns_go_on_where_they_are_asked_to():
    """Columns from update k on must be those from 0 on without the first k, across tables."""
    specs = [TrainingSpec(schedule="cosine"), TrainingSpec(warmup=0.2), TrainingSpec()]

    def some(first, count):
        columns = scheduled([0.1, 0.2, 0.3], specs, 300, first, 7, np.float32)
        return [column.tobytes() for column in islice(columns, count)]

    whole = some(0, 3 * TABLE_STEPS)
    for first in (1, TABLE_STEPS - 1, TABLE_STEPS, TABLE_STEPS + 1):
        assert some(first, TABLE_STEPS + 2) == whole[first : first + TABLE_STEPS + 2]


@pytest.mark.parametrize("name", ["sgd", "adam", "adagrad", "rmsprop", "adadelta"])
def test_a_step_is_as_long_as_its_factor(name):
    """Without memory of earlier rates, a scheduled step must be factor times the plain one."""
    written = {"optimizer": name, "learning_rate": 0.1, "weight_decay": 0.0}
    specs = [TrainingSpec(**written), TrainingSpec(schedule="linear", warmup=0.3, **written)]
    optimizer = PopulationOptimizer(
        specs, [(0, 2)], 3, np.float64, total_steps=10, rules=kernels().optimizers
    )
    expected = factors(specs[1], np.arange(12), 10)
    for factor in expected:
        parameters = np.zeros((2, 3))
        optimizer.step(parameters, np.tile([1.0, -0.5, 2.0], (2, 1)))
        np.testing.assert_allclose(parameters[1], factor * parameters[0], rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_follows_the_schedule(name):
    """Decoupled decay must shrink by lr_t weight_decay; without gradients nothing else moves."""
    spec = TrainingSpec(
        optimizer=name, learning_rate=0.5, weight_decay=0.4, schedule="linear", schedule_end=0.0
    )
    optimizer = PopulationOptimizer(
        [spec], [(0, 1)], 2, np.float64, total_steps=3, rules=kernels().optimizers
    )
    parameters = np.ones((1, 2))
    for expected in (0.8, 0.8 * 0.9, 0.8 * 0.9, 0.8 * 0.9):
        optimizer.step(parameters, np.zeros((1, 2)))
        np.testing.assert_allclose(parameters, [[expected, 1.0]], rtol=1e-14)


def test_momentum_keeps_velocity_gained_at_earlier_rates():
    """A schedule must act on gradients to come: at rate 0 the velocity still carries on."""
    spec = TrainingSpec(
        optimizer="momentum", learning_rate=1.0, momentum=0.5, schedule="linear", schedule_end=0.0
    )
    optimizer = PopulationOptimizer(
        [spec], [], 1, np.float64, total_steps=2, rules=kernels().optimizers
    )
    parameters = np.zeros((1, 1))
    for expected in (-1.0, -1.5, -1.75):
        optimizer.step(parameters, np.ones((1, 1)))
        assert parameters[0, 0] == expected
