"""Testbeds: what a search is judged on without training anything, because the truth is known.

A testbed scores any point of a box in about a millisecond: it draws a score as one training would,
and knows the mean that many trainings would approach. Points are *positions*: (points, dimensions)
float64, from 0 to 1 of every range of the limits, in log space where the range is logarithmic.

- `australian-2d` and its kind: tables of scikit-learn networks trained five times at every point of
  a grid (HPOBench: Eggensperger et al., NeurIPS 2021), in 2, 4 or 5 dimensions.
- `mnist-500`: the network of studies/mnist-500.toml on a grid; mnist_500_grid.py made it.
- `interaction`, `plateau`, `two-optima`, `cliff`, `no-effect`: formulas with Gaussian noise.

A name that ends in `-cut` is the same function with a declared range that leaves the optimum out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtri
from scipy.stats import qmc

from hpsearch.data.folders import data_folder
from hpsearch.errors import DataError
from hpsearch.space import Box, Dimension, Interval, Value

Array = NDArray[np.float64]
Mean = Callable[[Array], Array]
Draw = Callable[[Array, NDArray[np.int64]], Array]

MNIST_500 = Path(__file__).resolve().parent / "data" / "mnist_500.npz"
DATA_SETS = ("australian", "car", "phoneme", "segment")
# What the tables of HPOBench are searched over, by the number of dimensions; what is left out
# stays at its best value.
SEARCHED = {
    2: ("alpha", "learning_rate"),
    4: ("alpha", "batch_size", "learning_rate", "width"),
    5: ("alpha", "batch_size", "depth", "learning_rate", "width"),
}
# How far below the best the best within a cut range is at least, in standard deviations of the
# noise, and how much is left of the limits' width.
CUT, LEAST_LEFT = 3.0, 0.3
# The share of the noise's variance that a seed brings to all points alike in formulas: as near the
# top of mnist-500. The tables bring their own.
SHARED = 0.3
# Points that stand for a whole box where its median or its upper end is looked for.
SPREAD = 2**13
NEAR_THE_TOP = 0.95
# Steps from one line of a grid to the next where the best may lie between them.
BETWEEN = 10


# ------------------------------------------------------------------- a testbed


@dataclass(frozen=True)
class Testbed:
    """A function to be searched whose truth is known. Scores are maximised.

    Attributes:
        name: What it is called in tables.
        declared: The box that a study of it would declare.
        limits: The box that no search may leave; it holds the declared one.
        mean: (points, dimensions) positions -> (points,) mean score over all seeds, a diverged
            training counting 0 as it does when a winner is confirmed.
        draw: Positions and one seed a point -> (points,) scores as trainings would give them, NaN
            where one diverged. The same point with the same seed gives the same score.
        best: The highest mean within the limits.
        median: The median of the mean within the limits: what a point drawn blindly is worth.
        noise: Standard deviation of a drawn score near the top.

    Raises:
        ValueError: If the boxes do not belong together, or the numbers cannot be.
    """

    name: str
    declared: Box
    limits: Box
    mean: Mean
    draw: Draw
    best: float
    median: float
    noise: float

    def __post_init__(self) -> None:
        if self.declared.names != self.limits.names:
            raise ValueError(f"{self.name}: declared and limits name different dimensions")
        for dimension in self.declared.dimensions:
            outer = self.limits[dimension.name]
            if not all(outer.contains(end) for end in dimension.range.ends()):
                raise ValueError(f"{self.name}: {dimension.name} is declared beyond its limits")
        if not self.median < self.best:
            raise ValueError(f"{self.name}: median {self.median} is not below best {self.best}")
        if not self.noise > 0:
            raise ValueError(f"{self.name}: noise must be above 0, got {self.noise}")

    @property
    def dimensions(self) -> int:
        """How many there are."""
        return len(self.limits.dimensions)

    @property
    def is_cut(self) -> bool:
        """Whether the declared box is smaller than the limits."""
        return self.declared != self.limits

    def declared_ends(self) -> tuple[Array, Array]:
        """(dimensions,) lower and upper positions of the declared box."""
        pairs = zip(_intervals(self.declared), _intervals(self.limits), strict=True)
        ends = [(outer.position(inner.low), outer.position(inner.high)) for inner, outer in pairs]
        low, high = np.array(ends).T
        return low, high

    def values(self, positions: ArrayLike) -> list[dict[str, Value]]:
        """The values that stand at these positions, as a trial would be given them."""
        return [self.limits.at(row) for row in np.asarray(positions, np.float64).tolist()]

    def positions(self, values: Sequence[Mapping[str, Any]]) -> Array:
        """(points, dimensions) where these values, all numbers, stand; cut off at the limits."""
        ranges = dict(zip(self.limits.names, _intervals(self.limits), strict=True))
        rows = [[range_.position(v[name]) for name, range_ in ranges.items()] for v in values]
        return np.clip(np.array(rows, np.float64).reshape(-1, self.dimensions), 0.0, 1.0)

    def regret(self, positions: ArrayLike) -> Array:
        """(points,) what is missing to the best: 0 at the best, 1 at the median of the limits."""
        means = self.mean(np.asarray(positions, np.float64))
        return (self.best - means) / (self.best - self.median)


def _intervals(box: Box) -> list[Interval]:
    """The ranges of a box that holds no choices, as those of all testbeds do."""
    return [d.range for d in box.dimensions if isinstance(d.range, Interval)]


def spread(dimensions: int) -> Array:
    """(SPREAD, dimensions) positions that lie evenly in the limits, always the same."""
    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(0))
    return np.asarray(engine.random(SPREAD))


def cut(bed: Testbed, dimension: str, low: float, high: float) -> Testbed:
    """The same function, declared between two positions of one dimension's limits only."""
    dimensions = [
        Dimension(d.name, d.range.between(low, high))
        if d.name == dimension and isinstance(d.range, Interval)
        else d
        for d in bed.limits.dimensions
    ]
    return replace(bed, name=f"{bed.name}-cut", declared=Box(tuple(dimensions)))


