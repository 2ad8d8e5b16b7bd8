"""`hpsearch test`: open the sealed test split of a finished study."""

from __future__ import annotations

import json

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def test(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Score the winner on the test split; every opening is counted and reported."""
    from hpsearch.launch.local import run_in_process
    from hpsearch.report.console import console_for
    from hpsearch.report.summary import print_test
    from hpsearch.store.database import open_database
    from hpsearch.store.openings import test_figure
    from hpsearch.store.studies import load_study

    run_in_process(open_sealed_test_of, database, name, data_dir)
    store = open_database(database)
    try:
        figure = test_figure(store, load_study(store, name).id)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(figure))
        return
    console = console_for(as_json=False, quiet=False)
    print_test(console, name, figure)
    console.print(f"`hpsearch sync {name}` copies it to MLflow.")


def open_sealed_test_of(database: str, name: str, data_dir: object) -> None:
    """Open the split in this process; a name of its own so that it can be sent to another."""
    from pathlib import Path

    from hpsearch.final import open_sealed_test

    open_sealed_test(database, name, data_dir if isinstance(data_dir, Path) else None)
