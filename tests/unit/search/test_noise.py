"""The noise of a score, measured from repeats."""

import math

import numpy as np
import pytest

from hpsearch.search.noise import measured_noise, noise_of, repeated, standard_error
from hpsearch.search.outcomes import Outcome


def repeats(table):
    """One outcome for each cell: a row is a configuration, a column a seed."""
    return [
        Outcome(n, {"x": row}, score, 0.1, replicate=seed)
        for n, (row, seed, score) in enumerate(
            (row, seed, score) for row, line in enumerate(table) for seed, score in enumerate(line)
        )
    ]


def test_four_of_the_best_quarter_are_repeated():
    """The best one, the last of the best quarter, and two between them."""
    found = [Outcome(i, {"x": i}, i / 100, 0.1) for i in range(100)]
    assert [values["x"] for values in repeated(found)] == [99, 91, 83, 75]


@pytest.mark.parametrize(("trials", "count"), [(5, 0), (10, 1), (25, 2), (100, 4), (400, 4)])
def test_small_rounds_spare_fewer(trials, count):
    """One configuration for every ten trials, at most four."""
    found = [Outcome(i, {"x": i}, i / trials, 0.1) for i in range(trials)]
    assert len(repeated(found)) == count


def test_no_configuration_is_repeated_twice():
    """Equal values tell nothing of each other's noise, however often they were tried."""
    found = [Outcome(i, {"x": i % 2}, 0.9 - i % 2 / 10, 0.1, seed=1) for i in range(40)]
    assert repeated(found) == [{"x": 0}, {"x": 1}]


def test_diverged_trials_are_not_repeated():
    """Only what has a score has noise."""
    found = [Outcome(i, {"x": i}, 0.5 if i == 3 else None, None) for i in range(20)]
    assert repeated(found) == [{"x": 3}]


def test_fresh_seeds_scatter_around_each_mean():
    """The standard deviation within configurations, each around its own mean."""
    table = [[0.1, 0.3], [0.8, 1.0]]
    assert measured_noise(repeats(table), common=False) == pytest.approx(math.sqrt(0.02))


def test_what_a_seed_does_to_all_alike_is_no_noise_between_those_who_share_it():
    """With common seeds a table that is a sum of row and column has none."""
    table = [[0.1, 0.3, 0.2], [0.6, 0.8, 0.7]]
    assert measured_noise(repeats(table), common=True) == pytest.approx(0.0, abs=1e-12)
    assert measured_noise(repeats(table), common=False) > 0.09


def test_the_estimate_is_right_on_average():
    """400 tables of 4 by 4: the mean variance is within 3 standard errors of the true one."""
    rng = np.random.default_rng(0)
    variances = [
        measured_noise(repeats(0.05 * rng.normal(size=(4, 4))), common=False) ** 2
        for _ in range(400)
    ]
    error = np.std(variances) / math.sqrt(400)
    assert abs(np.mean(variances) - 0.05**2) < 3 * error


def test_repeats_without_a_score_say_nothing():
    """A diverged repeat leaves its cell empty; without two scores of one configuration: unknown."""
    table = [[0.1, 0.3, None], [None, None, 0.9]]
    assert measured_noise(repeats(table), common=False) == pytest.approx(math.sqrt(0.02))
    assert measured_noise(repeats([[0.5], [0.7]]), common=False) is None
    assert measured_noise([], common=False) is None


def test_noise_is_never_below_the_binomial_error():
    """Repeats that agree by luck do not make a score on few rows certain; no score has no noise."""
    found = [Outcome(0, {"x": 0}, 0.9, 0.1), Outcome(1, {"x": 1}, None, None)]
    wide, none = repeats([[0.1, 0.3], [0.8, 1.0]]), repeats([[0.5, 0.5], [0.7, 0.7]])
    measured = noise_of(found, wide, common=False, validation_rows=100)
    assert measured == pytest.approx(math.sqrt(0.02))
    for agreeing in (none, ()):
        floor = noise_of(found, agreeing, common=False, validation_rows=100)
        assert floor == standard_error(0.9, 100)
    assert noise_of(found[1:], wide, common=False, validation_rows=100) == 0


def test_the_standard_error_is_the_binomial_one():
    """It is sqrt(p(1-p)/n) with one success and one failure added, and never 0."""
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(0.9, 10_000) == pytest.approx(math.sqrt(0.09 / 10_000), rel=1e-3)
    assert standard_error(1.0, 100) > 0