def _counted(scores: Array) -> Array:
    """The scores as a mean counts them: what diverged is 0."""
    return np.nan_to_num(scores, nan=0.0)


# ---------------------------------------------------------------------- tables


class Table:
    """Scores on a grid, once for every seed, and between its points by multilinear interpolation.

    Every seed has a surface of its own, so that neighbours with one seed share their luck, as
    trainings from the same initial weights do. Any whole number is a seed: it takes its turn.

    Args:
        axes: Positions of the grid's lines, from 0 to 1, one array per dimension.
        scores: (points along each axis ..., seeds); NaN where a training diverged. Between
            diverged and other points it is as at whichever of the two has more weight.

    Raises:
        ValueError: If axes and scores do not fit each other.
    """

    def __init__(self, axes: Sequence[Array], scores: NDArray[np.floating]) -> None:
        if scores.shape[:-1] != tuple(map(len, axes)):
            raise ValueError(
                f"axes of {[len(axis) for axis in axes]} points, scores {scores.shape}"
            )
        finite = np.isfinite(scores)
        self._filled = RegularGridInterpolator(axes, np.where(finite, scores, 0.0))
        self._finite = None if finite.all() else RegularGridInterpolator(axes, finite * 1.0)
        self._axes = axes
        self.seeds = scores.shape[-1]

    def surfaces(self, positions: Array) -> Array:
        """(points, seeds) scores; NaN where diverged."""
        scores: Array = self._filled(positions)
        if self._finite is None:
            return scores
        weight: Array = self._finite(positions)
        over = weight > 0.5
        return np.divide(scores, weight, out=np.full_like(scores, np.nan), where=over)

    def draw(self, positions: Array, seeds: NDArray[np.int64]) -> Array:
        """(points,) every point's score on the surface of its seed."""
        turns = np.asarray(seeds) % self.seeds
        return np.take_along_axis(self.surfaces(positions), turns[:, None], axis=1)[:, 0]

    def mean(self, positions: Array) -> Array:
        """(points,) mean over the seeds; diverged trainings count 0."""
        means: Array = _counted(self.surfaces(positions)).mean(axis=1)
        return means

    def best_position(self) -> Array:
        """(dimensions,) where the mean is highest."""
        lines = np.meshgrid(*map(self._looked_at, self._axes), indexing="ij")
        points = np.stack([line.ravel() for line in lines], axis=-1)
        best: Array = points[self.mean(points).argmax()]
        return best

    def ceiling(self, dimension: int, places: Array) -> Array:
        """(places,) highest mean with one dimension at each of these; nothing may have diverged."""
        means = np.moveaxis(self._filled.values.mean(axis=-1), dimension, 0)
        lines = means.reshape(len(means), -1)
        between = RegularGridInterpolator((self._axes[dimension],), lines)(places[:, None])
        highest: Array = between.max(axis=1)
        return highest

    def _looked_at(self, axis: Array) -> Array:
        """Where the best may be: on a line of the grid, or between two where some diverged."""
        if self._finite is None:
            return axis
        numbers = np.arange(len(axis))
        return np.interp(np.linspace(0, numbers[-1], numbers[-1] * BETWEEN + 1), numbers, axis)


