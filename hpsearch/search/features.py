"""Values as rows of numbers, for models that measure how alike two trials are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpsearch.space import Box, Choices, Interval, Range, Value, label


class Features:
    """Turns sets of values into rows, one column for a number, one per option for a choice.

    A number becomes its position in its range: 0 at `low`, 1 at `high`, outside that beyond
    them. Two different options are at distance 1, as are the two ends of a range.

    Args:
        box: The ranges that positions refer to.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._columns: dict[str, slice] = {}
        width = 0
        for dimension in box.dimensions:
            self._columns[dimension.name] = slice(width, width + _width(dimension.range))
            width += _width(dimension.range)
        self.width = width

    def columns(self, name: str) -> slice:
        """The columns of a dimension."""
        return self._columns[name]

    def rows(self, values: Sequence[dict[str, Value]]) -> np.ndarray:
        """One row for every set of values.

        Returns:
            (len(values), width) float64.
        """
        table = np.zeros((len(values), self.width))
        for dimension in self._box.dimensions:
            columns = self._columns[dimension.name]
            given = [each[dimension.name] for each in values]
            if isinstance(dimension.range, Interval):
                table[:, columns.start] = _positions(dimension.range, given)
            else:
                table[:, columns] = _options(dimension.range, given)
        return table


def _width(range_: Range) -> int:
    return 1 if isinstance(range_, Interval) else len(range_.options)


def _positions(interval: Interval, values: Sequence[Value]) -> list[float]:
    return [interval.position(value) for value in values]  # type: ignore[arg-type]


def _options(choices: Choices, values: Sequence[Value]) -> np.ndarray:
    """(values, options) float64: 1 / sqrt(2) where the option is the value's, else 0."""
    labels = np.array([label(option) for option in choices.options])
    chosen = np.array([label(value) for value in values])
    return np.asarray((chosen[:, None] == labels[None, :]) / np.sqrt(2))
