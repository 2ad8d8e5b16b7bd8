"""The house style of figures: colours that everybody can tell apart, and bytes of a PNG."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

# Okabe and Ito (2008), without the yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
# Curves that are too many to have names of their own; they lie below those that have one.
OTHERS: Any = {"color": "#BBBBBB", "linewidth": 0.7, "zorder": 1.5}
# Where a new round begins; below the curves.
BORDER: Any = {"color": "#999999", "linewidth": 0.8, "linestyle": ":", "zorder": 1.5}
_DOTS_PER_INCH = 150
_STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.titlesize": 13,
    "font.size": 10,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "hpsearch",
    "text.parse_math": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in our style, whatever the user's matplotlibrc says; nothing of it stays."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def single(title: str, labels: tuple[str, str]) -> tuple[Figure, Axes]:
    """A figure with one axes, and the labels of its x and y axes."""
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    ax = figure.add_subplot(title=folded(title, 58), xlabel=labels[0], ylabel=labels[1])
    ax.title.set_fontsize(13)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, ax


def panes(
    title: str,
    count: int,
    columns: int,
    labels: tuple[str, str],
    *,
    width: float = 2.6,
    height: float = 2.2,
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes in rows of `columns`, all with the same limits.

    Args:
        title: Of the whole figure.
        count: How many axes.
        columns: At most so many beside each other.
        labels: Of the x axes at the bottom, and of the y axes on the left.
        width: Of one axes, inches.
        height: Of one axes, inches.
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    whole = max(columns * width, 6.0)
    figure = Figure(figsize=(whole, rows * height + 0.9), layout="constrained")
    figure.suptitle(folded(title, round(whole * 9)))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for empty in axes[count:]:
        empty.remove()
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    for position, ax in enumerate(axes[:count]):
        if position + columns >= count:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(labels[0])
        if position % columns == 0:
            ax.set_ylabel(labels[1])
    return figure, axes[:count]


def key_below(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    """A legend below all axes, in as many columns as find room, at most `columns`."""
    longest = max(len(line) for handle in handles for line in str(handle.get_label()).split("\n"))
    # A letter of 10 points takes 0.09 inches or less, a stroke with its gaps 0.6.
    room = int(figure.get_figwidth() / (0.09 * longest + 0.6))
    ncols = max(1, min(columns, room, len(handles)))
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols)


def line_style(position: int) -> dict[str, Any]:
    """Colour and dashes of the curve at a position; they repeat after 28.

    Neighbours differ in both, so that a curve right below another shows between its dashes.
    """
    return {"color": COLOURS[position % len(COLOURS)], "linestyle": STYLES[position % len(STYLES)]}


def folded(text: str, width: int, lines: int = 4) -> str:
    """The text on a few lines of about `width` characters, broken after commas where it can be.

    Its end is cut off where it needs more lines.
    """
    folds = [""]
    for part in re.split(r", (?![^\[]*\])", text):
        longer = f"{folds[-1]}, {part}" if folds[-1] else part
        if len(longer) <= width:
            folds[-1] = longer
        else:
            folds = [*folds[:-1], f"{folds[-1]},"] if folds[-1] else []
            folds += textwrap.wrap(part, width) or [""]
    return "\n".join(folds[:lines]) + (" ..." if len(folds) > lines else "")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as an SVG file; equal figures give equal bytes."""
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