def tabulated(name: str, limits: Box, table: Table) -> Testbed:
    """The testbed of a table whose declared range is all of its limits."""
    points = spread(len(limits.dimensions))
    surfaces = table.surfaces(points)
    means = _counted(surfaces).mean(axis=1)
    top = surfaces[means >= np.quantile(means, NEAR_THE_TOP)]
    return Testbed(
        name=name,
        declared=limits,
        limits=limits,
        mean=table.mean,
        draw=table.draw,
        best=float(table.mean(table.best_position()[None])[0]),
        median=float(np.median(means)),
        noise=float(np.sqrt(np.nanvar(top, axis=1).mean())),
    )


def hpobench(
    data_set: str, dimensions: int, *, is_cut: bool = False, data_dir: Path | None = None
) -> Testbed:
    """A table of HPOBench; whole numbers among its hyperparameters are searched as any number.

    Args:
        data_set: One of DATA_SETS.
        dimensions: 2, 4 or 5; see SEARCHED.
        is_cut: Whether the declared learning rates leave the optimum out.
        data_dir: Folder with `hpobench/*.npz`, None for that of HPSEARCH_DATA.

    Raises:
        DataError: If the table is not there.
        ValueError: If the table cannot be cut.
    """
    with np.load(_hpobench_file(data_set, data_dir), allow_pickle=False) as arrays:
        searched = SEARCHED[dimensions]
        accuracy = _at_the_best(arrays["accuracy"], searched)
        lines = {name: arrays[name].astype(np.float64) for name in searched}
    limits = _box(lines)
    table = Table(_axes(limits, lines), accuracy)
    whole = tabulated(f"{data_set}-{dimensions}d", limits, table)
    return _without_its_best_rates(whole, table) if is_cut else whole


def _hpobench_file(data_set: str, data_dir: Path | None) -> Path:
    folder = data_folder(data_dir)
    if folder is None:
        raise DataError(
            f"{data_set}: HPOBench's tables are read from HPSEARCH_DATA/hpobench; set HPSEARCH_DATA"
        )
    file = folder[0] / "hpobench" / f"{data_set}.npz"
    if not file.is_file():
        raise DataError(f"{file}: not there; {folder[1]} must name a folder with HPOBench's tables")
    return file


def _at_the_best(accuracy: NDArray[np.float32], searched: Sequence[str]) -> Array:
    """The part of the whole table where every axis that is not searched stands at its best."""
    mean = accuracy.mean(axis=-1, dtype=np.float64)
    best = np.unravel_index(mean.argmax(), mean.shape)
    places = zip(SEARCHED[5], best, strict=True)
    part = tuple(slice(None) if name in searched else int(place) for name, place in places)
    return accuracy[part].astype(np.float64)


