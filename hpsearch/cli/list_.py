"""`hpsearch list`: every study of the database."""

from __future__ import annotations

from contextlib import closing

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def list_studies(
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
) -> None:
    """List the stored studies."""
    from hpsearch.cli.output import emit
    from hpsearch.report.comma_separated import studies_csv
    from hpsearch.report.tables import print_studies
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import study_document
    from hpsearch.store.studies import load_study, study_names

    with closing(open_database(database)) as store:
        documents = [study_document(store, load_study(store, n)) for n in study_names(store)]
    emit(
        documents,
        as_json=as_json,
        people=lambda console: print_studies(console, documents),
        as_csv=(lambda: studies_csv(documents)) if as_csv else None,
    )
