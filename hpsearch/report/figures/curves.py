"""One trial's curve in an axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hpsearch.report.figures.material import Material, Trial

Smoothing = Callable[[list[float]], list[float]]
# Of a measurement before the last, whose weights early stopping kept.
_SCORED: Any = {"marker": "o", "markersize": 4, "linestyle": "none"}


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


def mark_scored(ax: Axes, trial: Trial, metric: str, colour: str) -> None:
    """A dot on a trial's curve where its score belongs to a measurement before the last."""
    if trial.scored_at is None:
        return
    value = trial.at(trial.scored_at, metric)
    if value is not None:
        ax.plot([trial.scored_at], [value], color=colour, **_SCORED)


def scored_key(material: Material, trials: Iterable[Trial]) -> list[Line2D]:
    """The legend's entry for those dots; none where no trial has one."""
    if all(trial.scored_at is None for trial in trials):
        return []
    return [Line2D([], [], color="black", label=f"{material.unit} of the score", **_SCORED)]
