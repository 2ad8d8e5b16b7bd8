"""Training a population: the one entry point of workers into the network.

Seeds alone decide a member's initial weights and minibatch order, and nothing a member computes
depends on its neighbours: its curve and parameters have the same bits in any population.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.errors import TrainingStoppedError
from hpsearch.nn.evaluation import Measurement, Tally, evaluate, predict
from hpsearch.nn.initializers import initial_parameters
from hpsearch.nn.layers import Layout
from hpsearch.nn.minibatches import Shuffles, streams
from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.population import Population, Workspace
from hpsearch.nn.sizing import population_size

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from hpsearch.nn.examples import Examples
    from hpsearch.study import TrialSettings

__all__ = [
    "Member",
    "TrainedMember",
    "evaluate",
    "population_size",
    "predict",
    "stacking_key",
    "train",
]

# A stop is noticed within about this time, however long an epoch is.
_SECONDS_BETWEEN_QUESTIONS = 0.25


@dataclass(frozen=True)
class Member:
    """One model to train.

    Attributes:
        settings: What it is trained with.
        seed: Decides its initial weights and minibatch order; 0 or above.
    """

    settings: TrialSettings
    seed: int


@dataclass(frozen=True)
class TrainedMember:
    """What training made of a member.

    Attributes:
        diverged: Whether a loss was not finite; training stopped after that epoch.
        curve: One entry per epoch: training_loss and training_accuracy, means over the epoch's
            rows, each as its mini-batch was seen before its update; with validation rows also
            validation_loss and validation_accuracy, measured at the epoch's end. Losses are mean
            cross-entropy, without any l2 term.
        parameters: (P,) float32, laid out as `Layout` says; a copy.
    """

    diverged: bool
    curve: tuple[dict[str, float], ...]
    parameters: NDArray[np.float32]


def stacking_key(settings: TrialSettings) -> Hashable:
    """Members with equal keys can be trained side by side; rates, decays and scales may differ."""
    model, training = settings.model, settings.training
    return (
        model.hidden,
        model.activation,
        training.optimizer,
        training.epochs,
        training.batch_size,
    )


def train(
    members: Sequence[Member],
    training: Examples,
    validation: Examples | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[TrainedMember]:
    """Train members side by side.

    Args:
        members: At least one; all with one stacking key.
        training: Rows to learn from; the last partial batch of an epoch is used too.
        validation: Rows to measure on after every epoch, or None.
        should_stop: Asked before every epoch and about four times a second.

    Returns:
        One result per member, in the members' order.

    Raises:
        ValueError: If there is no member or no row, the members' stacking keys differ, or the
            validation rows do not belong to the training rows.
        TrainingStoppedError: If `should_stop` said so; nothing is returned then.
    """
    _check(members, training, validation)
    with np.errstate(all="ignore"):
        return _Training(members, training, validation, _Watch(should_stop)).run()


def _check(members: Sequence[Member], training: Examples, validation: Examples | None) -> None:
    if not members:
        raise ValueError("members: there is nobody to train")
    keys = {stacking_key(member.settings) for member in members}
    if len(keys) > 1:
        raise ValueError(f"members of one population need one stacking key, got {keys}")
    if not len(training):
        raise ValueError("training: there are no rows")
    if validation is None:
        return
    if not len(validation):
        raise ValueError("validation: there are no rows; pass None to train without")
    ours, theirs = ((examples.features, examples.classes) for examples in (training, validation))
    if ours != theirs:
        raise ValueError(f"validation has (features, classes) = {theirs}, training has {ours}")


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
        layout = Layout((training.features, *first.model.hidden, training.classes))
        parameters = np.stack(
            [initial_parameters(m.settings.model, layout, streams(m.seed)[0]) for m in members]
        )
        self._epochs = first.training.epochs
        self._batch_size = min(first.training.batch_size, len(training))
        self._x, self._y = np.asarray(training.x), np.asarray(training.y)
        self._validation = validation
        self._watch = watch
        self._population = Population(layout, first.model.activation, parameters)
        self._optimizer = OPTIMIZERS[first.training.optimizer](
            [m.settings.training for m in members], layout.weight_count, layout.parameter_count
        )
        self._shuffles = Shuffles([m.seed for m in members], len(training))
        self._places = list(range(len(members)))
        self._curves: list[list[dict[str, float]]] = [[] for _ in members]
        self._results: dict[int, TrainedMember] = {}
        self._make_room()

    def run(self) -> list[TrainedMember]:
        """All epochs; members that diverge leave at the end of theirs."""
        for _ in range(self._epochs):
            self._watch.ask()
            self._train_epoch()
            self._note_epoch()
            self._part_with_diverged()
            if not self._places:
                break
        self._finish(range(len(self._places)), diverged=False)
        return [self._results[place] for place in sorted(self._results)]

    def _train_epoch(self) -> None:
        rows = len(self._x)
        order = self._shuffles.next_epoch()
        targets = self._y[order]
        for start in range(0, rows, self._batch_size):
            self._watch.glance()
            part = slice(start, min(start + self._batch_size, rows))
            self._step(order[:, part], targets[:, part], start)

    def _step(self, rows: NDArray[np.intp], targets: NDArray[np.int64], start: int) -> None:
        inputs, work = self._buffers[rows.shape[1]]
        # "clip" lets take write into its output directly; no row number is out of bounds.
        self._x.take(rows, axis=0, out=inputs, mode="clip")
        self._population.forward(inputs, work)
        self._tally.note(start, work, targets)
        work.loss.backward(work.logits)
        self._population.backward(inputs, work)
        self._optimizer.step(self._population.parameters, self._population.gradients)

    def _note_epoch(self) -> None:
        tallies = {"training": self._tally}
        if self._measurement is not None:
            tallies["validation"] = self._measurement.run(self._watch.glance)
        columns = {}
        for name, tally in tallies.items():
            columns[f"{name}_loss"] = tally.losses()
            columns[f"{name}_accuracy"] = tally.accuracies()
        for place, *numbers in zip(self._places, *columns.values(), strict=True):
            self._curves[place].append(dict(zip(columns, numbers, strict=True)))

    def _part_with_diverged(self) -> None:
        finite = [
            all(math.isfinite(number) for number in self._curves[place][-1].values())
            for place in self._places
        ]
        if all(finite):
            return
        staying = [index for index, fine in enumerate(finite) if fine]
        self._finish([index for index, fine in enumerate(finite) if not fine], diverged=True)
        self._places = [self._places[index] for index in staying]
        if staying:
            self._population.select(staying)
            self._optimizer.select(staying)
            self._shuffles.select(staying)
            self._make_room()

    def _finish(self, indices: Iterable[int], *, diverged: bool) -> None:
        """Write down the results of members, given by their place in the population."""
        for index in indices:
            place = self._places[index]
            parameters = self._population.parameters[index].copy()
            # The sign of a not-a-number is left open by IEEE 754 and differs between the vector
            # and scalar paths of one processor; one of them stands for all.
            parameters[np.isnan(parameters)] = np.nan
            curve = tuple(self._curves[place])
            self._results[place] = TrainedMember(diverged, curve, parameters)

    def _make_room(self) -> None:
        """Buffers for the members as they are now: full batches and the last partial one."""
        population, total = self._population, len(self._x)
        sizes = {self._batch_size, total % self._batch_size or self._batch_size}
        orders = self._shuffles.orders
        self._buffers = {
            rows: (
                np.empty((orders, rows, self._x.shape[1]), np.float32),
                Workspace(len(population), rows, population.layout),
            )
            for rows in sizes
        }
        self._tally = Tally(len(population), total)
        self._measurement = (
            None if self._validation is None else Measurement(population, self._validation)
        )
