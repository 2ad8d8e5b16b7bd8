"""What the trials say about the score everywhere, and where its maximum may lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hpsearch.search.candidates import apart, around, centres, peaks, spread
from hpsearch.search.feasibility import Feasibility
from hpsearch.search.features import Features
from hpsearch.search.outcomes import Outcome, signature
from hpsearch.search.surrogate import Surrogate
from hpsearch.space import Box, Value

# Surfaces drawn, and places looked at: half of them evenly spread, half near good places.
DRAWS = 256
PLACES = 768
# How bad a bad place is hardly matters. While the noise is not known, scores below this quantile
# are taken for it; then those that are more than so many standard deviations below the best ones
# count by the logarithm of how much.
_QUANTILE, _DEPTH, _LEAST_DEPTH = 0.25, 10.0, 1e-6
# The best ones: this share, but so many at least, as for elites.
_TOP_SHARE, _FEWEST_TOP = 0.15, 10
# What hardly trains is at the mercy of its seed: a score that is far below the best ones may have
# been that much higher, this share of the way beyond so many standard deviations of the noise.
_SCATTER, _BESIDE = 0.2, 2.0
# Places that may be better still: so many maxima of mean + so many standard deviations.
_HOPEFUL, _DEVIATIONS = 6, 2.0


@dataclass(frozen=True)
class Landscape:
    """What the trials say about the score everywhere.

    Args:
        declared: The study file's box, with limits.
        explored: The box that holds everything declared and everything tried.
        surrogate: The posterior of the score, where there is one.
        feasibility: How probable that is.
        worst: The worst score of all; what a diverged trial counts.
        features: Rows of both, in positions of the widest ranges.
        tried: Values of the trials they rest on.
    """

    declared: Box
    explored: Box
    surrogate: Surrogate
    feasibility: Feasibility
    worst: float
    features: Features
    tried: tuple[dict[str, Value], ...]

    @classmethod
    def of(
        cls,
        declared: Box,
        history: Sequence[Outcome],
        noise: float,
        parameters: np.ndarray | None = None,
        *,
        is_measured: bool = True,
    ) -> Landscape:
        """Fit the posterior to trials.

        Args:
            declared: The study file's box, with limits.
            history: Trials that did not fail, at least one with a score.
            noise: Standard deviation of a score around its mean over seeds.
            parameters: Of an earlier fit, to be taken as they stand; None to fit them.
            is_measured: Whether the noise was, or is only supposed.

        Raises:
            ValueError: If no trial has a score.
        """
        features = Features(declared.widest)
        rows = features.rows([outcome.values for outcome in history])
        diverged = np.array([outcome.modelled is None for outcome in history])
        found = np.array([o.modelled for o in history if o.modelled is not None])
        if not len(found):
            raise ValueError("no trial has a score")
        scores = tamed(found, noise if is_measured else None)
        return cls(
            declared=declared,
            explored=explored_box(declared, history),
            surrogate=Surrogate(
                rows[~diverged],
                scores,
                noise,
                _shared(history)[~diverged],
                scatter(scores, noise),
                parameters,
                fitted=parameters is not None,
                is_measured=is_measured,
            ),
            feasibility=Feasibility(rows, diverged),
            worst=float(found.min()),
            features=features,
            tried=tuple(outcome.values for outcome in history),
        )

    def expected(self, values: Sequence[dict[str, Value]]) -> np.ndarray:
        """(len(values),) float64: what a trial with these values is worth, divergence included.

        In scores as the surrogate was told them, see `tamed`.
        """
        rows = self.features.rows(values)
        return self._counted(self.surrogate.mean(rows), rows)

    def cautious(self, values: Sequence[dict[str, Value]]) -> np.ndarray:
        """(len(values),) float64: the same, less its standard deviation.

        Of places that are expected to be equally good the one that is known better, which seldom
        lies beside a cliff.
        """
        rows = self.features.rows(values)
        mean, deviation = self.surrogate.mean_and_deviation(rows)
        return self._counted(mean - deviation, rows)

    def maxima(self, box: Box, rng: Generator) -> list[dict[str, Value]]:
        """Where drawn surfaces have their maximum, over everything explored."""
        places = self._places(box, 2 / 3, rng)
        return [places[index] for index in self._drawn(places, DRAWS, rng).argmax(axis=1)]

    def proposals(self, box: Box, count: int, rng: Generator) -> list[dict[str, Value]]:
        """The same for `count` surfaces, with more places in the box than outside.

        None is there twice before each was there once: with one seed between them the second would
        tell nothing.
        """
        places = _different(self._places(box, 1 / 3, rng))
        used = np.zeros(len(places), bool)
        chosen: list[int] = []
        for surface in self._drawn(places, count, rng):
            if used.all():
                used[:] = False
            index = int(np.where(used, -np.inf, surface).argmax())
            used[index] = True
            chosen.append(index)
        return [places[index] for index in chosen]

    def rivals(self, box: Box, count: int, rng: Generator) -> list[dict[str, Value]]:
        """The tops of other hills than the best one, the highest expected first.

        Args:
            box: The round's box.
            count: How many at most.
            rng: Draws the places that are looked at.
        """
        if not count:
            return []
        places = self._places(box, 2 / 3, rng)
        rows = self.features.rows(places)
        worth = self._counted(self.surrogate.mean(rows), rows)
        tops = peaks(rows / self.surrogate.lengths, worth, count + 1)
        return [places[index] for index in tops[1:]]

    def expected_gain(self, box: Box, rng: Generator) -> float:
        """How much more drawn surfaces have at their maximum than where the score seems best now.

        An average over surfaces. Further trials bring less: they would have to find the very place.
        """
        best = self.tried[int(self.expected(self.tried).argmax())]
        drawn = self._drawn([best, *self._places(box, 2 / 3, rng)], DRAWS, rng)
        return float((drawn.max(axis=1) - drawn[:, 0]).mean())

    def effect(self, name: str) -> float:
        """How much better the trials are explained with this dimension than without.

        Either their scores or, where that tells more, which of them have none.
        """
        columns = self.features.columns(name)
        return max(self.surrogate.effect(columns), self.feasibility.effect(columns))

    def _counted(self, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(..., m) scores at m rows, the less the more probably trainings diverge there."""
        probable = self.feasibility.probability(rows)
        return np.asarray(probable * scores + (1 - probable) * np.minimum(scores, self.worst))

    def _drawn(self, places: Sequence[dict[str, Value]], count: int, rng: Generator) -> np.ndarray:
        """(count, places) surfaces."""
        rows = self.features.rows(places)
        return self._counted(self.surrogate.draws(rows, count, rng), rows)

    def _places(self, box: Box, outside: float, rng: Generator) -> list[dict[str, Value]]:
        """Where maxima are looked for; `outside` is the share of even ones not bound to the box."""
        even = PLACES // 2
        further = round(outside * even)
        places = [*spread(self.explored, further, rng), *spread(box, even - further, rng)]
        good = centres(self.tried, self.expected(self.tried), self._hopeful([*self.tried, *places]))
        return [*places, *around(box, self.explored, good, PLACES - even, rng)]

    def _hopeful(self, places: Sequence[dict[str, Value]]) -> list[dict[str, Value]]:
        """Those of the places that may be the best, each in a region of its own."""
        rows = self.features.rows(places)
        mean, deviation = self.surrogate.mean_and_deviation(rows)
        worth = self._counted(mean + _DEVIATIONS * deviation, rows)
        return [places[index] for index in apart(rows / self.surrogate.lengths, worth, _HOPEFUL)]


