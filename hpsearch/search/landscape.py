"""What the trials say about the score everywhere, and where its maximum may lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hpsearch.search.candidates import around, centres, spread
from hpsearch.search.features import Features
from hpsearch.search.outcomes import Outcome
from hpsearch.search.surrogate import Surrogate
from hpsearch.space import Box, Value

# Surfaces drawn, and places looked at: half of them evenly spread, half near good places.
DRAWS = 256
PLACES = 768
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
        tried: Values of the trials it rests on.
    """

    declared: Box
    explored: Box
    surrogate: Surrogate
    features: Features
    tried: tuple[dict[str, Value], ...]

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
        tried = tuple(outcome.values for outcome in history)
        rows = features.rows(tried)
        scores = tamed([outcome.modelled for outcome in history])
        fitted = parameters is not None
        surrogate = Surrogate(rows, scores, noise, _shared(history), parameters, fitted=fitted)
        return cls(declared, explored_box(declared, history), surrogate, features, tried)

    def maxima(self, box: Box, rng: Generator) -> list[dict[str, Value]]:
        """Where drawn surfaces have their maximum, over everything explored."""
        return self._maxima(box, DRAWS, 2 / 3, rng)

    def proposals(self, box: Box, count: int, rng: Generator) -> list[dict[str, Value]]:
        """The same for `count` surfaces, with more places in the box than outside."""
        return self._maxima(box, count, 1 / 3, rng)

    def expected_gain(self, box: Box, rng: Generator) -> float:
        """How much more drawn surfaces have at their maximum than where the score seems best now.

        An average over surfaces. Further trials bring less: they would have to find the very place.
        """
        rows = self.features.rows(self.tried)
        best = rows[[int(self.surrogate.mean(rows).argmax())]]
        places = self.features.rows(self._places(box, 2 / 3, rng))
        drawn = self.surrogate.draws(np.vstack([best, places]), DRAWS, rng)
        return float((drawn.max(axis=1) - drawn[:, 0]).mean())

    def _maxima(
        self, box: Box, count: int, outside: float, rng: Generator
    ) -> list[dict[str, Value]]:
        places = self._places(box, outside, rng)
        drawn = self.surrogate.draws(self.features.rows(places), count, rng)
        return [places[index] for index in drawn.argmax(axis=1)]

    def _places(self, box: Box, outside: float, rng: Generator) -> list[dict[str, Value]]:
        """Where maxima are looked for; `outside` is the share of even ones not bound to the box."""
        even = PLACES // 2
        further = round(outside * even)
        places = [*spread(self.explored, further, rng), *spread(box, even - further, rng)]
        good = centres(self.surrogate, self.features, self.tried, places)
        return [*places, *around(box, self.explored, good, PLACES - even, rng)]

    def effect(self, name: str) -> float:
        """How much better the scores are explained with this dimension than without."""
        return self.surrogate.effect(self.features.columns(name))


def tamed(scores: Sequence[float | None]) -> np.ndarray:
    """Scores of a fit: diverged trials are as bad as the worst, and no bad one is worse than most.

    Returns:
        (len(scores),) float64.
    """
    known = [score for score in scores if score is not None]
    filled = np.array([min(known) if score is None else score for score in scores])
    return np.asarray(np.maximum(filled, np.quantile(filled, _TAMED)))


def _shared(history: Sequence[Outcome]) -> np.ndarray:
    """(len(history),) float64: equal numbers share a seed; -1 for a trial that shares none."""
    counts = Counter(outcome.seed for outcome in history)
    numbers = {seed: float(number) for number, seed in enumerate(counts) if counts[seed] > 1}
    numbers[None] = -1.0
    return np.array([numbers.get(outcome.seed, -1.0) for outcome in history])


def explored_box(declared: Box, history: Sequence[Outcome]) -> Box:
    """The smallest box that holds everything declared and everything tried."""
    return declared.holding([outcome.values for outcome in history])
