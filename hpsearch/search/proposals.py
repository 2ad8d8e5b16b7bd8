"""Where a wave of trials is placed, from everything known when it is planned.

A share is spread evenly over the round's box, which is unbiased evidence about it, and a share
over everything explored, so that the box can be proved wrong. The rest are draws as Thompson's
(1933): each is the maximum of a surface drawn from the posterior, so that places are tried as often
as they may be the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from hpsearch.search.landscape import Landscape
from hpsearch.search.points import sobol
from hpsearch.space import Box, Interval, Value

# Shares of a wave spread over the box, and over everything explored.
_IN_BOX, _EXPLORED = 0.3, 0.1
# Places whose maximum is taken: in the box, over everything explored, and near the best trials.
_PLACES = (384, 192, 192)
# How many of the best trials, and how near: a standard deviation as a share of the box.
_BEST, _NEAR = 8, 0.05


def propose(
    box: Box,
    landscape: Landscape,
    tried: Sequence[dict[str, Value]],
    count: int,
    rng: Generator,
) -> list[dict[str, Value]]:
    """A wave.

    Args:
        box: The round's box.
        landscape: What all trials so far say.
        tried: Their values.
        count: How many to place.
        rng: Draws points and surfaces.

    Returns:
        `count` sets of values.
    """
    in_box, explored = round(_IN_BOX * count), round(_EXPLORED * count)
    spread = [*_spread(box, in_box, rng), *_spread(landscape.explored, explored, rng)]
    left = count - len(spread)
    if not left:
        return spread
    places = [
        *_spread(box, _PLACES[0], rng),
        *_spread(landscape.explored, _PLACES[1], rng),
        *_near(box, landscape, tried, rng),
    ]
    drawn = landscape.draws(places, left, rng)
    return [*spread, *(places[index] for index in drawn.argmax(axis=1))]


def _spread(box: Box, count: int, rng: Generator) -> list[dict[str, Value]]:
    if not count:
        return []
    return [box.at([float(u) for u in row]) for row in sobol(len(box.dimensions), count, rng)]


def _near(
    box: Box, landscape: Landscape, tried: Sequence[dict[str, Value]], rng: Generator
) -> list[dict[str, Value]]:
    """Places around the trials with the best expected scores."""
    order = np.argsort(-landscape.mean(tried), kind="stable")[:_BEST]
    centres = [tried[int(index)] for index in rng.choice(order, size=_PLACES[2])]
    return [_moved(box, landscape.explored, values, rng) for values in centres]


def _moved(box: Box, explored: Box, values: dict[str, Value], rng: Generator) -> dict[str, Value]:
    """Numbers moved a little, within what was explored; choices left as they are."""
    moved = dict(values)
    for dimension in box.dimensions:
        outer = explored[dimension.name]
        if isinstance(outer, Interval) and isinstance(dimension.range, Interval):
            width = outer.position(dimension.range.high) - outer.position(dimension.range.low)
            step = _NEAR * width * float(rng.standard_normal())
            position = outer.position(float(values[dimension.name])) + step  # type: ignore[arg-type]
            moved[dimension.name] = outer.at(min(max(position, 0.0), 1.0))
    return moved
