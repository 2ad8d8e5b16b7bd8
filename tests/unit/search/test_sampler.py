"""The search as an Optuna sampler: Optuna's own tests, and what it is for."""

from functools import partial

import numpy as np
import optuna
import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from hpsearch.search import NarrowingSampler


class TestNarrowingSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
):
    """What Optuna asks of every sampler that places all parameters together."""

    @pytest.fixture
    def sampler(self):
        return partial(NarrowingSampler, trials=8, waves=2, seed=0)


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def distance(trial):
    """A minimum at rate 0.1, which the size does not change."""
    rate = trial.suggest_float("rate", 1e-6, 1.0, log=True)
    trial.suggest_int("size", 1, 64)
    return (np.log10(rate) + 1) ** 2


def test_later_rounds_gather_where_the_values_are_best():
    """Of the second round most trials lie within half a decade of the optimum."""
    study = optuna.create_study(sampler=NarrowingSampler(trials=24, seed=1))
    study.optimize(distance, n_trials=50)
    near = [abs(np.log10(t.params["rate"]) + 1) < 0.5 for t in study.trials]
    assert sum(near[25:]) >= 0.5 * 25 > sum(near[:25])


def test_the_first_box_may_be_narrower_and_grows_towards_the_best_values():
    """The first round stays in it; the optimum beyond its edge is found all the same."""
    sampler = NarrowingSampler(trials=24, first={"rate": (1e-5, 1e-2)}, seed=2)
    study = optuna.create_study(sampler=sampler)
    study.optimize(distance, n_trials=73)
    rates = [trial.params["rate"] for trial in study.trials]
    assert max(rates[:25]) <= 1e-2
    assert abs(np.log10(study.best_params["rate"]) + 1) < 0.2


def test_the_same_seed_places_the_same_trials():
    """Alone in a study the sampler draws nothing that its seed does not decide."""
    found = []
    for _ in range(2):
        study = optuna.create_study(sampler=NarrowingSampler(trials=12, seed=3))
        study.optimize(distance, n_trials=20)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


def test_a_round_has_a_trial_for_every_wave():
    """More waves than trials are a mistake."""
    with pytest.raises(ValueError, match="waves must be from 1 to trials=3, got waves=4"):
        NarrowingSampler(trials=3, waves=4)
    assert NarrowingSampler(trials=3)._waves == 3


@pytest.mark.parametrize("ends", [1e-3, (1e-2, 1e-6), (1.0,)])
def test_a_first_box_that_is_none_is_a_mistake(ends):
    """At once, naming the parameter, and not in the first trial."""
    with pytest.raises(ValueError, match=r"first\['rate'\] must be \(low, high\)"):
        NarrowingSampler(first={"rate": ends})
