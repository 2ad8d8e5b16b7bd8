"""`hpsearch show`: one study at a glance."""

from __future__ import annotations

from contextlib import closing

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def show(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """Show how far a study is, its ranges, winner and test figure."""
    from hpsearch.cli.output import emit
    from hpsearch.report.summary import print_result
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document, study_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database)) as store:
        study = load_study(store, name)
        document, ledger = study_document(store, study), ranges_document(store, study)
    emit(
        document,
        as_json=as_json,
        people=lambda console: print_result(
            console, study, document, ledger, options.commands(database, None)
        ),
    )