def _box(lines: dict[str, Array]) -> Box:
    """From the first to the last line of every axis, in log space."""
    ranges = {
        name: Interval(float(line[0]), float(line[-1]), "log") for name, line in lines.items()
    }
    return Box(tuple(Dimension(name, range_) for name, range_ in ranges.items()))


def _axes(limits: Box, lines: dict[str, Array]) -> list[Array]:
    """The positions of the lines; the outermost ones are 0 and 1 exactly."""
    pairs = zip(_intervals(limits), lines.values(), strict=True)
    return [np.array([range_.position(float(x)) for x in line]) for range_, line in pairs]


def _without_its_best_rates(whole: Testbed, table: Table) -> Testbed:
    """The testbed with the widest declared learning rates that are all clearly worse than the best.

    Raises:
        ValueError: If there are too few such rates.
    """
    places = np.linspace(0.0, 1.0, 201)
    highest = table.ceiling(whole.limits.names.index("learning_rate"), places)
    poor = highest <= whole.best - CUT * whole.noise
    below = places[np.logical_and.accumulate(poor)]
    above = places[np.logical_and.accumulate(poor[::-1])[::-1]]
    part = max(below, above, key=len)
    if not len(part) or np.ptp(part) < LEAST_LEFT:
        raise ValueError(f"{whole.name}: good learning rates are everywhere, it cannot be cut")
    return cut(whole, "learning_rate", part[0], part[-1])


def mnist_500() -> Testbed:
    """The experiment of studies/mnist-500.toml: declared as there, within its wider limits.

    Raises:
        DataError: If its grid is not there.
    """
    if not MNIST_500.is_file():
        raise DataError(f"{MNIST_500}: not there; run benchmarks/mnist_500_grid.py")
    with np.load(MNIST_500, allow_pickle=False) as arrays:
        lines = {name: arrays[name] for name in ("learning_rate", "weight_decay")}
        accuracy = arrays["accuracy"].astype(np.float64)
    limits = _box(lines)
    whole = tabulated("mnist-500", limits, Table(_axes(limits, lines), accuracy))
    declared = {"learning_rate": (1e-6, 1e-2), "weight_decay": (1e-8, 1e-4)}
    ranges = (Dimension(name, Interval(*ends, "log")) for name, ends in declared.items())
    return replace(whole, declared=Box(tuple(ranges)))


# -------------------------------------------------------------------- formulas


@dataclass(frozen=True)
class Formula:
    """A mean score in the unit square with Gaussian noise; NaN where every training diverges.

    The noise has two parts, as that of real trainings has: what a seed brings to all points alike,
    and what it brings to this one only.

    Attributes:
        mean: (points, 2) positions -> (points,).
        noise: Standard deviation of both parts together.
    """

    mean: Mean
    noise: float

    def draw(self, positions: Array, seeds: NDArray[np.int64]) -> Array:
        """(points,) mean plus the noise of every point with its seed."""
        keys = np.asarray(seeds, np.int64)[:, None].view(np.uint8)
        alike = _normal(keys)
        alone = _normal(np.hstack([keys, np.ascontiguousarray(positions).view(np.uint8)]))
        noise = self.noise * (math.sqrt(SHARED) * alike + math.sqrt(1 - SHARED) * alone)
        return self.mean(positions) + noise

    def counted(self, positions: Array) -> Array:
        """(points,) mean, where diverging counts 0."""
        return _counted(self.mean(positions))


def _normal(keys: NDArray[np.uint8]) -> Array:
    """(keys,) standard normal numbers, each of which belongs to its row of bytes."""
    digests = b"".join(blake2b(key.tobytes(), digest_size=8).digest() for key in keys)
    # 53 bits and a half lie strictly between 0 and 1 in float64.
    uniform = ((np.frombuffer(digests, "<u8") >> np.uint64(11)) + 0.5) / 2**53
    return np.asarray(ndtri(uniform))


