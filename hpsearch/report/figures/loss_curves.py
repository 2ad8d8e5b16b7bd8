"""Training loss of every trial in one axes, smoothed if the study file says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.report.figures.canvas import OTHERS, folded, line_style, single
from hpsearch.report.figures.curves import Smoothing, plot
from hpsearch.report.figures.groups import BEST_NAMED, MOST_NAMED
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count
from hpsearch.states import TrialState

METRIC = "training_loss"


def loss_curves(material: Material) -> Figure:
    """One curve for each trial, with its label; a diverged one ends at a cross.

    Raises:
        CannotDrawError: If no trial has a training loss.
    """
    trials = material.with_metric(METRIC)
    named = trials if len(trials) <= MOST_NAMED else sorted(trials, key=_final)[:BEST_NAMED]
    smoothing = partial(smoothed, window=material.report.smooth)
    labels = (material.unit, "training loss (mean cross-entropy)")
    figure, ax = single(material.title(_title(material.report.smooth)), labels)
    for position, trial in enumerate(named):
        label = _label(trial, material.unit_of(trial))
        plot(ax, trial, METRIC, smoothing=smoothing, label=label, **line_style(position))
    others = [trial for trial in trials if trial not in named]
    for position, trial in enumerate(others):
        legend = {"label": count(len(others), "other trial")} if position == 0 else {}
        plot(ax, trial, METRIC, smoothing=smoothing, **OTHERS, **legend)
    _limit(ax, trials, smoothing)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return figure


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of `window` values around each.

    Near the beginning of as many as there are before it on both sides, so that a curve begins
    where training did; near the end of those that are there. An even window is taken one smaller.
    """
    half = (window - 1) // 2
    around = [values[max(0, i - half) : i + min(half, i) + 1] for i in range(len(values))]
    return [sum(some) / len(some) for some in around]


def _title(window: int) -> str:
    whole = 2 * ((window - 1) // 2) + 1
    return "training loss" + (f", mean of {whole} measurements" if whole > 1 else "")


def _label(trial: Trial, unit: str) -> str:
    early = trial.state in {TrialState.DIVERGED, TrialState.DISCARDED}
    end = f" ({trial.state} at {unit} {trial.epochs[-1][0]})" if early else ""
    return folded(trial.label + end, 36)


def _final(trial: Trial) -> tuple[bool, float]:
    return trial.diverged, trial.curve(METRIC)[1][-1]


def _limit(ax: Axes, trials: Sequence[Trial], smoothing: Smoothing) -> None:
    """From 0 to the largest loss of a trial that did not diverge: those that did leave the top."""
    calm = [trial for trial in trials if not trial.diverged] or trials
    ax.set_ylim(0, 1.05 * max(max(smoothing(t.curve(METRIC)[1])) for t in calm) or 1)
