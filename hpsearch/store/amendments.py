"""Amendments as rows: written between two decisions, never during one.

Whoever decides holds the study's row, and so does whoever amends it: a close that was begun before
is taken from its holder, who then comes too late with what it decided without the amendment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sqlalchemy import ColumnElement, Connection, func, select, update

from hpsearch.errors import UserError
from hpsearch.search.amendments import AmendedSearch, Amendment, Change, Place, taking_back
from hpsearch.search.rounds import DoneRound
from hpsearch.seeds import Purpose
from hpsearch.space import Box
from hpsearch.store import tables
from hpsearch.store.amendment_rows import insert_amendment
from hpsearch.store.database import Database, clock, retried
from hpsearch.store.documents import box_from
from hpsearch.store.openings import unfinished_opening
from hpsearch.store.reading import newest_round, ranges_document
from hpsearch.store.rounds import TRAINED, done_round, lock_study, release_closings
from hpsearch.store.studies import StoredStudy, amendments_of, study_at
from hpsearch.store.tables import RoundState

Wanted = Callable[[StoredStudy, Place], Change | None]


@retried
def amend(database: Database, study: StoredStudy, wanted: Wanted) -> StoredStudy:
    """Amend a study, durably, unless nothing is to be changed.

    Args:
        database: The study's database.
        study: The study.
        wanted: What to change of the study as it is, at the place where that would count first;
            None for nothing. Of several who ask for the same at once, one amends it.

    Returns:
        The study as it is now. One that was complete and has more rounds now is running.

    Raises:
        UserError: If its control arm has begun, an opening of the test split is not finished, or as
            `wanted` raises it.
    """
    with database.reading() as connection:
        now = study_at(connection, study)
        if wanted(now, _place(connection, study.id)) is None:
            return now
    with database.writing(durable=True) as connection:
        lock_study(connection, study.id)
        now, place = study_at(connection, study), _place(connection, study.id)
        change = wanted(now, place)
        if change is None:
            return now
        _check_not_compared(connection, now)
        insert_amendment(connection, now.id, place, change)
        release_closings(connection, tables.round_.c.study_id == study.id)
        amended = study_at(connection, study)
        if amended.state == "complete" and amended.spec.rounds > place.round:
            _reopen(connection, amended)
        return study_at(connection, study)


@retried
def as_amended(database: Database, study: StoredStudy, wanted: Wanted) -> StoredStudy:
    """The study as `amend` would leave it; nothing is written.

    Raises:
        UserError: If its control arm has begun, or as `wanted` raises it.
    """
    with database.reading() as connection:
        now, place = study_at(connection, study), _place(connection, study.id)
        change = wanted(now, place)
        if change is None:
            return now
        _check_not_compared(connection, now)
        amendment = Amendment(place, change, clock(connection))
    changed = replace(now, amendments=(*now.amendments, amendment))
    if changed.spec.rounds > place.round:
        return replace(changed, state="running", winner=None, completed=None)
    return changed


def take_back(database: Database, study: StoredStudy, number: int) -> StoredStudy:
    """Let the next search round begin from the box that the round before this one had.

    Raises:
        UserError: If there is nothing to take back.
    """
    changed: dict[int, bool] = {}
    for row in ranges_document(database, study):
        now = row.get("choices") or [row["low"], row["high"]]
        changed[row["round"]] = changed.get(row["round"], False) or now != row["previous"]

    def wanted(now: StoredStudy, place: Place) -> Change | None:
        return taking_back(now.begun, now.amendments, place, changed, number)

    return amend(database, study, wanted)


def _place(connection: Connection, study_id: int) -> Place:
    newest = newest_round(connection, study_id)
    ledger = tables.ledger.c
    decided = (ledger.study_id == study_id) & (ledger.round == newest + 1)
    over = connection.execute(select(ledger.id).where(decided).limit(1)).first() is not None
    return Place(newest, over)


def _check_not_compared(connection: Connection, study: StoredStudy) -> None:
    """A control arm is as large as the search it is compared with, which therefore has to stay."""
    columns = tables.round_.c
    control = (columns.study_id == study.id) & (columns.purpose == Purpose.CONTROL)
    if connection.execute(select(columns.id).where(control).limit(1)).first() is not None:
        raise UserError(
            f"{study.name}: its control arm has begun, which is compared with the search as it is; "
            f"`hpsearch new {study.name}-2 --from {study.name}` writes a file for another study"
        )


def _reopen(connection: Connection, study: StoredStudy) -> None:
    """Let the last round be closed once more, which now has another round follow."""
    if unfinished_opening(connection, study.id) is not None:
        raise UserError(
            f"{study.name}: an opening of its test split is not finished; "
            f"`hpsearch test {study.name}` finishes it, and then the study can go on"
        )
    round_ = tables.round_.c
    trained = (round_.study_id == study.id) & round_.purpose.in_(TRAINED)
    last = select(func.max(round_.id)).where(trained)
    connection.execute(
        update(tables.round_)
        .where(round_.id == last.scalar_subquery())
        .values(state=RoundState.OPEN, closed=None)
    )
    release_closings(connection, round_.study_id == study.id)
    connection.execute(
        update(tables.study)
        .where(tables.study.c.id == study.id)
        .values(state="running", winner=None, completed=None)
    )


# ------------------------------------------------------------------- for who decides


@retried
def amended_search(database: Database, study: StoredStudy) -> AmendedSearch:
    """The study's search with all amendments there are now."""
    with database.reading() as connection:
        amendments = amendments_of(connection, study.id)
    return AmendedSearch(study.begun, amendments, partial(_box, database, study.id))


@retried
def _box(database: Database, study_id: int, number: int) -> Box:
    with database.reading() as connection:
        found = select(tables.round_.c.box).where(_search_round(study_id, number))
        return box_from(connection.execute(found).scalar_one())


@retried
def last_search_round(database: Database, study_id: int) -> DoneRound:
    """The newest search round, which is done."""
    with database.reading() as connection:
        number = _place(connection, study_id).round
        found = select(tables.round_).where(_search_round(study_id, number))
        return done_round(connection, connection.execute(found).one())


def _search_round(study_id: int, number: int) -> ColumnElement[bool]:
    columns = tables.round_.c
    return (
        (columns.study_id == study_id)
        & (columns.purpose == Purpose.SEARCH)
        & (columns.number == number)
    )
