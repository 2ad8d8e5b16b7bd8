"""`hpsearch trials`: every trial with its values and scores."""

from __future__ import annotations

import json

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def trials(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """List the trials of a study; --json adds every epoch."""
    from hpsearch.report.console import console_for
    from hpsearch.report.tables import print_trials
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import trials_document
    from hpsearch.store.studies import load_study

    store = open_database(database)
    try:
        document = trials_document(store, load_study(store, name))
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(document))
    else:
        print_trials(console_for(as_json=False, quiet=False), document)
