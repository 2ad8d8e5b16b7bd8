"""One trial's curve in an axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes

from hpsearch.report.figures.material import Trial

Smoothing = Callable[[list[float]], list[float]]


def plot(ax: Axes, trial: Trial, metric: str, *, smoothing: Smoothing = list, **style: Any) -> None:
    """Draw a metric of a trial: a dot if it was measured once, a cross where it diverged.

    Args:
        ax: Where.
        trial: Whose curve.
        metric: Which metric; nothing is drawn where it was never measured.
        smoothing: What is drawn instead of the values.
        **style: As Axes.plot takes it.
    """
    steps, values = trial.curve(metric)
    curve = smoothing(values)
    marker = "o" if len(steps) == 1 and not trial.diverged else None
    ax.plot(steps, curve, marker=marker, **style)
    if trial.diverged and steps:
        ax.plot(steps[-1:], curve[-1:], marker="x", markersize=8, color=style["color"])
