"""Studies as rows: made once, found by name."""

from __future__ import annotations

import difflib
import json
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from hpsearch.errors import (
    DatabaseError,
    NoStudiesError,
    OldDatabaseError,
    UnknownStudyError,
)
from hpsearch.search.amendments import Amendment, Change, Place, amended, rounds_asked
from hpsearch.search.design import SearchDesign
from hpsearch.search.ledger import declared
from hpsearch.search.rounds import first_round
from hpsearch.space import Value, frozen
from hpsearch.store import tables
from hpsearch.store.database import Database, clock, inserted_id, open_database, retried
from hpsearch.store.documents import legible
from hpsearch.store.rounds import insert_ledger, insert_round
from hpsearch.study import StudySpec


@dataclass(frozen=True)
class StoredStudy:
    """A study as the database holds it.

    Attributes:
        id: Its row.
        name: Its name, also that of the Optuna study.
        begun: The study file, checked, as the study was begun with it.
        source: The study file's text.
        data_fingerprint: SHA-256 of the prepared rows; every worker's must be the same.
        validation_rows: Rows behind each score.
        keep_sealed: Whether the test split stays sealed until `hpsearch test` is typed.
        state: "running" until the winner is known, then "complete".
        winner: {"values", "score", "standard_error", "seeds", "ties"}, with a control arm also
            "control"; None until then, and in a complete study in which no trial had a score.
        created: Seconds since 1970.
        completed: Seconds since 1970, None while running.
        amendments: What was changed since it was begun, oldest first.
    """

    id: int
    name: str
    begun: StudySpec
    source: str
    data_fingerprint: str
    validation_rows: int
    keep_sealed: bool
    state: str
    winner: dict[str, Any] | None
    created: float
    completed: float | None
    amendments: tuple[Amendment, ...] = ()

    @cached_property
    def spec(self) -> StudySpec:
        """The study with all its amendments."""
        return amended(self.begun, self.amendments)

    @property
    def next_rounds(self) -> int:
        """How many rounds to ask for so that it goes on: more than anybody has before."""
        return self.rounds_asked + 1

    @property
    def rounds_asked(self) -> int:
        """The most rounds that anybody has asked for."""
        return rounds_asked(self.begun, self.amendments)

    @property
    def winner_values(self) -> dict[str, Value]:
        """Values of the winner; empty while there is none."""
        values = self.winner["values"] if self.winner else {}
        return {name: frozen(value) for name, value in values.items()}


def create_study(
    database: Database,
    spec: StudySpec,
    source: str,
    data_fingerprint: str,
    validation_rows: int,
    *,
    keep_sealed: bool = False,
) -> StoredStudy | None:
    """Store a study and open its first round, in one durable transaction.

    Returns:
        None where a study of this name is there, perhaps since a moment ago: it may have other
        settings, so the caller has to look at it.

    Raises:
        DatabaseError: If an Optuna study of this name is already there, not made by hpsearch.
    """
    plan = first_round(SearchDesign.of(spec))
    optuna_id = database.call(lambda: database.storage.find_or_create_study(spec.name))
    with database.writing(durable=True) as connection:
        # Whoever creates the same study waits here, and then finds it.
        database.storage.lock_study(connection, optuna_id)
        if _row(connection, spec.name) is not None:
            return None
        if database.storage.next_number(connection, optuna_id):
            raise DatabaseError(
                f"{spec.name}: an Optuna study of this name, not made by hpsearch, is in this "
                "database; give the study another name or use another --database"
            )
        study_id = inserted_id(
            connection,
            insert(tables.study).values(
                name=spec.name,
                optuna_study_id=optuna_id,
                spec=json.dumps(spec.document()),
                source=source,
                data_fingerprint=data_fingerprint,
                validation_rows=validation_rows,
                keep_sealed=keep_sealed,
                state="running",
                created=clock(connection),
            ),
        )
        insert_ledger(connection, study_id, plan.number, declared(spec.space))
        insert_round(connection, database.storage, study_id, optuna_id, spec.space, plan)
    return load_study(database, spec.name)


