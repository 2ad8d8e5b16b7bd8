"""The search as a sampler for any Optuna study: rounds, waves and boxes without a study file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.search import posterior
from hpsearch.search.candidates import spread
from hpsearch.search.landscape import Landscape
from hpsearch.search.ledger import box_of, declared
from hpsearch.search.narrowing import MOST_TRIALS
from hpsearch.search.outcomes import Outcome
from hpsearch.search.proposals import propose, wave_sizes
from hpsearch.space import Box, Choices, Dimension, Interval, Value

# Nobody has measured the noise of a foreign objective: a guess, as a share of the scores' spread,
# which the fit corrects.
_NOISE_SHARE = 0.1
# So many parts a later round is planned in, unless it has fewer trials.
_WAVES = 4

Space = dict[str, BaseDistribution]


class NarrowingSampler(BaseSampler):
    """Places trials of an Optuna study in rounds whose box narrows and grows.

    The first round is spread evenly over the first box; later ones are planned in waves by the
    posterior, as with `sampler = "auto"` and `narrowing = "posterior"`. Parameters that are not
    part of every trial are drawn at random.

    Args:
        trials: Trials in a round.
        waves: Parts that later rounds are planned in; 4 unless a round has fewer trials.
        first: (low, high) of parameters whose first box is narrower than what the objective asks
            for; all of that is then the limit up to which the box may grow.
        seed: Seed of everything drawn; None for a different search every time.

    Raises:
        ValueError: If a round has less than one trial for every wave, or a first box is none.
    """

    def __init__(
        self,
        *,
        trials: int = 100,
        waves: int | None = None,
        first: Mapping[str, tuple[float, float]] | None = None,
        seed: int | None = None,
    ) -> None:
        if trials < 1 or not 1 <= (waves or 1) <= trials:
            raise ValueError(f"waves must be from 1 to trials={trials}, got waves={waves}")
        self._trials, self._waves = trials, waves or min(_WAVES, trials)
        self._first = _checked(first or {})
        self._seeds = np.random.SeedSequence(seed)
        self._independent = RandomSampler(seed=seed)
        self._spaces = IntersectionSearchSpace(include_pruned=True)
        self._course: _Course | None = None
        self._lock = threading.Lock()

    def reseed_rng(self) -> None:
        """Draw differently from now on, as copies in other processes do."""
        self._seeds = np.random.SeedSequence()
        self._independent.reseed_rng()
        self._course = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:  # noqa: ARG002
        """The parameters that every finished trial had, those with one value left out."""
        space = self._spaces.calculate(study)
        return {name: kind for name, kind in sorted(space.items()) if not kind.single()}

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002 - as Optuna calls it
        search_space: Space,
    ) -> dict[str, Any]:
        """The next planned set of values; a wave is planned when the last one is used up.

        Raises:
            ValueError: If the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        with self._lock:
            if self._course is None or self._course.space != search_space:
                self._course = _Course(
                    search_space, self._declared(search_space), self._trials, self._waves
                )
            values = self._course.next(_outcomes(study, search_space), self._rng)
        return {name: _decoded(search_space[name], value) for name, value in values.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value at random, within the first box where there is one.

        Raises:
            ValueError: If the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        kind = _within(param_distribution, self._first.get(param_name))
        return self._independent.sample_independent(study, trial, param_name, kind)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self._seeds.spawn(1)[0])

    def _declared(self, space: Space) -> Box:
        dimensions = []
        for name, kind in space.items():
            whole = _range(kind)
            dimension = Dimension(name, whole)
            if name in self._first and isinstance(whole, Interval):
                low, high = self._first[name]
                part = Interval(max(low, whole.low), min(high, whole.high), whole.scale)
                dimension = Dimension(name, part, whole)
            dimensions.append(dimension)
        return Box(tuple(dimensions))


