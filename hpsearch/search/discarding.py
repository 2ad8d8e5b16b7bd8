"""Early discarding: a trial is stopped when it has fallen below what good trials had by then.

The rule (docs/narrowing.md): a trial's level is its best validation accuracy so far. The *band* of
a wave is, at every number of updates, the lowest level that an elite of everything finished before
the wave had there, minus half a binomial standard error. It is fixed when the wave is planned, so
that it depends on no order and on no worker. A trial below the band is stopped; a few that would
be are spared, to show how often the rule is wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpsearch.search.elites import elites
from hpsearch.search.noise import standard_error
from hpsearch.search.outcomes import Outcome

METRIC = "validation_accuracy"
# Nobody is judged before so many updates: curves cross most at their beginning.
LEAST_UPDATES = 80
# The elites that make a band: as those of a round, but no fewer than these.
FEWEST_ELITES = 15
# A band lies so many standard errors below the lowest of them.
_MARGIN = 0.5
# So many standard errors above chance a trial has learned something.
_ABOVE_CHANCE = 6.0
# The most points that a band is kept with.
_MOST_POINTS = 200

# (updates, figure) in order of the updates.
Points = tuple[tuple[int, float], ...]
# (updates, validation accuracy) of trials, by their numbers.
Curves = Callable[[Sequence[int]], Mapping[int, Points]]


@dataclass(frozen=True)
class Band:
    """What good trials had at a number of updates, for the trials of a wave.

    Attributes:
        first: Number of the first trial it is for; it holds until the next band's first.
        points: (updates, threshold); straight lines between them. At fewer updates than the first
            point has, nothing is known; at more than the last, that one holds on.
    """

    first: int
    points: Points


@dataclass(frozen=True)
class Threshold:
    """What a trial has to reach: the band's, and at least that it has learned something.

    Attributes:
        floor: Of the level, whatever the band says.
        points: The band's; empty where there is none.
    """

    floor: float
    points: Points = ()

    @classmethod
    def of(cls, floor: float, band: Band | None) -> Threshold:
        """The higher of floor and band; good trials that end below the floor prove it wrong.

        So does a band without points: whatever was finished, nothing had a score.
        """
        if band is None:
            return cls(floor)
        return cls(min(floor, band.points[-1][1]) if band.points else -math.inf, band.points)

    def at(self, updates: int) -> float:
        """What the level must not be below after so many updates."""
        return max(self.floor, _at(self.points, updates))


@dataclass(frozen=True)
class Below:
    """The measurement after which a trial was below its threshold for the first time.

    Attributes:
        step: Its number: the epoch or iteration.
        threshold: What the level was below; None where a pruner has no such figure.
        stands_for: What the score is taken for by the surrogate, as the trial has none. It stays
            as far below the band as it was.
    """

    step: int
    threshold: float | None
    stands_for: float


class Judge:
    """Follows one trial and says when to stop it.

    Args:
        threshold: What it has to reach.
        per_step: Updates from one epoch or iteration to the next.
        last: Its last epoch or iteration.
        spared: Whether it runs on all the same.
    """

    def __init__(
        self, threshold: Threshold, per_step: int, last: int, *, spared: bool = False
    ) -> None:
        self._threshold, self._per_step, self._last = threshold, per_step, last
        self._spared = spared
        self._level = -math.inf
        self.below: Below | None = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Look at a measurement: whether to stop now."""
        self._level = max(self._level, metrics[METRIC])
        if self.below is not None or step * self._per_step < LEAST_UPDATES:
            return False
        wanted = self._threshold.at(step * self._per_step)
        if self._level >= wanted:
            return False
        at_the_end = self._threshold.at(self._last * self._per_step)
        stands_for = self._level + at_the_end - wanted
        self.below = Below(step, wanted, stands_for)
        return not self._spared


