"""All figures of a study as files: what was drawn, and why what was not could not be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.accuracy_curves import accuracy_curves
from hpsearch.report.figures.best_trials import best_trials
from hpsearch.report.figures.boxes import boxes
from hpsearch.report.figures.canvas import house_style, png, svg
from hpsearch.report.figures.control import control
from hpsearch.report.figures.finalists import finalists
from hpsearch.report.figures.funnel import funnel
from hpsearch.report.figures.layers import layers
from hpsearch.report.figures.loss_curves import loss_curves
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.optuna_views import importance, parallel_coordinates, slices
from hpsearch.report.figures.panels import panels
from hpsearch.report.figures.progress import progress
from hpsearch.report.figures.table import outcome_table
from hpsearch.study import FigureName

PictureFormat = Literal["png", "svg"]

PICTURES: dict[FigureName, Callable[[Material], Figure]] = {
    "funnel": funnel,
    "boxes": boxes,
    "best-trials": best_trials,
    "progress": progress,
    "finalists": finalists,
    "loss-curves": loss_curves,
    "accuracy-curves": accuracy_curves,
    "panels": panels,
    "layers": layers,
    "importance": importance,
    "parallel-coordinates": parallel_coordinates,
    "slice": slices,
    "control": control,
}


@dataclass(frozen=True)
class Drawings:
    """A study's figures.

    Attributes:
        files: Content by file name, such as `loss-curves.png`, in the order they were asked for.
        missing: Why a figure could not be drawn, by its name.
    """

    files: dict[str, bytes]
    missing: dict[str, str]


def draw(
    material: Material, names: Sequence[FigureName], picture: PictureFormat = "png"
) -> Drawings:
    """Draw figures; one that cannot be drawn keeps none of the others back.

    Args:
        material: What they are drawn from.
        names: Which.
        picture: Whether pictures are PNG or SVG files; the table is Markdown.
    """
    files: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            file, content = _file(material, name, picture)
        except CannotDrawError as error:
            missing[name] = str(error)
        else:
            files[file] = content
    return Drawings(files, missing)


def _file(material: Material, name: FigureName, picture: PictureFormat) -> tuple[str, bytes]:
    if name == "table":
        return "table.md", outcome_table(material, None).markdown().encode()
    with house_style():
        figure = PICTURES[name](material)
        return f"{name}.{picture}", png(figure) if picture == "png" else svg(figure)
