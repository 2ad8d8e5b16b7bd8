"""`hpsearch trials`: every trial with its values and scores."""

from __future__ import annotations

from contextlib import closing

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def trials(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """List the trials of a study; --json adds every epoch."""
    from hpsearch.cli.output import emit
    from hpsearch.report.tables import print_trials
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import trials_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database)) as store:
        document = trials_document(store, load_study(store, name))
    emit(document, as_json=as_json, people=lambda console: print_trials(console, document))