def _different(places: Sequence[dict[str, Value]]) -> list[dict[str, Value]]:
    """The places, each once."""
    return list({signature(values): values for values in places}.values())


def tamed(scores: np.ndarray, noise: float | None) -> np.ndarray:
    """Scores of a fit, which is not to be ruled by how bad the bad ones are.

    Args:
        scores: (n,) float64.
        noise: Standard deviation of a score around its mean over seeds; None where nobody knows.

    Returns:
        (n,) float64, in the order of the scores; the best ones are as they were.
    """
    if noise is None:
        return np.asarray(np.maximum(scores, np.quantile(scores, _QUANTILE)))
    # A noise of 0 would leave no depth to divide by.
    depth = max(_DEPTH * noise, _LEAST_DEPTH)
    floor = _top(scores) - depth
    below = np.maximum(floor - scores, 0.0)
    return np.asarray(np.where(below > 0, floor - depth * np.log1p(below / depth), scores))


def scatter(scores: np.ndarray, noise: float) -> np.ndarray:
    """How far scores scatter beyond the noise that the best ones have.

    Args:
        scores: (n,) float64.
        noise: Standard deviation of a good score around its mean over seeds.

    Returns:
        (n,) float64: standard deviations; 0 for those that are about as good as the best.
    """
    return np.asarray(_SCATTER * np.maximum(_top(scores) - _BESIDE * noise - scores, 0.0))


def _top(scores: np.ndarray) -> float:
    """The mean of the best ones."""
    count = max(_FEWEST_TOP, round(_TOP_SHARE * len(scores)))
    return float(np.sort(scores)[-count:].mean())


def _shared(history: Sequence[Outcome]) -> np.ndarray:
    """(len(history),) float64: equal numbers share a seed; -1 for a trial that shares none."""
    counts = Counter(outcome.seed for outcome in history)
    numbers = {seed: float(number) for number, seed in enumerate(counts) if counts[seed] > 1}
    numbers[None] = -1.0
    return np.array([numbers.get(outcome.seed, -1.0) for outcome in history])


def explored_box(declared: Box, history: Sequence[Outcome]) -> Box:
    """The smallest box that holds everything declared and everything tried."""
    return declared.holding([outcome.values for outcome in history])
