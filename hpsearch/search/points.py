"""Points in the unit cube, evenly spread or independent, and their values in a box."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from hpsearch.space import Box, Value


def sobol(dimensions: int, count: int, rng: Generator) -> np.ndarray:
    """Scrambled Sobol points (Owen 1998), drawn in full powers of two, where they are balanced.

    Returns:
        (count, dimensions) float64 in [0, 1).
    """
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, rng=rng)
    return np.asarray(engine.random_base2(math.ceil(math.log2(max(count, 2))))[:count])


def uniform(dimensions: int, count: int, rng: Generator) -> np.ndarray:
    """Independent points.

    Returns:
        (count, dimensions) float64 in [0, 1).
    """
    return rng.random((count, dimensions))


def placed(rows: np.ndarray, box: Box) -> list[dict[str, Value]]:
    """The values of a box that stand at points.

    Args:
        rows: (points, dimensions) float64 in [0, 1].
        box: With as many dimensions.
    """
    return [box.at(row) for row in rows.tolist()]
