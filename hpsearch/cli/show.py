"""`hpsearch show`: one study at a glance."""

from __future__ import annotations

import json

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def show(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """Show how far a study is, its ranges, winner and test figure."""
    from hpsearch.report.console import console_for
    from hpsearch.report.summary import print_result
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document, study_document
    from hpsearch.store.studies import load_study

    store = open_database(database)
    try:
        study = load_study(store, name)
        document = study_document(store, study)
        ledger = ranges_document(store, study)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(document))
    else:
        print_result(console_for(as_json=False, quiet=False), study, document, ledger)
