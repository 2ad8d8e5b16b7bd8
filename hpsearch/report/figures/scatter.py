"""Trials as dots coloured by their score, and a dimension's scale on an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hpsearch.report.figures.labels import value_label, words
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import number
from hpsearch.space import Choices, Dimension, Interval, frozen, label

# From pale to dark, told apart by everybody (Nunez, Anderton and Renslow 2018).
_COLOURS = "cividis_r"
# Scores below this quantile share the palest colour: how bad the bad ones are is of no interest.
_PALEST = 0.25
_DOT: Any = {"s": 17, "linewidths": 0.3, "edgecolors": "#555555", "zorder": 3}
_ELITE: Any = _DOT | {"s": 26, "linewidths": 0.9, "edgecolors": "#000000", "zorder": 4}
_LOST: Any = {"marker": "x", "color": "#999999", "s": 14, "linewidths": 0.8, "zorder": 2}

Coordinates = Sequence[float]


class Dots:
    """Trials in one or several axes, all with the same colours.

    Args:
        trials: All trials of the figure, of which the colours are taken.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        scores = [trial.score for trial in trials if trial.score is not None]
        low, high = (float(np.quantile(scores, _PALEST)), max(scores)) if scores else (0.0, 1.0)
        self._norm = Normalize(low, high if high > low else low + 1e-6)
        self._is_cut = bool(scores) and min(scores) < low
        self._trials = trials

    def draw(self, ax: Axes, trials: Sequence[Trial], x: Coordinates, y: Coordinates) -> None:
        """Draw trials at their places: crosses without a score, elites with a ring."""
        rows = list(zip(trials, x, y, strict=True))
        lost = [(a, b) for trial, a, b in rows if trial.score is None]
        if lost:
            ax.scatter(*zip(*lost, strict=True), **_LOST)
        for is_elite, style in ((False, _DOT), (True, _ELITE)):
            # The best are drawn last, so that none of them lies below another.
            chosen = sorted(
                (r for r in rows if r[0].score is not None and r[0].is_elite == is_elite),
                key=lambda row: row[0].score or 0.0,
            )
            if chosen:
                found, a, b = zip(*chosen, strict=True)
                scores = [trial.score for trial in found]
                ax.scatter(a, b, c=scores, norm=self._norm, cmap=_colours(), **style)

    def key(self, figure: Figure, axes: Sequence[Axes]) -> None:
        """The colour bar."""
        from matplotlib.cm import ScalarMappable

        bar = figure.colorbar(
            ScalarMappable(self._norm, _colours()),
            ax=list(axes),
            extend="min" if self._is_cut else "neither",
            aspect=30,
            pad=0.015,
        )
        bar.set_label("validation accuracy")

    def handles(self) -> list[Line2D]:
        """What the marks mean, for a legend: of those that are there."""
        handles = []
        if any(trial.is_elite for trial in self._trials):
            handles.append(
                Line2D(
                    [],
                    [],
                    marker="o",
                    linestyle="none",
                    color="#FFFFFF00",
                    markeredgecolor=_ELITE["edgecolors"],
                    label="elite",
                )
            )
        if any(trial.score is None for trial in self._trials):
            handles.append(
                Line2D([], [], marker="x", linestyle="none", color="#999999", label="no score")
            )
        return handles


def _colours() -> ListedColormap:
    """Without the palest end, which is lost on white."""
    from matplotlib import colormaps

    return ListedColormap(colormaps[_COLOURS](np.linspace(0.08, 1.0, 256)))


def coordinates(dimension: Dimension, trials: Sequence[Trial]) -> list[float]:
    """Where the trials lie on this dimension's axis; choices stand at 0, 1, 2, ..."""
    return [place(dimension, trial.values[dimension.name]) for trial in trials]


def place(dimension: Dimension, value: Any) -> float:
    """Where a value lies on this dimension's axis."""
    if isinstance(dimension.range, Interval):
        return float(value)
    order = [label(option) for option in dimension.range.options]
    return float(order.index(label(frozen(value))))


def scaled(ax: Axes, material: Material, dimension: Dimension, axis: Literal["x", "y"]) -> None:
    """Name an axis, and give it the dimension's own scale."""
    side = ax.xaxis if axis == "x" else ax.yaxis
    side.set_label_text(words(dimension.name))
    if isinstance(dimension.range, Choices):
        options = material.options(dimension.name)
        names = [_short(value_label(dimension.name, option, options)) for option in options]
        side.set_ticks(range(len(names)), labels=names)
        return
    if dimension.range.scale == "log":
        (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
        # As everywhere else here; matplotlib's own are mathematics, which names must never be.
        side.set_major_formatter(FuncFormatter(lambda value, _position: number(value)))
    elif dimension.range.integer:
        side.set_major_locator(MaxNLocator(integer=True))


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:21]}..."  # noqa: PLR2004 - what has room beside an axes
