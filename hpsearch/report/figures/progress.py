"""The best score so far: over the trials, and over the seconds they took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import BORDER, COLOURS, folded
from hpsearch.report.figures.control import best_so_far
from hpsearch.report.figures.material import Material, Trial

_TRIAL: Any = {"s": 7, "color": "#BBBBBB", "zorder": 1.5, "linewidths": 0}
_BEST: Any = {"color": COLOURS[0], "where": "post", "label": "best single trial so far"}
_WINNER: Any = {"color": COLOURS[2], "linestyle": "--", "linewidth": 1.2}
_MINUTE, _LONG = 60, 600


def progress(material: Material) -> Figure:
    """Best so far, beside what the winner scored over seeds that did not choose it.

    Raises:
        CannotDrawError: If no trial has a score yet.
    """
    scored = [trial for trial in material.trials if trial.score is not None]
    if not scored:
        raise CannotDrawError("no finished trial has a score yet")
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    figure.suptitle(folded(material.title("the best so far"), 80))
    left, right = figure.subplots(1, 2, sharey=True)
    numbers = [float(trial.number + 1) for trial in scored]
    _draw(left, numbers, scored)
    left.set(xlabel="trials", ylabel="validation accuracy")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for number in range(1, max(trial.round for trial in scored)):
        left.axvline(number * material.spec.trials + 0.5, **BORDER)
    _over_time(right, scored)
    _mark_winner((left, right), material)
    _limit(left, scored)
    handles, _ = left.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(ax: Axes, x: Sequence[float], trials: Sequence[Trial]) -> None:
    scores = [trial.score or 0.0 for trial in trials]
    ax.scatter(x, scores, label="trial", **_TRIAL)
    ax.step(x, best_so_far(trials)[1], **_BEST)


def _over_time(ax: Axes, trials: Sequence[Trial]) -> None:
    timed = sorted((t for t in trials if t.finished is not None), key=lambda t: t.finished or 0.0)
    if not timed:
        ax.remove()
        return
    began = min(trial.finished or 0.0 for trial in timed)
    seconds = [(trial.finished or 0.0) - began for trial in timed]
    is_long = seconds[-1] > _LONG
    ax.set_xlabel("minutes since the first result" if is_long else "seconds since the first result")
    _draw(ax, [s / _MINUTE for s in seconds] if is_long else seconds, timed)


def _mark_winner(axes: Sequence[Axes], material: Material) -> None:
    """A single best trial was lucky; what its winner is worth was measured afresh."""
    winner = material.winner
    if winner is None or not material.spec.confirms:
        return
    for ax in axes:
        ax.axhline(winner["score"], label="the winner, over fresh seeds", **_WINNER)


def _limit(ax: Axes, trials: Sequence[Trial]) -> None:
    scores = sorted(trial.score or 0.0 for trial in trials)
    low = scores[len(scores) // 4]  # how bad the bad ones are is of no interest
    margin = 0.08 * (scores[-1] - low) or 0.01
    ax.set_ylim(low - margin, scores[-1] + margin)
