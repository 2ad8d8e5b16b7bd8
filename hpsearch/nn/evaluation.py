"""Loss and accuracy, of an epoch's mini-batches and of whole splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpsearch.nn.layers import Layout
from hpsearch.nn.losses import mean_losses
from hpsearch.nn.population import Population, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.nn.examples import Examples
    from hpsearch.study import TrialSettings

# Rows measured at a time, so that memory stays bounded for any split. The number is the same for
# every population: a product's last bits may depend on how many rows it has.
MEASURED_ROWS = 256


class Tally:
    """What every row contributed to loss and accuracy, for all members.

    Args:
        members: Members K of the population.
        rows: Rows that will be noted.
        dtype: Of the logits.
    """

    def __init__(self, members: int, rows: int, dtype: DTypeLike = np.float32) -> None:
        self._shifted = np.empty((members, rows), dtype)
        self._sums = np.empty((members, rows), dtype)
        self._correct = np.empty((members, rows), np.bool_)

    def note(self, start: int, work: Workspace, targets: NDArray[np.int64]) -> None:
        """Turn logits into exponentials and note their rows, from row `start` on.

        Args:
            start: Where the first row of the batch stands among all rows.
            work: Holds the logits of the batch.
            targets: (members, batch) or (1, batch).
        """
        part = slice(start, start + targets.shape[1])
        work.loss.forward(work.logits, targets, self._shifted[:, part], self._sums[:, part])
        np.equal(work.loss.predictions, targets, out=self._correct[:, part])

    def losses(self) -> list[float]:
        """Mean cross-entropy of every member over the noted rows."""
        return mean_losses(self._shifted, self._sums)

    def accuracies(self) -> list[float]:
        """Share of the noted rows every member got right."""
        rows = self._correct.shape[1]
        return [int(np.count_nonzero(row)) / rows for row in self._correct]


class Measurement:
    """Measures a population on one split, with buffers kept from epoch to epoch.

    Args:
        population: The members, as they are now.
        examples: The split.
    """

    def __init__(self, population: Population, examples: Examples) -> None:
        self._population = population
        self._x = np.asarray(examples.x)
        self._y = np.asarray(examples.y)
        dtype = population.parameters.dtype
        self._tally = Tally(len(population), len(examples), dtype)
        self._work = {
            rows: Workspace(len(population), rows, population.layout, dtype, backward=False)
            for rows in {stop - start for start, stop in _chunks(len(examples))}
        }

    def run(self, between: Callable[[], None] = lambda: None) -> Tally:
        """Loss and accuracy over all rows; `between` is called before every chunk."""
        for start, stop in _chunks(len(self._x)):
            between()
            work = self._work[stop - start]
            self._population.forward(self._x[None, start:stop], work)
            self._tally.note(start, work, self._y[None, start:stop])
        return self._tally


def evaluate(
    settings: TrialSettings, parameters: NDArray[np.float32], examples: Examples
) -> dict[str, float]:
    """Loss and accuracy of one trained member, the same bits as training measured for it.

    Args:
        settings: What the member was trained with.
        parameters: (P,) float32, as in `TrainedMember.parameters`.
        examples: At least one row; features and classes as in training.

    Returns:
        {"loss": mean cross-entropy, "accuracy": share of rows}.

    Raises:
        ValueError: If the parameters do not fit the settings and examples, or there are no rows.
    """
    if not len(examples):
        raise ValueError("examples: there are no rows to evaluate")
    population = _population_of_one(settings, parameters, examples.features)
    if population.layout.widths[-1] != examples.classes:
        raise ValueError(
            f"examples have {examples.classes} classes, the parameters "
            f"belong to {population.layout.widths[-1]}"
        )
    with np.errstate(all="ignore"):
        tally = Measurement(population, examples).run()
        return {"loss": tally.losses()[0], "accuracy": tally.accuracies()[0]}


def predict(
    settings: TrialSettings, parameters: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Class of every row according to one trained member.

    Args:
        settings: What the member was trained with.
        parameters: (P,) float32.
        x: (rows, features) float32.

    Returns:
        (rows,) intp, classes from 0.

    Raises:
        ValueError: If the parameters do not fit the settings and the features.
    """
    population = _population_of_one(settings, parameters, x.shape[1])
    classes = np.empty(len(x), np.intp)
    with np.errstate(all="ignore"):
        for start, stop in _chunks(len(x)):
            work = Workspace(1, stop - start, population.layout, parameters.dtype, backward=False)
            population.forward(np.asarray(x)[None, start:stop], work)
            work.logits[0].argmax(axis=-1, out=classes[start:stop])
    return classes


def _population_of_one(
    settings: TrialSettings, parameters: NDArray[np.float32], features: int
) -> Population:
    """The member as a population; the number of classes follows from the parameters."""
    widths = (features, *settings.model.hidden)
    below = Layout(widths).parameter_count if settings.model.hidden else 0
    classes, rest = divmod(parameters.size - below, widths[-1] + 1)
    if parameters.ndim != 1 or rest or classes < 1:
        raise ValueError(
            f"parameters {parameters.shape} do not fit {features} features and "
            f"hidden = {list(settings.model.hidden)}"
        )
    layout = Layout((*widths, classes))
    return Population(layout, settings.model.activation, parameters[None])


def _chunks(rows: int) -> list[tuple[int, int]]:
    """Bounds of the chunks a split is measured in."""
    starts = range(0, rows, MEASURED_ROWS)
    return [(start, min(start + MEASURED_ROWS, rows)) for start in starts]
