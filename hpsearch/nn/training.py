"""Training a population: the one entry point of workers into the network.

Seeds alone decide a member's initial weights and minibatch order, and nothing a member computes
depends on its neighbours: its curve and parameters have the same bits in any population.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hpsearch.errors import TrainingStoppedError
from hpsearch.nn.diagnostics import LayerDiagnosis, diagnose
from hpsearch.nn.draws import Noise, Seed
from hpsearch.nn.early_stopping import EarlyStopping
from hpsearch.nn.evaluation import Measurement, Tally, evaluate, predict
from hpsearch.nn.initializers import initial_parameters, initial_running
from hpsearch.nn.kernels import kernels
from hpsearch.nn.minibatches import Minibatches
from hpsearch.nn.optimizers import PopulationOptimizer, grouping_order
from hpsearch.nn.population import Architecture, Population, Workspace
from hpsearch.nn.sizing import population_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hpsearch.nn.examples import Examples
    from hpsearch.settings import TrainingSpec, TrialSettings

__all__ = [
    "Judge",
    "Member",
    "TrainedMember",
    "evaluate",
    "population_size",
    "predict",
    "train",
]

# A stop is noticed within about this time, however long an epoch is, but between two steps or two
# measured chunks of rows only: one full-batch step of a large network may take longer.
_SECONDS_BETWEEN_QUESTIONS = 0.25


Judge = Callable[[int, Mapping[str, float]], bool]


@dataclass(frozen=True)
class Member:
    """One model to train.

    Attributes:
        settings: What it is trained with.
        seed: Decides its initial weights, minibatch order and what is dropped; 0 or above.
        judge: Asked after every measurement but the last, with its number and metrics, in order:
            whether the member is to be stopped now. None for never.
    """

    settings: TrialSettings
    seed: int
    judge: Judge | None = None


@dataclass(frozen=True)
class TrainedMember:
    """What training made of a member.

    Attributes:
        diverged: Whether a loss was not finite; training stopped after that measurement.
        stopped: Whether its judge stopped it; that measurement is its last.
        curve: Metrics of every measured epoch (or iteration), by its number: training_loss and
            training_accuracy, means over the rows since the last measurement, each as its
            mini-batch was seen before its update, or over all rows at that moment where the study
            asks for it; with validation rows also validation_loss and validation_accuracy, measured
            at that moment. Losses are mean cross-entropy, without any penalty.
        parameters: (P + R,) float32 or float64: what is learned, laid out as `Layout` says, and
            behind it the running statistics of batch normalisation; a copy.
        scored_at: The measurement the parameters belong to: the last one, with early stopping
            the best. A diverged or stopped member keeps its last numbers, with early stopping too.
        diagnoses: What the layers looked like, by epoch (or iteration), where asked for.
    """

    diverged: bool
    stopped: bool
    curve: dict[int, dict[str, float]]
    parameters: NDArray[Any]
    scored_at: int
    diagnoses: dict[int, list[LayerDiagnosis]]


def train(
    members: Sequence[Member],
    training: Examples,
    validation: Examples | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[TrainedMember]:
    """Train members side by side.

    Args:
        members: At least one; all of one shape.
        training: Rows to learn from; the last partial batch of an epoch is used too.
        validation: Rows to measure on after every epoch, or None.
        should_stop: Asked before every epoch and about four times a second.

    Returns:
        One result per member, in the members' order.

    Raises:
        ValueError: If there is no member or no row, the members' shapes differ, or the
            validation rows do not belong to the training rows.
        TrainingStoppedError: If `should_stop` said so; nothing is returned then.
    """
    _check(members, training, validation)
    with np.errstate(all="ignore"):
        return _Training(members, training, validation, _Watch(should_stop)).run()


def _check(members: Sequence[Member], training: Examples, validation: Examples | None) -> None:
    if not members:
        raise ValueError("members: there is nobody to train")
    if len({member.settings.shape for member in members}) > 1:
        raise ValueError(f"members of one population need one shape, got {_differences(members)}")
    if not len(training):
        raise ValueError("training: there are no rows")
    if validation is None:
        return
    if not len(validation):
        raise ValueError("validation: there are no rows; pass None to train without")
    ours, theirs = ((examples.features, examples.classes) for examples in (training, validation))
    if ours != theirs:
        raise ValueError(f"validation has (features, classes) = {theirs}, training has {ours}")


def _differences(members: Sequence[Member]) -> str:
    """Which of the settings in a shape differ, and their values."""
    shapings = [member.settings.shaping for member in members]
    differing = []
    for name in shapings[0]:
        distinct = [str(value) for value in dict.fromkeys(shaping[name] for shaping in shapings)]
        if len(distinct) > 1:
            differing.append(f"{name} = {' and '.join(distinct)}")
    return ", ".join(differing)


class _Watch:
    """Asks whether to stop, often enough and not too often."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._asked = time.monotonic()

    def ask(self) -> None:
        """Ask now."""
        if self._should_stop():
            raise TrainingStoppedError("training was asked to stop before its last epoch")
        self._asked = time.monotonic()

    def glance(self) -> None:
        """Ask if the last answer is old."""
        if time.monotonic() - self._asked >= _SECONDS_BETWEEN_QUESTIONS:
            self.ask()


