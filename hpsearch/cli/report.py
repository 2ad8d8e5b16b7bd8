"""`hpsearch report`: a study on one page, and its figures as files."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.report.figures.drawing import Drawings
    from hpsearch.report.page.page import Sources

# How the name of a page ends; everything else that --out names is a folder.
_PAGE_ENDINGS = (".html", ".htm")
_PAGE = "report.html"


class Format(StrEnum):
    """How pictures are written."""

    png = "png"
    svg = "svg"


def report(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="FILE.html for the page alone, or a folder for all; report/NAME by default.",
        ),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", help="Draw this figure and nothing else; may be repeated."),
    ] = None,
    picture: Annotated[
        Format, typer.Option("--format", help="How the figures are written.")
    ] = Format.png,
    as_json: options.Json = False,
) -> None:
    """Lay a study out on one HTML page, and draw its figures, of as much as is finished."""
    from hpsearch.cli.output import emit
    from hpsearch.errors import UserError
    from hpsearch.report.figures.drawing import Drawings, draw
    from hpsearch.report.figures.files import figure_names, write
    from hpsearch.report.page.page import page

    wanted = figure_names(figure or [])
    page_alone = out is not None and _is_page(out)
    if wanted and page_alone:
        raise UserError(f"--out {out}: a page; name a folder for --figure, or leave --figure out")
    sources = _sources(name, database)
    folder = out or Path("report") / name
    drawings = Drawings({}, {})
    if not page_alone:
        names = wanted or sources.study.spec.figures
        drawings = draw(sources.material, names, picture.value)
    files = dict(drawings.files)
    if not wanted and sources.material.trials:
        file, folder = (folder.name, folder.parent) if page_alone else (_PAGE, folder)
        files[file] = page(sources).encode()
    paths = write(files, folder)
    emit(
        _document(name, paths, drawings),
        as_json=as_json,
        people=lambda console: _print(console, sources, paths, drawings),
    )
    if not paths:
        raise typer.Exit(1)


def _sources(name: str, database: str) -> Sources:
    from hpsearch.report.figures.material import Material
    from hpsearch.report.page.page import Sources
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document, study_document, trials_document
    from hpsearch.store.studies import load_study
    from hpsearch.store.workers import machines

    with closing(open_database(database)) as store:
        study = load_study(store, name)
        document, ledger = study_document(store, study), ranges_document(store, study)
        trials = trials_document(store, study)
        return Sources(
            study,
            document,
            ledger,
            Material.of(study.spec, trials, document, ledger),
            machines(store, study.id),
            options.commands(database, None),
        )


def _document(name: str, paths: list[Path], drawings: Drawings) -> dict[str, Any]:
    page = next((str(path) for path in paths if _is_page(path)), None)
    figures = [{"figure": path.stem, "file": str(path)} for path in paths if not _is_page(path)]
    missing = [{"figure": figure, "reason": why} for figure, why in drawings.missing.items()]
    return {"study": name, "page": page, "figures": figures, "missing": missing}


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in _PAGE_ENDINGS


def _print(console: Console, sources: Sources, paths: list[Path], drawings: Drawings) -> None:
    from hpsearch.report.figures.table import outcome_table
    from hpsearch.report.tables import print_outcomes

    for path in paths:
        if path.name == "table.md":
            print_outcomes(console, outcome_table(sources.material))
    for path in paths:
        console.print(str(path), markup=False, soft_wrap=True)
    for figure, why in drawings.missing.items():
        console.print(f"{figure}: not drawn: {why}", markup=False, soft_wrap=True)
