"""Histograms of activations: a row for each trial and step, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.canvas import COLOURS, folded
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import number

# More rows make a picture that no screen shows: these are 23.6 inches.
_MOST_ROWS = 12
# Inches; a label of 22 letters stands upright beside a row.
_ROW_HEIGHT, _LABEL = 1.9, 22
# Bars of a row: the same for all layers, so that a layer whose activations shrink looks like it.
_BARS = 30

Row = tuple[str, Sequence[JSON]]
TrialRows = tuple[Trial, list[Row]]


def layers(material: Material) -> Figure:
    """Activations of every layer, with mean, deviation, and shares of dead and saturated units.

    Of more rows than 12 those of the best trials, a trial's rows together.

    Raises:
        CannotDrawError: If no trial was diagnosed.
    """
    every = [(trial, rows) for trial in material.trials if (rows := _rows(material, trial))]
    if not every:
        raise CannotDrawError(
            "no finished trial had its hidden layers diagnosed; [training] diagnose asks for it"
        )
    shown = _fitting(material, every)
    rows = [row for _, of_trial in shown for row in of_trial]
    columns = max(len(measured) for _, measured in rows)
    size = (max(2.1 * columns + 0.8, 6.0), _ROW_HEIGHT * len(rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    title = material.title(f"activations of each layer{_which(shown, every)}")
    figure.suptitle(folded(title, round(size[0] * 9)))
    grid = figure.subplots(len(rows), columns, sharex="row", sharey="row", squeeze=False)
    for (label, measured), axes in zip(rows, grid, strict=True):
        _draw_row(list(axes), label, measured)
    figure.supxlabel("activation", fontsize=10)
    return figure


def rebinned(histogram: JSON, low: float, high: float, bars: int) -> list[float]:
    """Shares of a histogram's counts in `bars` bins from `low` to `high`.

    What lies in one bin of the histogram is taken as spread evenly over it.

    Args:
        histogram: {"low", "high", "counts"}, within `low` and `high`.
        low: Where the first bar begins.
        high: Where the last bar ends.
        bars: How many.
    """
    counts = np.asarray(histogram["counts"], dtype=float)
    start, end = _widened(histogram["low"], histogram["high"], low, high)
    edges = np.linspace(start, end, len(counts) + 1)
    below = np.concatenate([[0.0], np.cumsum(counts)]) / max(counts.sum(), 1.0)
    shares = np.diff(np.interp(np.linspace(low, high, bars + 1), edges, below))
    return [float(share) for share in shares]


def _widened(start: float, end: float, low: float, high: float) -> tuple[float, float]:
    """A histogram's ends, a speck apart within `low` and `high` where all activations are one."""
    speck = (high - low) / 100_000
    if end - start >= speck:
        return start, end
    start = min(max(start, low), high - speck)
    return start, start + speck


def _rows(material: Material, trial: Trial) -> list[Row]:
    """A row for each diagnosis of a network with hidden layers."""
    found = [(d["step"], hidden) for d in trial.diagnoses if (hidden := _hidden(d["layers"]))]
    unit = material.unit_of(trial)
    names = [f"{unit} {step}: " if step else "untrained: " for step, _ in found]
    # A trial that was only looked into before training needs no word for it.
    if [step for step, _ in found] == [0]:
        names = [""]
    return [(name + trial.label, hidden) for name, (_, hidden) in zip(names, found, strict=True)]


def _fitting(material: Material, every: Sequence[TrialRows]) -> list[TrialRows]:
    """All trials, or of too many as many of the best as have room with all their rows."""
    if sum(len(rows) for _, rows in every) <= _MOST_ROWS:
        return list(every)
    places = {trial.number: at for at, trial in enumerate(material.best(len(material.trials)))}
    order = sorted(every, key=lambda one: places.get(one[0].number, len(places)))
    ends = accumulate(len(rows) for _, rows in order)
    fitting = [one for one, end in zip(order, ends, strict=True) if end <= _MOST_ROWS]
    first, rows = order[0]
    return fitting or [(first, rows[:_MOST_ROWS])]


def _which(shown: Sequence[TrialRows], every: Sequence[TrialRows]) -> str:
    """What a title says where rows are left out."""
    words = ""
    if len(shown) < len(every):
        best = "" if any(trial.score is None for trial, _ in shown) else "best "
        words = f", {best}{len(shown)} of {len(every)} trials"
    first, rows = shown[0]
    steps = next(len(all_rows) for trial, all_rows in every if trial is first)
    return words + (f", first {len(rows)} of {steps} steps" if len(rows) < steps else "")


def _hidden(measured: Sequence[JSON]) -> Sequence[JSON]:
    """The layers with an activation; logits would stretch the axes of a whole row."""
    return [layer for layer in measured if layer["activation"]]


def _draw_row(axes: list[Axes], label: str, measured: Sequence[JSON]) -> None:
    low, high = _range(measured)
    for ax, layer in zip(axes, measured, strict=False):
        ax.set_title(_title(layer), fontsize=8)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        ax.tick_params(labelsize=8)
        if layer["histogram"]:
            _bars(ax, rebinned(layer["histogram"], low, high, _BARS), low, high)
    for ax in axes[len(measured) :]:
        ax.remove()
    axes[0].set_ylabel(f"{folded(label, _LABEL)}\nshare", fontsize=9)
    axes[0].set_xlim(low, high)
    axes[0].set_ylim(bottom=0)


def _range(measured: Sequence[JSON]) -> tuple[float, float]:
    """Where the activations of a row lie; a little room where they are all the same."""
    histograms = [layer["histogram"] for layer in measured if layer["histogram"]]
    low = min((h["low"] for h in histograms), default=0.0)
    high = max((h["high"] for h in histograms), default=1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _bars(ax: Axes, shares: Sequence[float], low: float, high: float) -> None:
    width = (high - low) / len(shares)
    lefts = [low + position * width for position in range(len(shares))]
    ax.bar(lefts, shares, width=width, align="edge", color=COLOURS[0])


def _title(layer: JSON) -> str:
    parts = [f"layer {layer['layer']}: {_short(layer['mean'])} ± {_short(layer['std'])}"]
    shares = [("dead", layer.get("dead")), ("saturated", layer.get("saturated"))]
    parts += [f"{100 * share:.0f} % {name}" for name, share in shares if share is not None]
    return "\n".join(parts)


def _short(value: Any) -> str:
    return "not finite" if value is None else number(value)