class Judging(Protocol):
    """Follows one training."""

    below: Below | None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Look at a measurement: whether to stop now."""


class Rule(Protocol):
    """What a trial is stopped by, before anybody knows how long its epochs are."""

    def judge(self, per_step: int, last: int) -> Judging:
        """A judge of one training.

        Args:
            per_step: Updates from one epoch or iteration to the next.
            last: Its last epoch or iteration.
        """


@dataclass(frozen=True)
class RecordedRule:
    """Stops a trial where it was stopped before, for whom nobody can ask again.

    Attributes:
        below: What was written down.
        spared: Whether it ran on all the same.
    """

    below: Below
    spared: bool

    def judge(self, per_step: int, last: int) -> RecordedJudge:  # noqa: ARG002 - as of a band
        """A judge of one training."""
        return RecordedJudge(self.below, spared=self.spared)


class RecordedJudge:
    """See `RecordedRule`."""

    def __init__(self, recorded: Below, *, spared: bool) -> None:
        self._recorded, self._spared = recorded, spared
        self.below: Below | None = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:  # noqa: ARG002
        """Whether this is the measurement."""
        if step != self._recorded.step:
            return False
        self.below = self._recorded
        return not self._spared


@dataclass(frozen=True)
class BandRule:
    """What a trial is stopped by that must not fall below a band.

    Attributes:
        threshold: What it has to reach.
        spared: Whether it runs on all the same.
    """

    threshold: Threshold
    spared: bool

    def judge(self, per_step: int, last: int) -> Judge:
        """A judge of one training; see `Judge`."""
        return Judge(self.threshold, per_step, last, spared=self.spared)


def chance_floor(classes: int, rows: int) -> float:
    """The level below which a trial is taken for one that guesses.

    Six standard errors above chance, and at most half way from chance to 1: with few rows more
    would ask for what nobody may ever reach.

    Args:
        classes: How many there are, equally common.
        rows: Validation rows.
    """
    chance = 1 / classes
    error = math.sqrt(chance * (1 - chance) / rows)
    return min(chance + _ABOVE_CHANCE * error, (1 + chance) / 2)


def good_ones(finished: Sequence[Outcome], noise: float) -> list[Outcome]:
    """The trials that make a band, best first."""
    return elites(finished, noise, fewest=FEWEST_ELITES)


def band(first: int, curves: Sequence[Points], rows: int) -> Band | None:
    """The band that these curves of good trials make.

    Args:
        first: Number of the first trial it is for.
        curves: (updates, validation accuracy) of each.
        rows: Validation rows.

    Returns:
        None where no curve has a measurement late enough to judge by.
    """
    levels = [_levels(curve) for curve in curves if curve]
    places = sorted({at for curve in levels for at, _ in curve if at >= LEAST_UPDATES})
    # Before every one of them was measured, nobody knows what the slowest had.
    places = [at for at in places if at >= max(curve[0][0] for curve in levels)]
    if not places:
        return None
    lowest = np.min([_along(curve, places) for curve in levels], axis=0)
    thresholds = [level - _MARGIN * standard_error(level, rows) for level in lowest.tolist()]
    return Band(first, _thinned(list(zip(places, thresholds, strict=True))))


def band_for(bands: Sequence[Band], number: int) -> Band | None:
    """The newest band that is for a trial of this number."""
    return next((band for band in reversed(bands) if band.first <= number), None)


def _levels(curve: Points) -> Points:
    """The best figure so far at every measurement."""
    highest = np.maximum.accumulate([figure for _, figure in curve]).tolist()
    return tuple(zip((at for at, _ in curve), highest, strict=True))


def _along(points: Points, places: Sequence[int]) -> NDArray[np.float64]:
    """(places,) the figure at each of these, none of which lies before the first point."""
    at, figures = np.array(points, np.float64).T
    return np.asarray(np.interp(places, at, figures))


def _at(points: Points, place: int) -> float:
    """On straight lines between points; minus infinity before the first."""
    after = bisect_right(points, place, key=lambda point: point[0])
    if after == 0:
        return -math.inf
    left, low = points[after - 1]
    if after == len(points):
        return low
    right, high = points[after]
    return low + (high - low) * (place - left) / (right - left)


def _thinned(points: Sequence[tuple[int, float]]) -> Points:
    """So many of them evenly chosen, the first and the last included."""
    count = min(len(points), _MOST_POINTS)
    return tuple(points[i] for i in np.linspace(0, len(points) - 1, count).round().astype(int))