def _checked(first: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """First boxes that are pairs of numbers, the lower one first."""
    for name, ends in first.items():
        if not isinstance(ends, Sequence) or len(ends) != 2 or not ends[0] < ends[1]:  # noqa: PLR2004
            raise ValueError(f"first[{name!r}] must be (low, high) with low < high, got {ends!r}")
    return dict(first)


@dataclass
class _Course:
    """How far the search of one space is.

    Args:
        space: The space.
        declared: Its first box, with limits.
        trials: Trials in a round.
        waves: Parts that later rounds are planned in.
    """

    space: Space
    declared: Box
    trials: int
    waves: int
    round: int = 0
    sizes: list[int] = field(default_factory=list)
    box: Box | None = None
    queue: list[dict[str, Value]] = field(default_factory=list)

    def next(self, outcomes: Sequence[Outcome], rng: Any) -> dict[str, Value]:
        """The next values, planned anew where there are none left."""
        if not self.queue:
            self.queue = self._wave(outcomes, rng())
        return self.queue.pop(0)

    def _wave(
        self, outcomes: Sequence[Outcome], rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        begins = not self.sizes
        if begins:
            self.round += 1
            self.sizes = wave_sizes(self.trials, self.waves, self.round)
        count = self.sizes.pop(0)
        box = self.box or box_of(declared(self.declared))
        known = outcomes[-MOST_TRIALS:]
        try:
            if begins and self.round == 1:
                return spread(box, count, rng)
            landscape = Landscape.of(self.declared, known, _noise(known), is_measured=False)
            if begins:
                box = self.box = box_of(posterior.narrow(box, landscape, 0, rng).rows)
            return propose(box, landscape, count, rng)
        except (ValueError, np.linalg.LinAlgError):
            return spread(box, count, rng)


def _noise(outcomes: Sequence[Outcome]) -> float:
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    if len(set(scores)) < 2:  # noqa: PLR2004 - a surface needs two different scores
        raise ValueError("no two scores differ")
    return _NOISE_SHARE * float(np.std(scores))


def _outcomes(study: Study, space: Space) -> list[Outcome]:
    """Finished trials of the space, better ones with the higher score."""
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    return [
        Outcome(
            trial.number,
            {name: _encoded(kind, trial.params[name]) for name, kind in space.items()},
            sign * trial.value if trial.value is not None else None,
            None,
        )
        for trial in trials
        if all(_has(trial, name, kind) for name, kind in space.items())
    ]


def _has(trial: FrozenTrial, name: str, kind: BaseDistribution) -> bool:
    return name in trial.params and _range(kind).contains(_encoded(kind, trial.params[name]))


def _within(kind: BaseDistribution, ends: tuple[float, float] | None) -> BaseDistribution:
    """The part of a distribution that is searched first."""
    if ends is None or not isinstance(kind, FloatDistribution) or kind.step is not None:
        return kind
    return FloatDistribution(max(ends[0], kind.low), min(ends[1], kind.high), log=kind.log)


def _range(kind: BaseDistribution) -> Interval | Choices:
    if isinstance(kind, CategoricalDistribution):
        return Choices(tuple(range(len(kind.choices))))
    if isinstance(kind, IntDistribution):
        return Interval(kind.low, kind.high, "log" if kind.log else "linear", integer=True)
    if isinstance(kind, FloatDistribution):
        return Interval(kind.low, kind.high, "log" if kind.log else "linear")
    raise TypeError(f"{kind} is no distribution that can be narrowed")


def _encoded(kind: BaseDistribution, value: Any) -> Value:
    """The value in a box: an option of a choice, which may be anything, is its number."""
    if isinstance(kind, CategoricalDistribution):
        return int(kind.to_internal_repr(value))
    return float(value) if isinstance(kind, FloatDistribution) else int(value)


def _decoded(kind: BaseDistribution, value: Value) -> Any:
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[int(value)]  # type: ignore[arg-type]
    number = float(value)  # type: ignore[arg-type]
    if isinstance(kind, IntDistribution):
        return int(_on_step(number, kind.low, kind.high, kind.step))
    if isinstance(kind, FloatDistribution) and kind.step is not None:
        return _on_step(number, kind.low, kind.high, kind.step)
    return number


def _on_step(number: float, low: float, high: float, step: float) -> float:
    return min(low + round((number - low) / step) * step, high)
