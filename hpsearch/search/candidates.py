"""Places where a surface's maximum is looked for: evenly spread ones, and ones near good places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from hpsearch.search.features import Features
from hpsearch.search.points import placed, sobol
from hpsearch.search.surrogate import Surrogate
from hpsearch.space import Box, Choices, Dimension, Interval, Value

# Centres are the trials with the best expected scores, and maxima of mean + 2 standard deviations
# that are some length scales apart, so that no promising region is forgotten.
_BEST, _HOPEFUL = 6, 6
_DEVIATIONS, _APART = 2.0, 0.7
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
    surrogate: Surrogate,
    features: Features,
    tried: Sequence[dict[str, Value]],
    places: Sequence[dict[str, Value]],
) -> list[dict[str, Value]]:
    """The best trials, and places that may be better still.

    Args:
        surrogate: The posterior of the score.
        features: Its rows.
        tried: Values of its trials.
        places: Where else to look.
    """
    everywhere = [*tried, *places]
    rows = features.rows(everywhere)
    mean, deviation = surrogate.mean_and_deviation(rows)
    best = np.argsort(-mean[: len(tried)], kind="stable")[:_BEST]
    hopeful = _apart(rows / surrogate.lengths, mean + _DEVIATIONS * deviation)
    return [everywhere[int(index)] for index in (*best, *hopeful)]


def _apart(rows: np.ndarray, worth: np.ndarray) -> list[int]:
    """The worthiest rows that keep their distance from each other."""
    chosen: list[int] = []
    left = worth.copy()
    while len(chosen) < _HOPEFUL and np.isfinite(left).any():
        index = int(np.argmax(left))
        chosen.append(index)
        left[((rows - rows[index]) ** 2).sum(axis=1) <= _APART**2] = -np.inf
    return chosen


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
    """A number at a normal distance; any option of a choice."""
    outer = explored[dimension.name]
    if isinstance(outer, Choices) or not isinstance(dimension.range, Interval):
        return outer.at(float(rng.random()))
    width = outer.position(dimension.range.high) - outer.position(dimension.range.low)
    position = outer.position(float(value)) + share * width * float(rng.standard_normal())  # type: ignore[arg-type]
    return outer.at(min(max(position, 0.0), 1.0))
