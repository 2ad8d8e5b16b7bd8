"""`hpsearch ranges`: the ledger, every range with its reason; a narrowing is taken back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from hpsearch.store.database import Database
    from hpsearch.store.studies import StoredStudy


def ranges(
    name: options.StudyName,
    undo: Annotated[
        int | None,
        typer.Option("--undo", metavar="ROUND", help="Take back what opened this round."),
    ] = None,
    database: options.Database = DEFAULT_DATABASE,
    as_json: options.Json = False,
) -> None:
    """Show why every range is what it is, or take back a narrowing."""
    from hpsearch.cli.output import emit
    from hpsearch.report.tables import print_ledger
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database, write=undo is not None)) as store:
        study = load_study(store, name)
        said = None if undo is None else _taken_back(store, study, undo, database)
        ledger = ranges_document(store, study)
    rounds = study.spec.rounds
    emit(
        ledger,
        as_json=as_json,
        people=lambda console: (
            console.print(said, markup=False, soft_wrap=True)
            if said is not None
            else print_ledger(console, ledger, rounds)
        ),
    )


def _taken_back(store: Database, study: StoredStudy, number: int, database: str) -> str:
    """Take back a narrowing, and say which round begins from the earlier box."""
    from hpsearch.store.amendments import take_back

    study = take_back(store, study, number)
    place = next(a.place for a in reversed(study.amendments) if a.change.undo == number)
    following = place.round + 1
    begins = f"round {following} begins from the ranges of round {number - 1}"
    if study.spec.rounds < following:
        command = options.commands(database, None).extended(study.name, study.next_rounds)
        return f"{study.name}: {begins}; `{command}` gives it that round."
    on = "" if place.over else f"; round {place.round} goes on as it is"
    return f"{study.name}: {begins}{on}."
