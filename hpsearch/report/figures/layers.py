"""Histograms of activations: a row for each trial, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.canvas import COLOURS, folded
from hpsearch.report.figures.material import Material
from hpsearch.report.numbers import number

# More rows make a picture that no screen shows.
_MOST_ROWS = 12
# Bars of a row: the same for all layers, so that a layer whose activations shrink looks like it.
_BARS = 30

Row = tuple[str, Sequence[JSON]]


def layers(material: Material) -> Figure:
    """Activations of every layer, with mean, deviation, and shares of dead and saturated units.

    Raises:
        CannotDrawError: If no trial was diagnosed.
    """
    every = _rows(material)
    if not every:
        raise CannotDrawError(
            "no finished trial had its hidden layers diagnosed; [training] diagnose asks for it"
        )
    rows = every[:_MOST_ROWS]
    columns = max(len(measured) for _, measured in rows)
    size = (max(2.1 * columns + 0.8, 6.0), 1.9 * len(rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    cut = f", first {len(rows)} of {len(every)}" if len(rows) < len(every) else ""
    figure.suptitle(folded(material.title(f"activations of each layer{cut}"), round(size[0] * 9)))
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


def _rows(material: Material) -> list[Row]:
    """A row for each diagnosis of a network with hidden layers."""
    return [
        (t.label + (f", {material.unit_of(t)} {d['step']}" if d["step"] else ""), hidden)
        for t in material.trials
        for d in t.diagnoses
        if (hidden := _hidden(d["layers"]))
    ]


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
    axes[0].set_ylabel(f"{folded(label, 22)}\nshare", fontsize=9)
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