def refresh_report(
    database: Database, study: StoredStudy, spec: StudySpec, source: str
) -> StoredStudy:
    """Store the [report] of a study file that has changed in nothing else, with its text.

    Args:
        database: The study's database.
        study: The study as it is stored.
        spec: The study as its file has it now.
        source: That file's text.

    Returns:
        The study as it is now.
    """
    if spec.report == study.spec.report:
        return study
    document = json.dumps(study.begun.model_copy(update={"report": spec.report}).document())
    with database.writing() as connection:
        connection.execute(
            update(tables.study)
            .where(tables.study.c.id == study.id)
            .values(spec=document, source=source)
        )
    return load_study(database, study.name)


@retried
def find_study(database: Database, name: str) -> StoredStudy | None:
    """The study of this name, or None."""
    with database.reading() as connection:
        row = _row(connection, name)
        return None if row is None else _stored(connection, row)


def stored_study(url: str, name: str, *, migrate: bool = False) -> StoredStudy | None:
    """The study of this name in the database at an address; None also where there is no database.

    Raises:
        OldDatabaseError: If an older hpsearch wrote the database and it is not to be migrated.
    """
    try:
        database = open_database(url)
    except NoStudiesError:
        return None  # `start` makes it, or says what is wrong with it
    except OldDatabaseError:
        if not migrate:
            raise
        database = open_database(url, create=True)
    with closing(database):
        return find_study(database, name)


def study_at(connection: Connection, study: StoredStudy) -> StoredStudy:
    """A study as it is at the moment of the caller's transaction."""
    row = _row(connection, study.name)
    if row is None:
        raise UnknownStudyError(f"{study.name}: is no longer in this database")
    return replace(
        study,
        state=row.state,
        winner=json.loads(row.winner) if row.winner else None,
        completed=row.completed,
        amendments=amendments_of(connection, study.id),
    )


def amendments_of(connection: Connection, study_id: int) -> tuple[Amendment, ...]:
    """A study's amendments, oldest first."""
    columns = tables.amendment.c
    rows = connection.execute(
        select(tables.amendment).where(columns.study_id == study_id).order_by(columns.number)
    )
    return tuple(
        Amendment(
            Place(row.round, bool(row.search_over)),
            Change.from_document(json.loads(row.document)),
            row.made,
        )
        for row in rows
    )


def load_study(database: Database, name: str) -> StoredStudy:
    """The study of this name.

    Raises:
        UnknownStudyError: Naming the nearest study there is.
    """
    study = find_study(database, name)
    if study is not None:
        return study
    known = study_names(database)
    if not known:
        raise UnknownStudyError(f"{name}: no such study; this database holds none yet")
    # Studies that ship in a folder are stored under a name without it: course/moons, course-moons.
    near = difflib.get_close_matches(name.replace("/", "-"), known, n=1) or known[:5]
    raise UnknownStudyError(f"{name}: no such study; there is {', '.join(near)}")


@retried
def is_complete(database: Database, study_id: int) -> bool:
    """Whether a study has come to its end; asked by everybody who waits, it reads nothing else."""
    state = tables.study.c.state
    with database.reading() as connection:
        found = connection.scalar(select(state).where(tables.study.c.id == study_id))
    return found == "complete"


@retried
def study_names(database: Database) -> list[str]:
    """Names of all studies, oldest first."""
    with database.reading() as connection:
        return list(connection.scalars(select(tables.study.c.name).order_by(tables.study.c.id)))


def _row(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(tables.study).where(tables.study.c.name == name)).one_or_none()


def _stored(connection: Connection, row: Row[Any]) -> StoredStudy:
    with legible(row.name):
        study = StoredStudy(
            id=row.id,
            name=row.name,
            begun=StudySpec.from_document(json.loads(row.spec)),
            source=row.source,
            data_fingerprint=row.data_fingerprint,
            validation_rows=row.validation_rows,
            keep_sealed=row.keep_sealed,
            state=row.state,
            winner=json.loads(row.winner) if row.winner else None,
            created=row.created,
            completed=row.completed,
            amendments=amendments_of(connection, row.id),
        )
        study.spec  # noqa: B018 - amendments that make no study are not legible either
    return study
