"""Where trials are placed: planned when a round opens, or suggested when they are claimed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.errors import UserError
from hpsearch.search.outcomes import Outcome
from hpsearch.search.points import placed, sobol, uniform
from hpsearch.space import Box, Choices, Entries, Interval, Range, Scalar, Value, label

if TYPE_CHECKING:
    import optuna

PLANNED = ("sobol", "random", "grid")
# The best tenth of fewer would be nobody.
_WARM_START_TRIALS = 10
# What a sampler imports only when it is used, and what to give pip for it.
_NEEDED = {"gp": ("torch", '"hpsearch[gp]"'), "cmaes": ("cmaes", "cmaes")}


def check_sampler(sampler: str) -> None:
    """Make sure that the sampler can be used here, without importing what it needs.

    Raises:
        UserError: If a package is not installed.
    """
    package, requirement = _NEEDED.get(sampler, (None, None))
    if package is not None and find_spec(package) is None:
        raise UserError(
            f'sampler = "{sampler}" needs the package {package}, which is not installed: '
            f"pip install {requirement}"
        )


def plan(sampler: str, box: Box, count: int, seed: int) -> list[dict[str, Value]]:
    """All points of a round at once.

    Args:
        sampler: "sobol" (scrambled, Owen 1998), "random" (independent uniform) or "grid" (every
            combination of choices, in the order written).
        box: Where to place them.
        count: How many; for a grid, the number of combinations.
        seed: The round's own seed; the same seed gives the same points. A grid draws nothing.

    Returns:
        `count` sets of values.
    """
    if sampler == "grid":
        return box.combinations()
    points = sobol if sampler == "sobol" else uniform
    return placed(points(len(box.dimensions), count, np.random.default_rng(seed)), box)


def suggest(
    sampler: str,
    box: Box,
    finished: Sequence[Outcome],
    running: Sequence[dict[str, Value]],
    count: int,
    seed: int,
) -> list[dict[str, Value]]:
    """Points from one of Optuna's samplers, which looks at what is known now.

    The sampler is given this box and the trials inside it, explicitly: left alone in a study
    whose ranges change, TPE and GP silently drop the changed dimension from joint sampling.

    Args:
        sampler: "tpe", "gp" or "cmaes".
        box: The round's box.
        finished: Trials of the whole study; those outside the box are left out, and so are failed
            ones, which say nothing about their values.
        running: Values being trained now, so that neighbours are not proposed twice.
        count: How many to suggest.
        seed: Seed of the sampler for this call.

    Raises:
        UserError: If the sampler needs a package that is not installed.
    """
    import optuna

    check_sampler(sampler)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {d.name: distribution(d.range) for d in box.dimensions}
    told = [o for o in finished if not o.failed and box.contains(o.values)]
    known = [_frozen(o, distributions) for o in told]
    with warnings.catch_warnings():
        # Optuna warns that joint sampling and warm starts may change in a later version.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proposer = _optuna_sampler(sampler, known, seed)
    study = optuna.create_study(direction="maximize", sampler=proposer)
    study.add_trials(known)
    study.add_trials([_pending(v, distributions) for v in running if box.contains(v)])
    return [_decoded(study.ask(distributions).params, box) for _ in range(count)]


def optuna_study(box: Box, outcomes: Sequence[Outcome]) -> optuna.Study:
    """A study of Optuna's with these trials, in memory; what has no score is pruned there.

    Args:
        box: Holds the values of all of them.
        outcomes: The trials.
    """
    import optuna

    distributions = {d.name: distribution(d.range) for d in box.dimensions}
    study = optuna.create_study(direction="maximize")
    study.add_trials([_frozen(o, distributions) for o in outcomes if not o.failed])
    return study


def distribution(range_: Range) -> optuna.distributions.BaseDistribution:
    """Optuna's form of a range; an option that is a list or a table stands there as its label."""
    from optuna import distributions

    if isinstance(range_, Choices):
        return distributions.CategoricalDistribution([encoded(o) for o in range_.options])
    log = range_.scale == "log"
    if range_.integer:
        return distributions.IntDistribution(int(range_.low), int(range_.high), log=log)
    return distributions.FloatDistribution(range_.low, range_.high, log=log)


def encoded(value: Value) -> Scalar:
    """The value as Optuna stores it: scalars as they are, lists and tables as their label."""
    return label(value) if isinstance(value, tuple | Entries) else value


def _decoded(params: dict[str, Scalar], box: Box) -> dict[str, Value]:
    return {d.name: _decode(d.range, params[d.name]) for d in box.dimensions}


def _decode(range_: Range, value: Scalar) -> Value:
    if isinstance(range_, Interval):
        return value
    return next(option for option in range_.options if encoded(option) == value)


def _optuna_sampler(
    name: str, known: Sequence[optuna.trial.FrozenTrial], seed: int
) -> optuna.samplers.BaseSampler:
    import optuna

    seed = seed % 2**32  # NumPy's legacy seeding, which Optuna uses, takes 32 bits
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "cmaes":
        return _cmaes(known, seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _cmaes(known: Sequence[optuna.trial.FrozenTrial], seed: int) -> optuna.samplers.CmaEsSampler:
    """CMA-ES started from the best tenth of what is known (Nomura et al. 2021).

    The sampler keeps its generations in attributes of the trials it made itself. These trials
    have none, and without a warm start it would draw from its first distribution for ever.
    """
    import optuna

    scored = [_numbers_of(t) for t in known if t.state == optuna.trial.TrialState.COMPLETE]
    return optuna.samplers.CmaEsSampler(
        seed=seed,
        source_trials=scored if len(scored) >= _WARM_START_TRIALS else None,
        warn_independent_sampling=False,
    )


def _numbers_of(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """The trial without its choices, which CMA-ES leaves to chance and refuses to look at."""
    import optuna

    numeric = {
        name: distribution
        for name, distribution in trial.distributions.items()
        if not isinstance(distribution, optuna.distributions.CategoricalDistribution)
    }
    params = {name: trial.params[name] for name in numeric}
    return optuna.trial.create_trial(value=trial.value, params=params, distributions=numeric)


def _frozen(
    outcome: Outcome, distributions: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    import optuna

    complete = optuna.trial.TrialState.COMPLETE
    state = complete if outcome.score is not None else optuna.trial.TrialState.PRUNED
    params = {name: encoded(value) for name, value in outcome.values.items()}
    return optuna.trial.create_trial(
        state=state, value=outcome.score, params=params, distributions=distributions
    )


def _pending(
    values: dict[str, Value], distributions: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    import optuna

    params = {name: encoded(value) for name, value in values.items()}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, params=params, distributions=distributions
    )
