"""What a worker trains: a claim of trials in, measurements of every epoch out.

Nothing above this module may know which objective it is. The NumPy population is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import Protocol

from hpsearch.data.prepared import Prepared
from hpsearch.nn.training import Member, TrainedMember, population_size, train
from hpsearch.settings import TrialSettings
from hpsearch.space import Value
from hpsearch.states import TrialState
from hpsearch.store.leases import ClaimedTrial
from hpsearch.store.results import TrialResult
from hpsearch.study import StudySpec

# A member with the row of its trial.
_Named = tuple[int, Member]

# What training can raise because of the values it was given, not because of a mistake here.
TRAINING_ERRORS = (ArithmeticError, MemoryError, ValueError)


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
            member = Member(self._spec.settings(dict(values[trial.id])), trial.seed)
            groups.setdefault(member.settings.shape, []).append((trial.id, member))
        results: dict[int, TrialResult] = {}
        for population in chain.from_iterable(map(self._populations, groups.values())):
            results |= self._run_together(population, should_stop)
        return results

    def _populations(self, group: Sequence[_Named]) -> list[Sequence[_Named]]:
        """A group of one shape in parts that are worth training side by side."""
        size = self._wanted or self._best_population(group[0][1].settings)
        return [group[start : start + size] for start in range(0, len(group), size)]

    def _run_together(
        self, group: Sequence[_Named], should_stop: Callable[[], bool]
    ) -> dict[int, TrialResult]:
        ids = [trial_id for trial_id, _ in group]
        try:
            trained = train(
                [member for _, member in group], self._training, self._validation, should_stop
            )
        except TRAINING_ERRORS as error:
            if len(group) > 1:
                # Whose fault it is shows alone; the others must not fail for their neighbour.
                return self._run_alone(group, should_stop)
            message = f"{type(error).__name__}: {error}"
            return {i: TrialResult(TrialState.FAILED, {}, message) for i in ids}
        return {i: result_of(member) for i, member in zip(ids, trained, strict=True)}

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
    state = TrialState.DIVERGED if member.diverged else TrialState.COMPLETE
    diagnoses = {
        step: [layer.document() for layer in layers] for step, layers in member.diagnoses.items()
    }
    return TrialResult(state, member.curve, scored_at=member.scored_at, diagnoses=diagnoses)