def _in_the_square(name: str, mean: Mean, best: float, noise: float = 0.01) -> Testbed:
    """A formula over x and y from 0 to 1, declared whole."""
    formula = Formula(mean, noise)
    square = Box(tuple(Dimension(axis, Interval(0.0, 1.0)) for axis in ("x", "y")))
    median = float(np.median(formula.counted(spread(2))))
    return Testbed(name, square, square, formula.counted, formula.draw, best, median, noise)


def interaction() -> Testbed:
    """A ridge across both dimensions: neither is good or bad by itself."""

    def mean(at: Array) -> Array:
        x, y = at.T
        across, along = x + y - 1.1, x - y - 0.1
        return 0.9 - 3.0 * across**2 - 0.3 * along**2

    return _in_the_square("interaction", mean, best=0.9)


def plateau() -> Testbed:
    """Nothing up to a threshold of x, and all equally good well above it."""

    def mean(at: Array) -> Array:
        x, _ = at.T
        return 0.9 / (1.0 + np.exp(-30.0 * (x - 0.4)))

    return _in_the_square("plateau", mean, best=0.9 / (1.0 + math.exp(-18.0)))


def two_optima() -> Testbed:
    """Two hills in an empty land, one slightly higher than the other."""

    def mean(at: Array) -> Array:
        first = 0.80 * np.exp(-((at - (0.20, 0.30)) ** 2).sum(axis=1) / 0.02)
        second = 0.83 * np.exp(-((at - (0.75, 0.70)) ** 2).sum(axis=1) / 0.02)
        return np.asarray(np.maximum(first, second))

    return _in_the_square("two-optima", mean, best=0.83)


def cliff() -> Testbed:
    """Better and better towards an edge of x, beyond which every training diverges."""

    def mean(at: Array) -> Array:
        x, y = at.T
        return np.where(x <= 0.75, 0.3 + 0.8 * x - 0.2 * (y - 0.5) ** 2, np.nan)

    return _in_the_square("cliff", mean, best=0.9)


def no_effect() -> Testbed:
    """Only x matters."""

    def mean(at: Array) -> Array:
        x, _ = at.T
        return 0.9 - 2.0 * (x - 0.7) ** 2

    return _in_the_square("no-effect", mean, best=0.9)


# ----------------------------------------------------------------------- names

FORMULAS: dict[str, Callable[[], Testbed]] = {
    "interaction": interaction,
    "plateau": plateau,
    "two-optima": two_optima,
    "cliff": cliff,
    "no-effect": no_effect,
    "no-effect-cut": lambda: cut(no_effect(), "x", 0.0, 0.45),
}
# With more dimensions, the other two tables have good scores at nearly every learning rate.
_CAN_BE_CUT = {2: DATA_SETS, 4: ("phoneme", "segment"), 5: ("phoneme", "segment")}
TABLES = {
    f"{data_set}-{dimensions}d{'-cut' if is_cut else ''}": (data_set, dimensions, is_cut)
    for dimensions, data_set, is_cut in product(SEARCHED, DATA_SETS, (False, True))
    if not is_cut or data_set in _CAN_BE_CUT[dimensions]
}
NAMES = ("mnist-500", *FORMULAS, *TABLES)


def named(name: str, data_dir: Path | None = None) -> Testbed:
    """The testbed of this name.

    Args:
        name: One of NAMES.
        data_dir: Folder with `hpobench/*.npz`, None for that of HPSEARCH_DATA.

    Raises:
        DataError: If the file it is read from is not there.
        KeyError: If there is none.
    """
    if name == "mnist-500":
        return mnist_500()
    if name in FORMULAS:
        return FORMULAS[name]()
    data_set, dimensions, is_cut = TABLES[name]
    return hpobench(data_set, dimensions, is_cut=is_cut, data_dir=data_dir)
