"""What a worker trains: a claim of trials in, measurements of every epoch out.

Nothing above this module may know which objective it is. The NumPy population is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from hpsearch.data.prepared import Prepared
from hpsearch.nn.training import Member, TrainedMember, population_size, train
from hpsearch.search.discarding import Judging
from hpsearch.settings import TrialSettings
from hpsearch.space import Value
from hpsearch.states import TrialState
from hpsearch.store.leases import ClaimedTrial
from hpsearch.store.results import TrialResult
from hpsearch.study import StudySpec

# What training can raise because of the values it was given, not because of a mistake here.
TRAINING_ERRORS = (ArithmeticError, MemoryError, ValueError)


@dataclass(frozen=True)
class _Named:
    """What a trial is trained with."""

    trial: ClaimedTrial
    settings: TrialSettings


class Objective(Protocol):
    """Trains trials; the same trial gives the same result wherever and with whom it is run."""

    @property
    def population(self) -> int:
        """How many trials are best trained side by side."""

    def run(
        self,
        trials: Sequence[ClaimedTrial],
        values: Mapping[int, Mapping[str, Value]],
        should_stop: Callable[[], bool],
    ) -> dict[int, TrialResult]:
        """Train trials to the end.

        Args:
            trials: What to train.
            values: Values of each trial, by its row.
            should_stop: Asked often; True ends training without a result.

        Returns:
            The result of every trial, by its row.

        Raises:
            TrainingStoppedError: If `should_stop` said so.
        """


class PopulationObjective:
    """The NumPy network, in populations of trials whose arrays can be stacked.

    Args:
        spec: The study.
        prepared: Its training and validation rows.
        population: Trials side by side; None lets the size of a member decide.
    """

    def __init__(self, spec: StudySpec, prepared: Prepared, population: int | None = None) -> None:
        self._spec = spec
        self._training = prepared.training()
        self._validation = prepared.validation()
        self._wanted = population
        middle = spec.space.at([0.5] * len(spec.space.dimensions))
        self._population = population or self._best_population(spec.settings(middle))

    @property
    def population(self) -> int:
        """How many trials are best trained side by side."""
        return self._population

    def run(
        self,
        trials: Sequence[ClaimedTrial],
        values: Mapping[int, Mapping[str, Value]],
        should_stop: Callable[[], bool],
    ) -> dict[int, TrialResult]:
        """Train trials to the end, population by population; see `Objective.run`."""
        groups: dict[Hashable, list[_Named]] = {}
        for trial in trials:
            settings = self._spec.settings(dict(values[trial.id]))
            groups.setdefault(settings.shape, []).append(_Named(trial, settings))
        results: dict[int, TrialResult] = {}
        for population in chain.from_iterable(map(self._populations, groups.values())):
            results |= self._run_together(population, should_stop)
        return results

    def _populations(self, group: Sequence[_Named]) -> list[Sequence[_Named]]:
        """A group of one shape in parts that are worth training side by side."""
        size = self._wanted or self._best_population(group[0].settings)
        return [group[start : start + size] for start in range(0, len(group), size)]

    def _run_together(
        self, group: Sequence[_Named], should_stop: Callable[[], bool]
    ) -> dict[int, TrialResult]:
        judges = [self._judge(named) for named in group]
        members = [
            Member(named.settings, named.trial.seed, judge)
            for named, judge in zip(group, judges, strict=True)
        ]
        try:
            trained = train(members, self._training, self._validation, should_stop)
        except TRAINING_ERRORS as error:
            if len(group) > 1:
                # Whose fault it is shows alone; the others must not fail for their neighbour.
                return self._run_alone(group, should_stop)
            message = f"{type(error).__name__}: {error}"
            return {n.trial.id: TrialResult(TrialState.FAILED, {}, message) for n in group}
        return {
            named.trial.id: self._result(named, member, judge)
            for named, member, judge in zip(group, trained, judges, strict=True)
        }

    def _judge(self, named: _Named) -> Judging | None:
        """A new one for every training, as it remembers what it has seen."""
        rule, training = named.trial.rule, named.settings.training
        if rule is None or self._validation is None:
            return None
        return rule.judge(training.updates_per_step(len(self._training)), training.length.count)

    def _result(self, named: _Named, member: TrainedMember, judge: Judging | None) -> TrialResult:
        training, made = named.settings.training, max(member.curve)
        per_step = training.updates_per_step(len(self._training))
        saved = (training.length.count - made) * per_step
        return replace(
            result_of(member),
            updates=made * per_step,
            updates_saved=saved if member.stopped else None,
            below=None if judge is None else judge.below,
        )

    def _run_alone(
        self, group: Sequence[_Named], should_stop: Callable[[], bool]
    ) -> dict[int, TrialResult]:
        results: dict[int, TrialResult] = {}
        for member in group:
            results |= self._run_together([member], should_stop)
        return results

    def _best_population(self, settings: TrialSettings) -> int:
        return population_size(
            settings,
            self._training.features,
            self._training.classes,
            shared_rows=self._spec.seeds == "common",
        )


def result_of(member: TrainedMember) -> TrialResult:
    """The trial's end that a trained member stands for."""
    diagnoses = {
        step: [layer.document() for layer in layers] for step, layers in member.diagnoses.items()
    }
    return TrialResult(
        _state(member), member.curve, scored_at=member.scored_at, diagnoses=diagnoses
    )


def _state(member: TrainedMember) -> TrialState:
    if member.diverged:
        return TrialState.DIVERGED
    return TrialState.DISCARDED if member.stopped else TrialState.COMPLETE