class _Training:
    """The members still in training, and everything they are trained with."""

    def __init__(
        self,
        members: Sequence[Member],
        training: Examples,
        validation: Examples | None,
        watch: _Watch,
    ) -> None:
        first = members[0].settings
        wanted = first.training.batch_size
        self._batch_size = len(training) if wanted == "full" else min(wanted, len(training))
        self._length = first.training.length
        # Before the first update no batch has been seen.
        self._whole = first.training.training_metrics == "rows" or not self._length.count
        self._diagnosed = frozenset(first.training.diagnose)
        self._dtype = np.dtype(first.training.precision)
        self._training, self._validation = training, validation
        self._x = np.asarray(training.x, self._dtype)
        self._watch = watch
        # Where each member's result goes; members with one optimizer are trained side by side.
        self._places = grouping_order([m.settings.training for m in members])
        ordered = [members[place] for place in self._places]
        self._members = [_Record.of(m, validation) for m in ordered]
        self._results: dict[int, TrainedMember] = {}
        seeds = [Seed(m.seed, m.settings.training.draws) for m in ordered]
        self._batches = Minibatches(seeds, np.asarray(training.y), self._batch_size)
        self._noise = Noise(seeds) if first.model.dropout else None
        self._population = _population(ordered, seeds, training, self._dtype)
        self._optimizer = self._optimizers([m.settings.training for m in ordered])
        self._make_room()

    def run(self) -> list[TrainedMember]:
        """All epochs; members that diverge or are stopped leave at the end of theirs."""
        self._diagnose(0)
        done = 0
        for step in self._length.steps:
            self._watch.ask()
            self._train(step - done)
            self._measure(step)
            self._diagnose(step)
            self._part_with_finished()
            if not self._places:
                break
            done = step
        self._finish(range(len(self._places)))
        return [self._results[place] for place in sorted(self._results)]

    def _train(self, units: int) -> None:
        """So many epochs or iterations."""
        self._tally.clear()
        per_unit = self._batches.per_epoch if self._length.unit == "epoch" else 1
        for _ in range(units * per_unit):
            self._watch.glance()
            self._step(*self._batches.next())

    def _step(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        inputs, work = self._buffers[rows.shape[1]]
        # "clip" lets take write into its output directly; no row number is out of bounds.
        self._x.take(rows, axis=0, out=inputs, mode="clip")
        self._population.forward_training(inputs, work, self._noise)
        self._tally.note(work, targets)
        work.loss.backward(work.logits)
        self._population.backward(inputs, work)
        self._optimizer.step(self._population.parameters, self._population.gradients)

    def _measure(self, step: int) -> None:
        """Note the curves at this step, and whose training is over."""
        tallies = {"training": self._tally}
        for name, measurement in self._measurements.items():
            tallies[name] = measurement.run(self._watch.glance)
        columns = {}
        for name, tally in tallies.items():
            columns[f"{name}_loss"] = tally.losses()
            columns[f"{name}_accuracy"] = tally.accuracies()
        for index, numbers in enumerate(zip(*columns.values(), strict=True)):
            metrics = dict(zip(columns, numbers, strict=True))
            self._members[index].note(step, metrics, partial(self._population.member, index))

    def _diagnose(self, step: int) -> None:
        if step not in self._diagnosed or step in self._members[0].diagnoses:
            return
        for member, layers in zip(
            self._members, diagnose(self._population, self._training), strict=True
        ):
            member.diagnoses[step] = layers

    def _part_with_finished(self) -> None:
        leaving = [index for index, member in enumerate(self._members) if member.finished]
        if not leaving:
            return
        self._finish(leaving)
        staying = [index for index in range(len(self._places)) if index not in set(leaving)]
        self._places = [self._places[index] for index in staying]
        self._members = [self._members[index] for index in staying]
        if staying:
            self._population.select(staying)
            self._optimizer.select(staying)
            self._batches.select(staying)
            if self._noise is not None:
                self._noise.select(staying)
            self._make_room()

    def _finish(self, indices: Iterable[int]) -> None:
        """Write down the results of members, given by their place in the population."""
        for index in indices:
            result = self._members[index].result(self._population.member(index))
            self._results[self._places[index]] = result

    def _optimizers(self, specs: Sequence[TrainingSpec]) -> PopulationOptimizer:
        layout = self._population.architecture.layout
        per_unit = self._batches.per_epoch if self._length.unit == "epoch" else 1
        return PopulationOptimizer(
            specs,
            layout.weight_spans,
            layout.parameter_count,
            self._dtype,
            total_steps=self._length.count * per_unit,
            rules=kernels().optimizers,
        )

    def _make_room(self) -> None:
        """Buffers for the members as they are now: full batches and the last partial one."""
        members, streams = len(self._population), self._batches.streams
        dropped = 0 if self._noise is None else self._noise.streams
        architecture = self._population.architecture
        self._buffers = {
            rows: (
                np.empty((streams, rows, self._x.shape[1]), self._dtype),
                Workspace(members, rows, architecture, self._dtype, streams=dropped),
            )
            for rows in self._batches.sizes
        }
        between = self._length.every * self._batch_size
        rows = len(self._x) if self._length.unit == "epoch" else between
        self._tally = Tally(members, rows, self._dtype)
        splits = {"training": self._training if self._whole else None}
        splits |= {"validation": self._validation}
        self._measurements = {
            name: Measurement(self._population, split)
            for name, split in splits.items()
            if split is not None
        }


@dataclass
class _Record:
    """What has been noted of one member so far."""

    stopping: EarlyStopping | None
    judge: Judge | None
    last: int
    curve: dict[int, dict[str, float]] = field(default_factory=dict)
    diagnoses: dict[int, list[LayerDiagnosis]] = field(default_factory=dict)
    diverged: bool = False
    stopped: bool = False

    @classmethod
    def of(cls, member: Member, validation: Examples | None) -> Self:
        """A member before its first step; without validation rows nothing says when to stop."""
        training = member.settings.training
        last = training.length.count
        if training.patience is None or validation is None:
            return cls(None, member.judge, last)
        return cls(EarlyStopping(training.patience), member.judge, last)

    @property
    def finished(self) -> bool:
        """Whether its training is over before the last step."""
        return self.diverged or self.stopped or self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return self.stopping is not None and self.stopping.stops

    def note(
        self, step: int, metrics: dict[str, float], numbers: Callable[[], NDArray[Any]]
    ) -> None:
        """Note a measurement; `numbers` gives a copy of the member as it is now."""
        self.curve[step] = metrics
        self.diverged = not all(math.isfinite(number) for number in metrics.values())
        if self.stopping is not None and not self.diverged:
            self.stopping.note(step, metrics, numbers)
        # Who has come to its own end has nothing left to be stopped from.
        if self.judge is not None and not self.finished and step < self.last:
            self.stopped = self.judge(step, metrics)

    def result(self, numbers: NDArray[Any]) -> TrainedMember:
        """What training made of the member, whose numbers are these at the end."""
        last = max(self.curve)
        if self.stopping is not None and not (self.diverged or self.stopped):
            last, numbers = self.stopping.best_step, self.stopping.best_numbers
        # The sign of a not-a-number is left open by IEEE 754 and differs between the vector
        # and scalar paths of one processor; one of them stands for all.
        numbers[np.isnan(numbers)] = np.nan
        return TrainedMember(self.diverged, self.stopped, self.curve, numbers, last, self.diagnoses)


def _population(
    members: Sequence[Member], seeds: Sequence[Seed], training: Examples, dtype: np.dtype[Any]
) -> Population:
    """The members before their first step."""
    first = members[0].settings.model
    architecture = Architecture.of(first, training.features, training.classes)
    layout = architecture.layout
    # Members of a round share their seed, mostly: what they start from is drawn once.
    starts = [
        (member.settings.model.initializer, seed)
        for member, seed in zip(members, seeds, strict=True)
    ]
    drawn = {start: initial_parameters(start[0], layout, start[1], dtype) for start in set(starts)}
    parameters = [drawn[start] for start in starts]
    running = [initial_running(layout, dtype)] * len(members)
    rates = [member.settings.model.dropout for member in members] if first.dropout else None
    return Population(architecture, np.stack(parameters), np.stack(running), rates)
