"""`hpsearch copy`: take a study from one database to another."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.findings import Commands
    from hpsearch.store.copying import CopyReport


def copy(
    name: options.StudyName,
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="The other database, made if need be.")
    ],
    database: options.Database = DEFAULT_DATABASE,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Store the copy under another name.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Copy a study whole into another database; the original stays."""
    from hpsearch.report.console import console_for
    from hpsearch.report.live import copying
    from hpsearch.store.copying import copy_study
    from hpsearch.store.database import open_database
    from hpsearch.store.mirroring import read_mirror
    from hpsearch.store.studies import load_study

    console = console_for(as_json=False, quiet=quiet)
    with closing(open_database(database)) as source, copying(console) as watch:
        report = copy_study(source, to, name, new_name, watch)
        mirror = read_mirror(source, load_study(source, name).id)
    there = options.commands(to, mirror.destination if mirror else None)
    _print_report(console, report, to, there)


def _print_report(console: Console, report: CopyReport, to: str, there: Commands) -> None:
    from hpsearch.report.numbers import count
    from hpsearch.report.tables import new_table
    from hpsearch.tracking.destination import redacted

    table = new_table("table", "rows", "SHA-256 of the rows without ids")
    for copied in report.tables:
        table.add_row(copied.name, str(copied.rows), copied.digest)
    console.print(table)
    console.print(
        f"{report.study}: {count(report.trials, 'trial')} copied to {redacted(to)}; every row was "
        "read back and is equal.",
        markup=False,
    )
    if report.freed:
        held = count(report.freed, "trial")
        console.print(f"{held} that workers held when they died will be trained again there.")
    console.print(
        f"Left out is how far MLflow has the study: `{there.sync(report.study)}` copies the copy.",
        markup=False,
    )
