"""`hpsearch report`: draw a study's figures as files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.report.figures.drawing import Drawings
    from hpsearch.report.figures.material import Material


def report(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the files; report/NAME by default."),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", help="Draw this figure instead of the study's; may be repeated."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Draw a study's figures, of as much of it as is finished."""
    from hpsearch.cli.output import emit
    from hpsearch.report.figures.drawing import draw
    from hpsearch.report.figures.files import figure_names, write
    from hpsearch.report.figures.material import Material
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import trials_document
    from hpsearch.store.studies import load_study

    wanted = figure_names(figure or [])
    with closing(open_database(database)) as store:
        study = load_study(store, name)
        material = Material.of(study.spec, trials_document(store, study))
    drawings = draw(material, wanted or study.spec.figures)
    paths = write(drawings.files, out or Path("report") / name)
    emit(
        _document(name, paths, drawings),
        as_json=as_json,
        people=lambda console: _print(console, material, paths, drawings),
    )
    if not paths:
        raise typer.Exit(1)


def _document(name: str, paths: list[Path], drawings: Drawings) -> dict[str, Any]:
    figures = [{"figure": path.stem, "file": str(path)} for path in paths]
    missing = [{"figure": figure, "reason": why} for figure, why in drawings.missing.items()]
    return {"study": name, "figures": figures, "missing": missing}


def _print(console: Console, material: Material, paths: list[Path], drawings: Drawings) -> None:
    from hpsearch.report.figures.table import outcome_table
    from hpsearch.report.tables import print_outcomes

    for path in paths:
        if path.stem == "table":
            print_outcomes(console, outcome_table(material))
    for path in paths:
        console.print(str(path), markup=False, soft_wrap=True)
    for figure, why in drawings.missing.items():
        console.print(f"{figure}: not drawn: {why}", markup=False, soft_wrap=True)
