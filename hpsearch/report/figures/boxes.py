"""Two dimensions against each other: every trial, and the box of every round."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.canvas import line_style, single
from hpsearch.report.figures.labels import words
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.scatter import Dots, coordinates, scaled
from hpsearch.space import Dimension, Interval

# Those that the method was made for come first.
_FIRST = ("learning_rate", "weight_decay")
# Boxes of earlier rounds than the newest seven would only hide the trials.
_MOST = 7
_WINNER: Any = {
    "marker": "*",
    "markersize": 15,
    "color": "#009E73",
    "markeredgecolor": "white",
    "linestyle": "none",
    "zorder": 6,
}


def boxes(material: Material) -> Figure:
    """The learning rate against the weight decay, else the first two ranges of the study.

    Raises:
        CannotDrawError: If there are no two ranges, or no trial is finished.
    """
    first, second = _pair(material)
    if not material.trials:
        raise CannotDrawError("no trial is finished yet")
    title = f"{words(first.name)} against {words(second.name)}"
    figure, ax = single(material.title(title), (first.name, second.name))
    scaled(ax, material, first, "x")
    scaled(ax, material, second, "y")
    dots = Dots(material.trials)
    x, y = coordinates(first, material.trials), coordinates(second, material.trials)
    dots.draw(ax, material.trials, x, y)
    handles = [*dots.handles(), *_draw_boxes(ax, material, first, second)]
    handles += _draw_winner(ax, material, first, second)
    dots.key(figure, [ax])
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def _pair(material: Material) -> tuple[Dimension, Dimension]:
    found = [d for d in material.spec.space.dimensions if isinstance(d.range, Interval)]
    found.sort(key=lambda d: _FIRST.index(d.name) if d.name in _FIRST else len(_FIRST))
    if len(found) < 2:  # noqa: PLR2004 - a plane has two
        raise CannotDrawError("the study has no two ranges to lay beside each other")
    return found[0], found[1]


def _draw_boxes(ax: Axes, material: Material, first: Dimension, second: Dimension) -> list[Line2D]:
    """A rectangle for every round; returns what the legend says of them."""
    ranges = {(row["round"], row["dimension"]): row for row in material.ledger}
    rounds = sorted({number for number, _ in ranges})[-_MOST:]
    newest = max((trial.round for trial in material.trials), default=0)
    handles = []
    for position, number in enumerate(rounds):
        style = line_style(position)
        _rectangle(ax, ranges[number, first.name], ranges[number, second.name], style)
        name = "declared" if number == 1 else f"round {number}" if number <= newest else "next"
        handles.append(Line2D([], [], label=name, **style))
    return handles


def _rectangle(ax: Axes, x: JSON, y: JSON, style: dict[str, Any]) -> None:
    corner, size = (x["low"], y["low"]), (x["high"] - x["low"], y["high"] - y["low"])
    look = {"edgecolor": style["color"], "linestyle": style["linestyle"], "linewidth": 1.6}
    ax.add_patch(Rectangle(corner, *size, fill=False, zorder=5, **look))
    # A rectangle alone does not widen the view.
    ax.update_datalim([corner, (x["high"], y["high"])])
    ax.autoscale_view()


def _draw_winner(ax: Axes, material: Material, first: Dimension, second: Dimension) -> list[Line2D]:
    winner = material.winner
    if winner is None:
        return []
    place = ([winner["values"][first.name]], [winner["values"][second.name]])
    return [*ax.plot(*place, label="winner", **_WINNER)]
