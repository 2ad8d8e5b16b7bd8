"""`hpsearch trials`: every trial with its values and scores."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def trials(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FIELD=VALUE", help="Only trials of which this holds."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Only the best, by score.")
    ] = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
) -> None:
    """List the trials of a study; --json adds every epoch."""
    from hpsearch.cli.output import emit
    from hpsearch.report.comma_separated import trials_csv
    from hpsearch.report.filters import chosen, conditions
    from hpsearch.report.tables import print_trials
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import trials_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database)) as store:
        study = load_study(store, name)
        wanted = conditions(where or [], study.spec.space.names)
        document = chosen(trials_document(store, study), wanted, top)
    emit(
        document,
        as_json=as_json,
        people=lambda console: print_trials(console, document),
        as_csv=(lambda: trials_csv(document, study.spec.space.names)) if as_csv else None,
    )
