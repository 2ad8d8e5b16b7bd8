"""Loss and accuracy, of an epoch's mini-batches and of whole splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.losses import mean_losses
from hpsearch.nn.population import Architecture, Population, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.nn.examples import Examples
    from hpsearch.settings import TrialSettings

# Rows measured at a time, so that memory stays bounded for any split. The number is the same for
# every population: a product's last bits may depend on how many rows it has.
MEASURED_ROWS = 256


class Tally:
    """What every row contributed to loss and accuracy, for all members.

    Args:
        members: Members K of the population.
        rows: Most rows that will be noted before the tally is cleared.
        dtype: Of the logits.
    """

    def __init__(self, members: int, rows: int, dtype: DTypeLike = np.float32) -> None:
        self._shifted = np.empty((members, rows), dtype)
        self._sums = np.empty((members, rows), dtype)
        self._correct = np.empty((members, rows), np.bool_)
        self._noted = 0

    def clear(self) -> None:
        """Forget all rows."""
        self._noted = 0

    def note(self, work: Workspace, targets: NDArray[np.int64]) -> None:
        """Note the rows whose logits stand in `work`, and leave there what `backward` needs.

        Args:
            work: Holds the logits of the batch.
            targets: (members, batch) or (1, batch).
        """
        start, stop = self._noted, self._noted + targets.shape[1]
        work.loss.forward(work.logits, targets, self._shifted, self._sums, start)
        np.equal(work.loss.predictions, targets, out=self._correct[:, start:stop])
        self._noted = stop

    def losses(self) -> list[float]:
        """Mean cross-entropy of every member over the noted rows."""
        return mean_losses(self._shifted[:, : self._noted], self._sums[:, : self._noted])

    def accuracies(self) -> list[float]:
        """Share of the noted rows every member got right."""
        correct = self._correct[:, : self._noted]
        return [int(np.count_nonzero(row)) / self._noted for row in correct]


class Measurement:
    """Measures a population on one split, with buffers kept from epoch to epoch.

    Args:
        population: The members, as they are now.
        examples: The split.
    """

    def __init__(self, population: Population, examples: Examples) -> None:
        dtype = population.parameters.dtype
        self._population = population
        self._x = np.asarray(examples.x, dtype)
        self._y = np.asarray(examples.y)
        self._tally = Tally(len(population), len(examples), dtype)
        sizes = {stop - start for start, stop in _chunks(len(examples))}
        self._work = {rows: _workspace(population, rows) for rows in sizes}

    def run(self, between: Callable[[], None] = lambda: None) -> Tally:
        """Loss and accuracy over all rows; `between` is called before every chunk."""
        self._tally.clear()
        for start, stop in _chunks(len(self._x)):
            between()
            work = self._work[stop - start]
            self._population.forward(self._x[None, start:stop], work)
            self._tally.note(work, self._y[None, start:stop])
        return self._tally


def evaluate(
    settings: TrialSettings, parameters: NDArray[Any], examples: Examples
) -> dict[str, float]:
    """Loss and accuracy of one trained member, the same bits as training measured for it.

    Args:
        settings: What the member was trained with.
        parameters: (P + R,) as in `TrainedMember.parameters`.
        examples: At least one row; features and classes as in training.

    Returns:
        {"loss": mean cross-entropy, "accuracy": share of rows}.

    Raises:
        ValueError: If the parameters do not fit the settings and examples, or there are no rows.
    """
    if not len(examples):
        raise ValueError("examples: there are no rows to evaluate")
    classes = _classes(settings, parameters, examples.features)
    if classes != examples.classes:
        raise ValueError(
            f"examples have {examples.classes} classes, the parameters belong to {classes}"
        )
    population = _population_of_one(settings, parameters, examples.features, classes)
    with np.errstate(all="ignore"):
        tally = Measurement(population, examples).run()
        return {"loss": tally.losses()[0], "accuracy": tally.accuracies()[0]}


def predict(settings: TrialSettings, parameters: NDArray[Any], x: NDArray[Any]) -> NDArray[np.intp]:
    """Class of every row according to one trained member.

    Args:
        settings: What the member was trained with.
        parameters: (P + R,) as in `TrainedMember.parameters`.
        x: (rows, features) float32 or float64.

    Returns:
        (rows,) intp, classes from 0.

    Raises:
        ValueError: If the parameters do not fit the settings and the features.
    """
    features = x.shape[1]
    classes = _classes(settings, parameters, features)
    population = _population_of_one(settings, parameters, features, classes)
    inputs = np.asarray(x, parameters.dtype)
    predictions = np.empty(len(x), np.intp)
    with np.errstate(all="ignore"):
        for start, stop in _chunks(len(x)):
            logits = population.forward(
                inputs[None, start:stop], _workspace(population, stop - start)
            )
            predictions[start:stop] = _most_likely(logits[0])
    return predictions


def _most_likely(logits: NDArray[Any]) -> NDArray[np.intp]:
    """Class of every row, from logits (rows, outputs)."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.intp)
    classes: NDArray[np.intp] = logits.argmax(axis=-1)
    return classes


def _workspace(population: Population, rows: int) -> Workspace:
    dtype = population.parameters.dtype
    return Workspace(len(population), rows, population.architecture, dtype, backward=False)


def _classes(settings: TrialSettings, parameters: NDArray[Any], features: int) -> int:
    """How many classes the parameters tell apart: their number grows by equal steps with it."""
    if settings.model.output == "sigmoid":
        return 2
    one, two = (_numbers(settings, features, classes) for classes in (1, 2))
    classes, rest = divmod(parameters.size - one, two - one)
    if parameters.ndim != 1 or rest or classes < 0:
        raise ValueError(
            f"parameters {parameters.shape} do not fit {features} features and "
            f"hidden = {list(settings.model.hidden)}"
        )
    return classes + 1


def _numbers(settings: TrialSettings, features: int, classes: int) -> int:
    layout = Architecture.of(settings.model, features, classes).layout
    return layout.parameter_count + layout.running_count


def _population_of_one(
    settings: TrialSettings, parameters: NDArray[Any], features: int, classes: int
) -> Population:
    architecture = Architecture.of(settings.model, features, classes)
    count = architecture.layout.parameter_count
    if parameters.size != count + architecture.layout.running_count:
        raise ValueError(f"parameters {parameters.shape} do not fit {architecture.layout}")
    return Population(architecture, parameters[None, :count], parameters[None, count:])


def _chunks(rows: int) -> list[tuple[int, int]]:
    """Bounds of the chunks a split is measured in."""
    starts = range(0, rows, MEASURED_ROWS)
    return [(start, min(start + MEASURED_ROWS, rows)) for start in starts]
