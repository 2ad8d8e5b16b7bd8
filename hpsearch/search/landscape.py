"""What the trials say about the score everywhere, and where its maximum may lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from hpsearch.search.features import Features
from hpsearch.search.outcomes import Outcome
from hpsearch.search.points import sobol
from hpsearch.search.surrogate import Surrogate
from hpsearch.space import Box, Dimension, Interval, Value

# Surfaces drawn, and places looked at: over everything explored, and in the round's box.
DRAWS = 256
_PLACES, _PLACES_IN_BOX = 512, 256
# Scores below this quantile are taken for it: how bad a bad place is does not matter.
_TAMED = 0.25


@dataclass(frozen=True)
class Landscape:
    """What the trials say about the score everywhere.

    Args:
        declared: The study file's box, with limits.
        explored: The box that holds everything declared and everything tried.
        surrogate: The posterior of the score.
        features: Rows of the surrogate, in positions of the widest ranges.
        trials: How many trials it rests on.
    """

    declared: Box
    explored: Box
    surrogate: Surrogate
    features: Features
    trials: int

    @classmethod
    def of(
        cls,
        declared: Box,
        history: Sequence[Outcome],
        noise: float,
        parameters: np.ndarray | None = None,
    ) -> Landscape:
        """Fit the posterior to trials.

        Args:
            declared: The study file's box, with limits.
            history: Trials that did not fail, at least one with a score.
            noise: Standard deviation of a score around its mean over seeds.
            parameters: Of an earlier fit, to be taken as they stand; None to fit them.
        """
        features = Features(declared.widest)
        rows = features.rows([outcome.values for outcome in history])
        scores = tamed([outcome.score for outcome in history])
        surrogate = Surrogate(rows, scores, noise, parameters, fitted=parameters is not None)
        return cls(declared, explored_box(declared, history), surrogate, features, len(history))

    def maxima(self, box: Box, rng: Generator) -> list[dict[str, Value]]:
        """Where drawn surfaces have their maximum, over everything explored."""
        width = len(box.dimensions)
        places = [self.explored.at(list(row)) for row in sobol(width, _PLACES, rng)]
        places += [box.at(list(row)) for row in sobol(width, _PLACES_IN_BOX, rng)]
        drawn = self.draws(places, DRAWS, rng)
        return [places[index] for index in drawn.argmax(axis=1)]

    def draws(self, places: Sequence[dict[str, Value]], count: int, rng: Generator) -> np.ndarray:
        """(count, len(places)) float64: the scores of drawn surfaces."""
        return self.surrogate.draws(self.features.rows(places), count, rng)

    def effect(self, name: str) -> float:
        """How much better the scores are explained with this dimension than without."""
        return self.surrogate.effect(self.features.columns(name))

    def mean(self, values: Sequence[dict[str, Value]]) -> np.ndarray:
        """(len(values),) float64: expected scores."""
        return self.surrogate.mean(self.features.rows(values))


def tamed(scores: Sequence[float | None]) -> np.ndarray:
    """Scores of a fit: diverged trials are as bad as the worst, and no bad one is worse than most.

    Returns:
        (len(scores),) float64.
    """
    known = [score for score in scores if score is not None]
    filled = np.array([min(known) if score is None else score for score in scores])
    return np.asarray(np.maximum(filled, np.quantile(filled, _TAMED)))


def explored_box(declared: Box, history: Sequence[Outcome]) -> Box:
    """The smallest box that holds everything declared and everything tried."""
    return Box(tuple(_explored(dimension, history) for dimension in declared.dimensions))


def _explored(dimension: Dimension, history: Sequence[Outcome]) -> Dimension:
    if not isinstance(dimension.range, Interval):
        return Dimension(dimension.name, dimension.range)
    tried = [float(o.values[dimension.name]) for o in history]  # type: ignore[arg-type]
    low = min([dimension.range.low, *tried])
    high = max([dimension.range.high, *tried])
    return Dimension(dimension.name, replace(dimension.range, low=low, high=high))
