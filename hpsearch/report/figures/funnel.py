"""The range of every dimension in every round, and the trials that it was decided on."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.canvas import BORDER, folded
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.scatter import Dots, coordinates, place, scaled
from hpsearch.space import Choices, Dimension, frozen, label

# A page has no more room; the dimensions of a study rarely go beyond.
_MOST = 8
_BAND: Any = {"color": "#0072B2", "alpha": 0.13, "linewidth": 0, "zorder": 1}
_ENDS: Any = {"color": "#0072B2", "linewidth": 1.4, "zorder": 2}
_NEXT: Any = {"facecolor": "none", "edgecolor": "#0072B2", "hatch": "////", "alpha": 0.45}
_DECLARED: Any = {"color": "#000000", "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 2}
# The ranges after the last round stand right of its trials, as wide as this share of a round.
_NEXT_WIDTH = 0.14


def funnel(material: Material) -> Figure:
    """Each round's range of each dimension on its own scale, and the trials as dots.

    Raises:
        CannotDrawError: If no trial is finished, or the study narrows nothing.
    """
    if material.spec.is_grid:
        raise CannotDrawError("a grid tries every combination and narrows nothing")
    if not material.trials:
        raise CannotDrawError("no trial is finished yet")
    dimensions = material.spec.space.dimensions[:_MOST]
    title = material.title("the ranges round by round")
    figure = Figure(figsize=(9.0, 1.3 + 2.3 * len(dimensions)), layout="constrained")
    figure.suptitle(folded(title, 80))
    axes = list(figure.subplots(len(dimensions), 1, sharex=True, squeeze=False)[:, 0])
    dots = Dots(material.trials)
    for dimension, ax in zip(dimensions, axes, strict=True):
        _draw(ax, material, dimension, dots)
    axes[-1].set_xlabel("trial")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    _name_rounds(axes[0], material)
    dots.key(figure, axes)
    handles = [*dots.handles(), *_key()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(ax: Axes, material: Material, dimension: Dimension, dots: Dots) -> None:
    scaled(ax, material, dimension, "y")
    numbers = [float(trial.number) for trial in material.trials]
    dots.draw(ax, material.trials, numbers, coordinates(dimension, material.trials))
    for row in (row for row in material.ledger if row["dimension"] == dimension.name):
        _band(ax, material, dimension, row)
    if isinstance(dimension.range, Choices):
        ax.set_ylim(-0.6, len(dimension.range.options) - 0.4)
    else:
        ax.axhline(dimension.range.low, **_DECLARED)
        ax.axhline(dimension.range.high, **_DECLARED)
    for number in range(1, _rounds(material)):
        ax.axvline(number * material.spec.trials - 0.5, **BORDER)


def _band(ax: Axes, material: Material, dimension: Dimension, row: JSON) -> None:
    """A round's range over its trials; that after the last round is hatched, right of them."""
    start, end = _span(material, row["round"])
    is_next = row["round"] > _rounds(material)
    for low, high in _stretches(dimension, row):
        if is_next:
            ax.fill_between([start, end], low, high, **_NEXT)
        else:
            ax.fill_between([start, end], low, high, **_BAND)
        ax.hlines([low, high], start, end, **_ENDS)


def _stretches(dimension: Dimension, row: JSON) -> list[tuple[float, float]]:
    """The parts of the axis that a ledger's row allows."""
    if "choices" not in row:
        return [(row["low"], row["high"])]
    kept = {label(frozen(option)) for option in row["choices"]}
    options = dimension.range.options if isinstance(dimension.range, Choices) else ()
    places = [place(dimension, option) for option in options if label(option) in kept]
    return [(at - 0.4, at + 0.4) for at in places]


def _span(material: Material, number: int) -> tuple[float, float]:
    """From where to where a round's trials lie."""
    size = material.spec.trials
    start = (number - 1) * size - 0.5
    if number > _rounds(material):
        return start, start + _NEXT_WIDTH * size
    return start, start + size


def _rounds(material: Material) -> int:
    """How many rounds have a finished trial."""
    return max(trial.round for trial in material.trials)


def _name_rounds(ax: Axes, material: Material) -> None:
    names: dict[str, float] = defaultdict(float)
    for number in range(1, _rounds(material) + 1):
        start, end = _span(material, number)
        names[f"round {number}"] = (start + end) / 2
    if any(row["round"] > _rounds(material) for row in material.ledger):
        start, end = _span(material, _rounds(material) + 1)
        names["next"] = (start + end) / 2
    for name, at in names.items():
        ax.annotate(
            name,
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )


def _key() -> list[Any]:
    return [
        Patch(facecolor="#0072B2", alpha=0.3, label="range of the round"),
        Line2D([], [], label="declared edge", **_DECLARED | {"zorder": 1}),
    ]
