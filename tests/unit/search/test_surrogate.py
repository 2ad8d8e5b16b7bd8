"""The Gaussian process: what it learns, and how sure it is."""

import numpy as np
import pytest

from hpsearch.search.surrogate import Surrogate

NOISE = 0.05


@pytest.fixture(scope="module")
def trials():
    """60 noisy scores with a maximum at 0.7 in the first of two columns, and none in the second."""
    rng = np.random.default_rng(1)
    rows = rng.random((60, 2))
    scores = 1 - 4 * (rows[:, 0] - 0.7) ** 2 + NOISE * rng.standard_normal(60)
    return rows, scores


@pytest.fixture(scope="module")
def surrogate(trials):
    return Surrogate(*trials, NOISE)


def test_the_mean_is_near_the_truth(surrogate):
    """Between the trials the expected score is within the noise of the true one."""
    places = np.column_stack([np.linspace(0.1, 0.9, 17), np.full(17, 0.5)])
    truth = 1 - 4 * (places[:, 0] - 0.7) ** 2
    assert np.abs(surrogate.mean(places) - truth).max() < NOISE


def test_the_noise_is_found(surrogate):
    """The fitted noise is that of the scores, to a third."""
    assert surrogate.noise == pytest.approx(NOISE, rel=1 / 3)


def test_draws_scatter_as_the_posterior_does(surrogate):
    """Drawn surfaces have the posterior's mean, and cover the truth in most places."""
    places = np.column_stack([np.linspace(0, 1, 21), np.full(21, 0.5)])
    drawn = surrogate.draws(places, 400, np.random.default_rng(2))
    assert drawn.shape == (400, 21)
    assert np.allclose(drawn.mean(axis=0), surrogate.mean(places), atol=0.01)
    low, high = np.quantile(drawn, [0.005, 0.995], axis=0)
    truth = 1 - 4 * (places[:, 0] - 0.7) ** 2
    assert np.mean((low <= truth) & (truth <= high)) > 0.8


def test_a_column_with_an_effect_is_told_from_one_without(surrogate):
    """The scores are explained far better with the first column, and no better with the second."""
    assert surrogate.effect(slice(0, 1)) > 20
    assert surrogate.effect(slice(1, 2)) < 3


def test_a_single_column_is_compared_with_none(trials):
    """Where there is one column, the alternative is that nothing has an effect."""
    rows, scores = trials
    assert Surrogate(rows[:, :1], scores, NOISE).effect(slice(0, 1)) > 20
    shuffled = np.random.default_rng(3).permutation(scores)
    assert Surrogate(rows[:, :1], shuffled, NOISE).effect(slice(0, 1)) < 3


def test_a_fit_is_taken_as_it_stands(trials, surrogate):
    """Given the parameters of a fit nothing is fitted again, and the mean is the same."""
    again = Surrogate(*trials, NOISE, start=surrogate.parameters, fitted=True)
    assert np.array_equal(again.parameters, surrogate.parameters)
    places = np.random.default_rng(4).random((10, 2))
    assert np.allclose(again.mean(places), surrogate.mean(places))


def test_what_a_seed_does_to_all_its_trials_is_no_effect_of_their_values():
    """Blocks of trials whose seeds lift them by far more than the noise are told from a slope."""
    rng = np.random.default_rng(4)
    rows = rng.random((60, 1))
    rows = rows[np.argsort(rows[:, 0])]
    seeds = np.tile(np.arange(6.0), 10)
    lifts = np.array([-0.3, 0.2, 0.1, -0.2, 0.3, -0.1])
    scores = 1 - 4 * (rows[:, 0] - 0.7) ** 2 + lifts[seeds.astype(int)]
    scores += NOISE * rng.standard_normal(60)
    places = np.linspace(0.1, 0.9, 17)[:, None]
    truth = 1 - 4 * (places[:, 0] - 0.7) ** 2
    told = Surrogate(rows, scores, NOISE, seeds)
    # The mean of so few seeds is uncertain everywhere alike.
    error = told.mean(places) - truth
    assert np.abs(error - error.mean()).max() < NOISE
    assert told.noise == pytest.approx(NOISE, rel=1 / 3)
