"""`hpsearch ranges`: the ledger, every range with its reason."""

from __future__ import annotations

import json

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def ranges(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """Show why every range is what it is."""
    from hpsearch.report.console import console_for
    from hpsearch.report.tables import print_ledger
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document
    from hpsearch.store.studies import load_study

    store = open_database(database)
    try:
        study = load_study(store, name)
        document = ranges_document(store, study)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(document))
    else:
        print_ledger(console_for(as_json=False, quiet=False), document, study.spec.search.rounds)
