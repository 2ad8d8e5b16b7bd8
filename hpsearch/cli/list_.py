"""`hpsearch list`: every study of the database."""

from __future__ import annotations

import json

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def list_studies(
    database: options.Database = DEFAULT_DATABASE, as_json: options.Json = False
) -> None:
    """List the stored studies."""
    from hpsearch.report.console import console_for
    from hpsearch.report.tables import print_studies
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import study_document
    from hpsearch.store.studies import load_study, study_names

    store = open_database(database)
    try:
        studies = [load_study(store, name) for name in study_names(store)]
        documents = [study_document(store, study) for study in studies]
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(documents))
    else:
        print_studies(console_for(as_json=False, quiet=False), documents)
