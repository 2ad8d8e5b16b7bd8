"""Early discarding: a trial is stopped when it has fallen below what good trials had by then.

The rule (docs/narrowing.md): a trial's level is its best validation accuracy so far. The *band* of
a wave lies so many standard errors below the median level of the elites of everything finished
before the wave, at every number of updates, that at most 5 % of these elites would have been
stopped by it. It is fixed when the wave is planned, so that it depends on no order and on no
worker. A trial below the band is stopped; a few that would be are spared, to show how often the
rule is wrong.
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
# Nobody is judged before so many updates: nobody has learned anything yet. Otherwise the bounds are
# parts of the training, as it is a part that a stop saves.
_LEAST_UPDATES = 30
# From this part on a band counts.
_BAND_SHARE = 0.1
# And from this the floor, which no finished trial speaks for.
_FLOOR_SHARE = 0.2
# The elites that make a band: as those of a round, but no fewer than these.
FEWEST_ELITES = 15
# The band may stop this share of them, so that no single slow one holds it down for all. Of the
# good trials that followed on digits it then stopped 4 %, with 0.08 it was 6 % (docs/narrowing.md).
_GIVEN_UP = 0.05
# So many standard errors above chance a trial has learned something. With six of them nearly all of
# a first wave is stopped at a fifth of the training, and nobody shows the search where to look
# (docs/narrowing.md).
_ABOVE_CHANCE = 3.0
# The most points that a band is kept with.
_MOST_POINTS = 200

Array = NDArray[np.float64]

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

    def at(self, updates: int, of: int) -> float:
        """What the level must not be below after so many updates of so many."""
        band = _at(self.points, updates) if updates >= _band_from(of) else -math.inf
        return max(self.floor, band) if updates >= _floor_from(of) else band


@dataclass(frozen=True)
class Below:
    """The measurement after which a trial was below its threshold for the first time.

    Attributes:
        step: Its number: the epoch or iteration.
        threshold: What the level was below; None where a pruner has no such figure.
        stands_for: What the score is taken for by the surrogate, as the trial has none. It stays
            as far below the threshold as it was.
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
        self._threshold, self._per_step, self._updates = threshold, per_step, last * per_step
        self._spared = spared
        self._level = -math.inf
        self.below: Below | None = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Look at a measurement: whether to stop now."""
        self._level = max(self._level, metrics[METRIC])
        wanted = self._threshold.at(step * self._per_step, self._updates)
        if self.below is not None or self._level >= wanted:
            return False
        at_the_end = self._threshold.at(self._updates, self._updates)
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

    Three standard errors above chance, and at most half way from chance to 1: with few rows more
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


def _band_from(updates: int) -> float:
    """After how many updates a training of so many is judged by a band."""
    return max(_LEAST_UPDATES, _BAND_SHARE * updates)


def _floor_from(updates: int) -> float:
    """After how many updates a training of so many is judged by the floor."""
    return max(_LEAST_UPDATES, _FLOOR_SHARE * updates)


def band(first: int, curves: Sequence[Points], rows: int) -> Band | None:
    """The band that these curves of good trials make.

    It follows their median, as many standard errors below as it takes to leave nearly all of them
    alone for as long as they would have been judged.

    Args:
        first: Number of the first trial it is for.
        curves: (updates, validation accuracy) of each.
        rows: Validation rows.

    Returns:
        None where no curve has a measurement late enough to judge by.
    """
    levels = [_levels(curve) for curve in curves if curve]
    # Before every one of them was measured, nobody knows what the slowest had.
    start = max([_LEAST_UPDATES, *(curve[0][0] for curve in levels)])
    places = sorted({at for curve in levels for at, _ in curve if at >= start})
    if not places:
        return None
    middle = np.median([_along(curve, places) for curve in levels], axis=0)
    errors = np.array([standard_error(level, rows) for level in middle.tolist()])
    depths = sorted(_depth(curve, places, middle, errors) for curve in levels)
    depth = depths[len(depths) - 1 - math.floor(_GIVEN_UP * len(depths))]
    # Half a row lower, so that whoever is level with the slowest of them is not below.
    thresholds = (middle - depth * errors - 0.5 / rows).tolist()
    return Band(first, _thinned(list(zip(places, thresholds, strict=True))))


def band_for(bands: Sequence[Band], number: int) -> Band | None:
    """The newest band that is for a trial of this number."""
    return next((band for band in reversed(bands) if band.first <= number), None)


def _levels(curve: Points) -> Points:
    """The best figure so far at every measurement."""
    highest = np.maximum.accumulate([figure for _, figure in curve]).tolist()
    return tuple(zip((at for at, _ in curve), highest, strict=True))


def _depth(levels: Points, places: Sequence[int], middle: Array, errors: Array) -> float:
    """How many standard errors a trial was below the middle at worst, where it is judged."""
    end = levels[-1][0]
    start = max(places[0], _band_from(end))
    judged = [(at, level) for at, level in levels if start <= at < end]
    if not judged:
        return 0.0
    at, level = np.array(judged).T
    below = np.interp(at, places, middle) - level
    return max(0.0, float((below / np.interp(at, places, errors)).max()))


def _along(points: Points, places: Sequence[int]) -> Array:
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
