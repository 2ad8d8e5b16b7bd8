"""`hpsearch ranges`: the ledger, every range with its reason."""

from __future__ import annotations

from contextlib import closing

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def ranges(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """Show why every range is what it is."""
    from hpsearch.cli.output import emit
    from hpsearch.report.tables import print_ledger
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database)) as store:
        study = load_study(store, name)
        ledger = ranges_document(store, study)
    rounds = study.spec.rounds
    emit(ledger, as_json=as_json, people=lambda console: print_ledger(console, ledger, rounds))
