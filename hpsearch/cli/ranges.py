"""`hpsearch ranges`: the ledger, every range with its reason; a narrowing is taken back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.search.amendments import Amendment
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
    as_csv: options.Csv = False,
) -> None:
    """Show why every range is what it is, or take back a narrowing."""
    from hpsearch.cli.output import emit
    from hpsearch.report.comma_separated import ranges_csv
    from hpsearch.report.tables import print_ledger
    from hpsearch.store.database import open_database
    from hpsearch.store.reading import ranges_document
    from hpsearch.store.studies import load_study

    with closing(open_database(database, write=undo is not None)) as store:
        study = load_study(store, name)
        said = None if undo is None else _taken_back(store, study, undo, database)
        ledger = ranges_document(store, study)
    pending = _pending(study, ledger)

    def people(console: Console) -> None:
        if said is None:
            print_ledger(console, ledger, study.spec.rounds)
        for line in (said, None if pending is None or said else _begins(study, pending, database)):
            if line is not None:
                console.print(line, markup=False, soft_wrap=True)

    as_rows = (lambda: ranges_csv(ledger)) if as_csv else None
    emit(ledger, as_json=as_json, people=people, as_csv=as_rows)


def _pending(study: StoredStudy, ledger: list[dict[str, Any]]) -> Amendment | None:
    """The newest wish to take something back that no round has begun with yet."""
    from hpsearch.search.ledger import UNDO

    wishes = [a for a in study.amendments if a.change.undo is not None]
    begun = {row["round"] for row in ledger if row["rule"] == UNDO}
    return wishes[-1] if wishes and wishes[-1].place.round + 1 not in begun else None


def _taken_back(store: Database, study: StoredStudy, number: int, database: str) -> str:
    """Take back a narrowing, and say which round begins from the earlier box."""
    from hpsearch.store.amendments import take_back

    before = [a for a in study.amendments if a.change.undo is not None]
    study = take_back(store, study, number)
    wish = next(a for a in reversed(study.amendments) if a.change.undo == number)
    said = _begins(study, wish, database)
    replaced = [a.change.undo for a in before if a.place.round == wish.place.round]
    if replaced and replaced[-1] not in {None, number}:
        said += f" Taking back what opened round {replaced[-1]}, as asked before, is off."
    return said


def _begins(study: StoredStudy, wish: Amendment, database: str) -> str:
    """Which round begins from which earlier ranges, and what to type for it to come."""
    place, number = wish.place, wish.change.undo or 1
    following = place.round + 1
    begins = f"round {following} begins from the ranges of round {number - 1}"
    if study.spec.rounds < following:
        command = options.commands(database, None).extended(study.name, study.next_rounds)
        return f"{study.name}: {begins}; `{command}` gives it that round."
    on = "" if place.over else f"; round {place.round} goes on as it is"
    return f"{study.name}: {begins}{on}."
