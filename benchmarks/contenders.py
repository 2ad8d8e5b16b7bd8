"""Contenders of search_quality.py: ways to search a testbed, by name.

A contender is one function. What is decorated with `contender` takes part:

    @contender("ours")
    def ours(bed: Testbed, seed: int, budgets: Sequence[int]) -> Search: ...

It places as many trials as the largest budget asks for, draws each score with `drawn`, so that all
contenders meet the same luck, and says after each budget which point it would recommend.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from testbeds import Testbed

from hpsearch.search.sampling import distribution, plan
from hpsearch.seeds import Purpose, trial_seed

if TYPE_CHECKING:
    import optuna

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """What a contender did on a testbed.

    Attributes:
        positions: (trials, dimensions) positions in the limits, in the order they were tried.
        scores: (trials,) as drawn; NaN where one diverged.
        recommended: (budgets, dimensions) what it would recommend after each budget.
        seconds: What all its proposals and recommendations took, without drawing the scores.
    """

    positions: Array
    scores: Array
    recommended: Array
    seconds: float


Contender = Callable[[Testbed, int, Sequence[int]], Search]

# In the order they stand in tables.
CONTENDERS: dict[str, Contender] = {}
# Ends the name of a contender that is given the limits at once, not the declared box.
WIDE = "-wide"
# What a contender cannot do without, and what to give pip for it.
NEEDED = {"gp": ("torch", '"hpsearch[gp]"'), "cmaes": ("cmaes", "cmaes")}


def contender(name: str) -> Callable[[Contender], Contender]:
    """Let a function take part under this name."""

    def enter(search: Contender) -> Contender:
        CONTENDERS[name] = search
        return search

    return enter


def base(name: str) -> str:
    """The contender's name without what it is given."""
    return name.removesuffix(WIDE)


def missing(name: str) -> str | None:
    """What a contender lacks here, as one line; None if it can take part."""
    package, requirement = NEEDED.get(base(name), (None, None))
    if package is None or find_spec(package) is not None:
        return None
    return f"{name}: left out, {package} is not installed here: pip install {requirement}"


def drawn(bed: Testbed, seed: int, first: int, positions: Array) -> Array:
    """(trials,) scores of a search's trials from number `first` on, every one with a fresh seed.

    Args:
        bed: What is searched.
        seed: The search's own; two searches with one seed meet the same seeds trial by trial.
        first: Number of the first of these trials, from 0.
        positions: (trials, dimensions) where they are placed.
    """
    numbers = range(first, first + len(positions))
    seeds = [trial_seed(seed, Purpose.SEARCH, 1, number) for number in numbers]
    return bed.draw(positions, np.array(seeds, np.int64))


def best_observed(positions: Array, scores: Array, budgets: Sequence[int]) -> Array:
    """(budgets, dimensions) the point with the highest score so far; diverged ones count 0."""
    counted = np.nan_to_num(scores, nan=0.0)
    return np.array([positions[counted[:budget].argmax()] for budget in budgets])


# --------------------------------------------------------------------- planned


def planned(bed: Testbed, seed: int, budgets: Sequence[int], *, sampler: str, wide: bool) -> Search:
    """All points at once, by one of hpsearch's own samplers."""
    began = time.perf_counter()
    points = plan(sampler, bed.limits if wide else bed.declared, max(budgets), seed)
    seconds = time.perf_counter() - began
    positions = bed.positions(points)
    scores = drawn(bed, seed, 0, positions)
    return Search(positions, scores, best_observed(positions, scores, budgets), seconds)


# ---------------------------------------------------------------------- Optuna


def by_optuna(
    bed: Testbed,
    seed: int,
    budgets: Sequence[int],
    *,
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    wide: bool,
) -> Search:
    """One trial after the other, as Optuna's tutorials do; a diverged one is told as 0."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Multivariate TPE may change in a later version of Optuna.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize", sampler=sampler(seed))
    box = bed.limits if wide else bed.declared
    distributions = {d.name: distribution(d.range) for d in box.dimensions}
    places, scores = [], []
    began, elsewhere = time.perf_counter(), 0.0
    for number in range(max(budgets)):
        trial = study.ask(distributions)
        paused = time.perf_counter()
        places.append(bed.positions([trial.params]))
        scores.append(drawn(bed, seed, number, places[-1]))
        elsewhere += time.perf_counter() - paused
        study.tell(trial, float(np.nan_to_num(scores[-1][0], nan=0.0)))
    seconds = time.perf_counter() - began - elsewhere
    tried, found = np.concatenate(places), np.concatenate(scores)
    return Search(tried, found, best_observed(tried, found, budgets), seconds)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    import optuna
    import torch

    torch.set_num_threads(1)  # as all others have
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)


def _cmaes(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.CmaEsSampler(seed=seed)


# ------------------------------------------------------------- who takes part


def _in_both_boxes(name: str, search: Callable[..., Search], **settings: Any) -> None:
    """A contender in the declared box, and once more in the limits."""
    contender(name)(partial(search, **settings, wide=False))
    contender(name + WIDE)(partial(search, **settings, wide=True))


_in_both_boxes("random", planned, sampler="random")
_in_both_boxes("sobol", planned, sampler="sobol")
_in_both_boxes("tpe", by_optuna, sampler=_tpe)
_in_both_boxes("gp", by_optuna, sampler=_gp)
_in_both_boxes("cmaes", by_optuna, sampler=_cmaes)
