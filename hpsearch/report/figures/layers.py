"""Histograms of activations: a row for each trial, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.canvas import COLOURS, folded
from hpsearch.report.figures.material import Material
from hpsearch.report.numbers import number

# More rows make a picture that no screen shows.
_MOST_ROWS = 12


def layers(material: Material) -> Figure:
    """Activations of every layer, with mean, deviation, and shares of dead and saturated units.

    Raises:
        CannotDrawError: If the study file asked for no diagnosis.
    """
    rows = [
        (trial.label + (f", {material.unit} {d['step']}" if d["step"] else ""), d["layers"])
        for trial in material.trials
        for d in trial.diagnoses
    ]
    if not rows:
        raise CannotDrawError("no finished trial was diagnosed: [training] diagnose = [0] asks it")
    what = "activations of each layer, as a share of all"
    cut = f", first {_MOST_ROWS} of {len(rows)}" if len(rows) > _MOST_ROWS else ""
    rows = rows[:_MOST_ROWS]
    columns = max(len(layers_of_row) for _, layers_of_row in rows)
    size = (max(2.1 * columns + 0.8, 6.0), 1.9 * len(rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(material.title(what + cut))
    grid = figure.subplots(len(rows), columns, sharex="row", sharey="row", squeeze=False)
    for (label, measured), axes in zip(rows, grid, strict=True):
        _draw_row(axes, label, measured)
    figure.supxlabel("activation")
    return figure


def _draw_row(axes: Sequence[Axes], label: str, measured: Sequence[JSON]) -> None:
    for ax, layer in zip(axes, measured, strict=False):
        _histogram(ax, layer["histogram"])
        ax.set_title(_title(layer), fontsize=8)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        ax.tick_params(labelsize=8)
    for ax in axes[len(measured) :]:
        ax.remove()
    axes[0].set_ylabel(folded(label, 22), fontsize=9)
    axes[0].set_xlim(min(m["histogram"]["low"] for m in measured), _high(measured))


def _histogram(ax: Axes, histogram: dict[str, Any]) -> None:
    counts, low, high = histogram["counts"], histogram["low"], histogram["high"]
    total, width = sum(counts) or 1, (high - low) / len(counts)
    lefts = [low + position * width for position in range(len(counts))]
    shares = [one / total for one in counts]
    ax.bar(lefts, shares, width=width, align="edge", color=COLOURS[0])


def _high(measured: Sequence[JSON]) -> float:
    return float(max(layer["histogram"]["high"] for layer in measured))


def _title(layer: JSON) -> str:
    parts = [f"layer {layer['layer']}: {number(layer['mean'])} ± {number(layer['std'])}"]
    shares = [("dead", layer.get("dead")), ("saturated", layer.get("saturated"))]
    parts += [f"{100 * share:.0f} % {name}" for name, share in shares if share is not None]
    return "\n".join(parts)
