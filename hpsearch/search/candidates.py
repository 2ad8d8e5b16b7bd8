"""Places where a surface's maximum is looked for: evenly spread ones, and ones near good places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from hpsearch.search.points import placed, sobol
from hpsearch.space import Box, Choices, Dimension, Interval, Value

# Centres are so many of the best trials, and promising places, so that no region is forgotten.
_BEST = 6
# Places that are so many length scales apart lie in regions of their own.
_APART = 0.7
# How far from its centre a place lies: standard deviations as shares of the box.
_NEAR = (0.02, 0.07, 0.2)
# In more dimensions than this only some of the values are moved.
_ALL_MOVED = 2


def spread(box: Box, count: int, rng: Generator) -> list[dict[str, Value]]:
    """Sobol points."""
    if not count:
        return []
    return placed(sobol(len(box.dimensions), count, rng), box)


def around(
    box: Box,
    explored: Box,
    centres: Sequence[dict[str, Value]],
    count: int,
    rng: Generator,
) -> list[dict[str, Value]]:
    """Places around centres, inside what was explored; near ones and far ones.

    Args:
        box: The round's box; its width is what near and far are measured in.
        explored: No place lies outside.
        centres: Around which.
        count: How many.
        rng: Draws them.
    """
    chosen = rng.integers(len(centres), size=count)
    return [_moved(box, explored, centres[index], rng) for index in chosen]


def centres(
    tried: Sequence[dict[str, Value]],
    expected: np.ndarray,
    hopeful: Sequence[dict[str, Value]],
) -> list[dict[str, Value]]:
    """The trials with the best expected scores, and places that may be better still.

    Args:
        tried: Values of the trials.
        expected: (tried,) their expected scores.
        hopeful: The places.
    """
    best = np.argsort(-expected, kind="stable")[:_BEST]
    return [*(tried[int(index)] for index in best), *hopeful]


def apart(rows: np.ndarray, worth: np.ndarray, count: int) -> list[int]:
    """The worthiest rows that keep their distance from each other.

    Args:
        rows: (n, columns) float64, in units of the length scales.
        worth: (n,) float64.
        count: How many at most.
    """
    chosen: list[int] = []
    left = worth.copy()
    while len(chosen) < count and np.isfinite(left).any():
        index = int(np.argmax(left))
        chosen.append(index)
        left[((rows - rows[index]) ** 2).sum(axis=1) <= _APART**2] = -np.inf
    return chosen


def peaks(rows: np.ndarray, worth: np.ndarray, count: int) -> list[int]:
    """The worthiest rows that have no worthier one in their region.

    Args:
        rows: (n, columns) float64, in units of the length scales.
        worth: (n,) float64.
        count: How many at most.
    """
    order = np.argsort(-worth, kind="stable")
    ordered = rows[order]
    found: list[int] = []
    for place, row in enumerate(ordered):
        if len(found) == count:
            break
        if (((ordered[:place] - row) ** 2).sum(axis=1) > _APART**2).all():
            found.append(int(order[place]))
    return found


def _moved(box: Box, explored: Box, values: dict[str, Value], rng: Generator) -> dict[str, Value]:
    share = float(rng.choice(_NEAR))
    few = len(box.dimensions) <= _ALL_MOVED
    return {
        dimension.name: _step(dimension, explored, values[dimension.name], share, rng)
        if few or rng.random() < 0.5  # noqa: PLR2004 - a coin
        else values[dimension.name]
        for dimension in box.dimensions
    }


def _step(dimension: Dimension, explored: Box, value: Value, share: float, rng: Generator) -> Value:
    """A number at a normal distance, reflected at the ends; any option of a choice.

    Cut off at the ends instead, half of the places around one at an end would lie there too, and
    a dimension without effect would be tried there most of the time.
    """
    outer = explored[dimension.name]
    if isinstance(outer, Choices) or not isinstance(dimension.range, Interval):
        return outer.at(float(rng.random()))
    width = outer.position(dimension.range.high) - outer.position(dimension.range.low)
    position = outer.position(float(value)) + share * width * float(rng.standard_normal())  # type: ignore[arg-type]
    return outer.at(_reflected(position))


def _reflected(position: float) -> float:
    """The position in [0, 1] that a mirror at both ends leaves of it."""
    folded = abs(position) % 2
    return min(folded, 2 - folded)
