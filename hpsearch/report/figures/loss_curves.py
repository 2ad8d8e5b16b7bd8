"""Training loss of every trial in one axes, smoothed if the study file says so."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.report.figures.canvas import QUIET, folded, line_style, single
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count

METRIC = "training_loss"
# More curves than this cannot be told apart: then the best few have a colour, the others none.
_MOST_NAMED, _BEST_NAMED = 12, 5


def loss_curves(material: Material) -> Figure:
    """One curve for each trial, with its label; a diverged one ends at a cross.

    Raises:
        CannotDrawError: If no trial has a training loss.
    """
    trials = material.with_metric(METRIC)
    named = trials if len(trials) <= _MOST_NAMED else sorted(trials, key=_final)[:_BEST_NAMED]
    window = material.report.smooth
    figure, ax = single(material.title(_title(window)))
    for position, trial in enumerate(named):
        _plot(ax, trial, window, _label(trial, material.unit), line_style(position))
    others = [trial for trial in trials if trial not in named]
    for position, trial in enumerate(others):
        label = count(len(others), "other trial") if position == 0 else None
        _plot(ax, trial, window, label, {"color": QUIET, "linewidth": 0.7, "zorder": 1.5})
    _limit(ax, trials, window)
    ax.set_xlabel(material.unit)
    ax.set_ylabel("training loss (mean cross-entropy)")
    figure.legend(loc="outside right upper")
    return figure


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of `window` values around each; near the ends of as many as fit evenly around it.

    An even window is taken one smaller, so that it has a middle.
    """
    half = (window - 1) // 2
    means = []
    for at in range(len(values)):
        reach = min(half, at, len(values) - 1 - at)
        around = values[at - reach : at + reach + 1]
        means.append(sum(around) / len(around))
    return means


def _title(window: int) -> str:
    whole = 2 * ((window - 1) // 2) + 1
    return "training loss" + (f", mean of {whole} measurements" if whole > 1 else "")


def _plot(ax: Axes, trial: Trial, window: int, label: str | None, style: dict[str, object]) -> None:
    steps, values = trial.curve(METRIC)
    marker = "o" if len(steps) == 1 else None
    curve = smoothed(values, window)
    ax.plot(steps, curve, label=label, marker=marker, **style)  # type: ignore[arg-type]
    if trial.diverged:
        ax.plot(steps[-1:], curve[-1:], marker="x", color=style["color"], markersize=9)


def _label(trial: Trial, unit: str) -> str:
    end = f" (diverged at {unit} {trial.epochs[-1][0]})" if trial.diverged else ""
    return folded(trial.label + end, 34)


def _final(trial: Trial) -> tuple[bool, float]:
    return trial.diverged, trial.curve(METRIC)[1][-1]


def _limit(ax: Axes, trials: Sequence[Trial], window: int) -> None:
    """From 0 to the largest loss of a trial that did not diverge: those that did leave the top."""
    calm = [trial for trial in trials if not trial.diverged] or trials
    ax.set_ylim(0, 1.05 * max(max(smoothed(t.curve(METRIC)[1], window)) for t in calm) or 1)
