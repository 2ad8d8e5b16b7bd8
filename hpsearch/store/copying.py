"""One study, whole, from one database into another.

The original is read as it was at one moment, and the copy is there whole and checked, or not at
all. Rows get new ids; what refers to them follows, by the foreign keys of the tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    String,
    Table,
    cast,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from hpsearch.errors import DatabaseError, HpsearchError
from hpsearch.seeds import Purpose
from hpsearch.store import tables
from hpsearch.store.bulk import STUDY_TABLES, TRIAL_TABLES
from hpsearch.store.database import Database, open_database
from hpsearch.store.rounds import optuna_name
from hpsearch.store.studies import StoredStudy, load_study
from hpsearch.store.workers import dismiss_workers, live_worker_names
from hpsearch.study_file import overridden

_STUDIES, *_STUDY_PARTS = STUDY_TABLES
_TRIALS, *_TRIAL_PARTS = TRIAL_TABLES
# What refers to our study and is small, then what refers to our trials.
_OUR_STUDY_PARTS = (tables.amendment, tables.worker, tables.round_, tables.ledger)
_OUR_TRIAL_PARTS = (tables.epoch, tables.diagnosis, tables.attempt, tables.opening)
# The mirror's row says how far the copy in one MLflow is, for the database it was made from.
LEFT_OUT = (tables.mirror,)

# Trials, and rows of any table, that are in memory at once.
_TRIALS_AT_ONCE = 250
_ROWS_AT_ONCE = 2000

# Ours refer to Optuna's rows without a foreign key between the two tools' tables.
_OPTUNA_REFERENCES: dict[Column[Any], Column[Any]] = {
    tables.study.c.optuna_study_id: _STUDIES.c.study_id,
    tables.trial.c.optuna_trial_id: _TRIALS.c.trial_id,
}

# Ids that other tables know rows by.
_NAMED_KEYS = {_STUDIES.c.study_id, _TRIALS.c.trial_id} | {
    table.c.id for table in (tables.study, tables.worker, tables.round_, tables.trial)
}

Watch = Callable[[Literal["copied", "checked"], int, int], None]
_Piece = tuple[Table, ColumnElement[bool]]


@dataclass(frozen=True)
class CopiedTable:
    """A table of the copy after it was compared with the original.

    Attributes:
        name: The table.
        rows: Rows of the study in it.
        digest: SHA-256 of those rows without their ids: the same wherever the study is copied.
    """

    name: str
    rows: int
    digest: str


@dataclass(frozen=True)
class CopyReport:
    """What was copied.

    Attributes:
        study: The study's name at the target.
        trials: All its trials, those of sibling studies included.
        freed: Trials that a worker held when it died; they wait at the target.
        tables: Each table that was copied and compared.
    """

    study: str
    trials: int
    freed: int
    tables: tuple[CopiedTable, ...]


def copy_study(
    source: Database,
    target_url: str,
    name: str,
    new_name: str | None = None,
    watch: Watch = lambda _what, _done, _total: None,
) -> CopyReport:
    """Copy a study in one transaction of the target; the original stays as it is.

    At the target nobody works on it: workers have left, their trials wait, no close is leased,
    and no mirror has begun.

    Args:
        source: Where the study is.
        target_url: Where it shall be too; the database is made where there is none.
        name: The study.
        new_name: Its name at the target, None for the same.
        watch: Told how many trials are copied, then checked, and how many there are.

    Raises:
        UnknownStudyError: If there is no such study.
        StudyFileError: If a study cannot have the new name.
        DatabaseError: If workers are at it, the target cannot be used or has a study of that name.
        HpsearchError: If the copy is not equal to the original; it is not kept.
    """
    study = load_study(source, name)
    new_name = name if new_name is None else overridden(study.spec, name=new_name).name
    with source.reading() as reading:
        _check_resting(reading, study)
        _check_whole(reading, study)
        with closing(_open_target(target_url)) as target:
            try:
                with target.writing(durable=True) as writing:
                    return _copied(_Place(reading, name), _Place(writing, new_name), target, watch)
            except IntegrityError:
                with target.reading() as connection:  # another process was faster by a moment
                    _check_free(_Place(connection, new_name), target)
                raise


def _open_target(url: str) -> Database:
    try:
        return open_database(url, create=True)
    except DatabaseError as error:
        raise DatabaseError(str(error).replace("--database", "--to")) from error


def _copied(original: _Place, copy: _Place, target: Database, watch: Watch) -> CopyReport:
    _check_free(copy, target)
    total = original.count_trials()
    made = _Copy(original, copy)
    done = 0
    for table, which in original.pieces():
        rows = made.add(table, which)
        if table is _TRIALS:
            done += rows
            watch("copied", done, total)
    checked = _compared(original, copy, lambda seen: watch("checked", seen, total))
    study_id = copy.connection.execute(
        select(tables.study.c.id).where(tables.study.c.name == copy.name)
    ).scalar_one()
    freed = dismiss_workers(copy.connection, target.storage, study_id)
    return CopyReport(copy.name, total, freed, checked)


# ------------------------------------------------------------------- what a study is


@dataclass(frozen=True)
class _Place:
    """The study in one of the two databases.

    Attributes:
        connection: Sees the database at one moment.
        name: The study's name there.
    """

    connection: Connection
    name: str

    @property
    def siblings(self) -> list[str]:
        """Names of its Optuna studies, whether they are there yet or not."""
        return [optuna_name(self.name, purpose) for purpose in Purpose]

    def count_trials(self) -> int:
        """Optuna's trials of all siblings; each trial of ours is one of them."""
        mine = _TRIALS.c.study_id.in_(self._optuna_ids())
        return int(self.connection.scalar(select(func.count()).where(mine)) or 0)

    def pieces(self) -> Iterator[_Piece]:
        """Every table with a condition on its rows; what is referred to comes first.

        A table of trials comes once for each few hundred of them.
        """
        yield _STUDIES, _STUDIES.c.study_name.in_(self.siblings)
        for part in _STUDY_PARTS:
            yield part, part.c.study_id.in_(self._optuna_ids())
        mine = tables.study.c.name == self.name
        yield tables.study, mine
        for part in _OUR_STUDY_PARTS:
            yield part, part.c.study_id.in_(select(tables.study.c.id).where(mine))
        for chunk in self._chunks():
            yield from _trial_pieces(chunk)

    def _optuna_ids(self) -> Select[tuple[int]]:
        return select(_STUDIES.c.study_id).where(_STUDIES.c.study_name.in_(self.siblings))

    def _chunks(self) -> Iterator[Sequence[int]]:
        """Optuna's ids of the trials, a few hundred at a time, in their order."""
        key = _TRIALS.c.trial_id
        mine = _TRIALS.c.study_id.in_(self._optuna_ids())
        last = -1
        while True:
            following = select(key).where(mine, key > last).order_by(key).limit(_TRIALS_AT_ONCE)
            chunk = self.connection.scalars(following).all()
            if not chunk:
                return
            yield chunk
            last = chunk[-1]


def _trial_pieces(chunk: Sequence[int]) -> Iterator[_Piece]:
    for table in TRIAL_TABLES:
        yield table, table.c.trial_id.in_(chunk)
    mine = tables.trial.c.optuna_trial_id.in_(chunk)
    yield tables.trial, mine
    for part in _OUR_TRIAL_PARTS:
        yield part, part.c.trial_id.in_(select(tables.trial.c.id).where(mine))


def _own_key(table: Table) -> Column[Any] | None:
    """The column of ids that the database gives; None where other columns are the key."""
    keys = list(table.primary_key)
    return keys[0] if len(keys) == 1 and _referred(keys[0]) is None else None


def _referred(column: Column[Any]) -> Column[Any] | None:
    """The column of ids that a column's values are from."""
    declared = (key.column for key in column.foreign_keys)
    return next(declared, _OPTUNA_REFERENCES.get(column))


def _renamed(table: Table, row: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """A row as it is where the study has another name."""
    if old == new:
        return row
    if table is _STUDIES:
        row["study_name"] = new + row["study_name"][len(old) :]
    elif table is tables.study:
        row["name"] = new
        row["spec"] = json.dumps(json.loads(row["spec"]) | {"name": new})
    return row


# ------------------------------------------------------------------ before it begins


def _check_resting(connection: Connection, study: StoredStudy) -> None:
    """Who trains meanwhile would train for the original alone."""
    names = live_worker_names(connection, study.id)
    if names and study.state != "complete":
        raise DatabaseError(
            f"{study.name}: workers are at it ({', '.join(names)}); stop them with Ctrl-C, "
            "or wait until the study is complete, and copy it then"
        )


def _check_whole(connection: Connection, study: StoredStudy) -> None:
    trial = tables.trial.c
    lost = connection.scalar(
        select(func.count())
        .select_from(tables.trial.outerjoin(_TRIALS, _TRIALS.c.trial_id == trial.optuna_trial_id))
        .where(trial.study_id == study.id, _TRIALS.c.trial_id.is_(None))
    )
    if lost:
        raise DatabaseError(
            f"{study.name}: {lost} of its trials are gone from Optuna's tables, perhaps by "
            "`optuna delete-study`, so it cannot be copied whole; restore a copy of the database"
        )


def _check_free(copy: _Place, target: Database) -> None:
    """A study at the target is never added to, whoever made it."""
    ours = select(tables.study.c.name).where(tables.study.c.name == copy.name)
    optunas = select(_STUDIES.c.study_name).where(_STUDIES.c.study_name.in_(copy.siblings))
    taken = copy.connection.scalar(ours) or copy.connection.scalar(optunas)
    if taken is not None:
        raise DatabaseError(
            f"{taken}: a study of this name is in {target.engine.url} already; "
            f"copy it under another name: --name {copy.name}-2"
        )


# ----------------------------------------------------------------------- copying


@dataclass(frozen=True)
class _Copy:
    """Adds rows to the copy, and knows the new ids of those that later rows refer to."""

    original: _Place
    copy: _Place
    _new_ids: dict[Column[Any], dict[int, int]] = field(default_factory=dict)

    def add(self, table: Table, which: ColumnElement[bool]) -> int:
        """Copy some rows of a table; how many they are."""
        key = _own_key(table)
        is_referred_to = key in _NAMED_KEYS
        if key is not None:
            self._new_ids[key] = {}  # of trials, those of the last few hundred are enough
        columns = [column for column in table.c if column is not key or is_referred_to]
        found = self.original.connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
            select(*columns).where(which).order_by(*table.primary_key)
        )
        count = 0
        for part in found.mappings().partitions():
            rows = self._arriving(table, part)
            if key is not None and is_referred_to:
                self._insert_named(table, key, rows)
            else:
                self.copy.connection.execute(insert(table), rows)
            count += len(rows)
        return count

    def _insert_named(self, table: Table, key: Column[Any], rows: list[dict[str, Any]]) -> None:
        old = [row.pop(key.name) for row in rows]
        new = self.copy.connection.scalars(
            insert(table).returning(key, sort_by_parameter_order=True), rows
        )
        self._new_ids[key] |= dict(zip(old, new, strict=True))

    def _arriving(self, table: Table, part: Sequence[RowMapping]) -> list[dict[str, Any]]:
        """Rows under the study's new name, with the new ids of what they refer to."""
        rows = [_renamed(table, dict(row), self.original.name, self.copy.name) for row in part]
        for column in table.columns:
            referred = _referred(column)
            if referred is None:
                continue
            new_ids, name = self._new_ids[referred], column.name
            for row in rows:
                row[name] = None if row[name] is None else new_ids[row[name]]
        return rows


# ---------------------------------------------------------------------- comparing


def _compared(
    original: _Place, copy: _Place, watch: Callable[[int], None]
) -> tuple[CopiedTable, ...]:
    """Read both back and compare them row by row, ids by what they stand for.

    Raises:
        HpsearchError: If a row differs.
    """
    counts: dict[str, int] = {}
    digests: dict[str, Any] = {}
    for (table, there), (_, here) in zip(original.pieces(), copy.pieces(), strict=True):
        expected = _lines(original, table, there, copy.name)
        if _lines(copy, table, here, copy.name) != expected:
            raise HpsearchError(
                f"{copy.name}: the copy's rows in {table.name} are not equal to the original's; "
                "nothing was kept"
            )
        counts[table.name] = counts.get(table.name, 0) + len(expected)
        digest = digests.setdefault(table.name, hashlib.sha256())
        for line in expected:
            digest.update(line.encode())
        if table is _TRIALS:
            watch(counts[table.name])
    return tuple(CopiedTable(t, counts[t], digests[t].hexdigest()) for t in counts)


def _lines(place: _Place, table: Table, which: ColumnElement[bool], name: str) -> list[str]:
    """Rows as text, the same in every database and sorted alike whatever its ids and collation."""
    own = _own_key(table)
    columns = [
        _by_name(column, place).label(column.name) for column in table.c if column is not own
    ]
    rows = place.connection.execute(select(*columns).where(which))
    if table in {_STUDIES, tables.study}:
        named = (_renamed(table, dict(row), place.name, name) for row in rows.mappings())
        return sorted(f"{tuple(row.values())}\n" for row in named)
    return sorted(f"{tuple(row)}\n" for row in rows.all())


def _by_name(column: Column[Any], place: _Place) -> ColumnElement[Any]:
    """A column, or the name of the row that it refers to."""
    if isinstance(column.type, Float):
        # SQLite stores -0.0 as 0.0 (sqlite.org/floatingpoint.html): they are equal, and so here.
        return column + 0.0
    referred = _referred(column)
    if referred is None:
        return column
    return _naming(referred, place).where(referred == column).scalar_subquery()


def _naming(key: Column[Any], place: _Place) -> Select[Any]:
    """What a row that others refer to is known by in any database."""
    after_name = len(place.name) + 1
    if key is _STUDIES.c.study_id:
        return select(func.substr(_STUDIES.c.study_name, after_name))
    if key is _TRIALS.c.trial_id:
        sibling = func.substr(_STUDIES.c.study_name, after_name)
        joined = select(cast(_TRIALS.c.number, String) + sibling)
        return joined.where(_STUDIES.c.study_id == _TRIALS.c.study_id)
    if key is tables.study.c.id:
        return select(func.substr(tables.study.c.name, after_name))
    if key is tables.worker.c.id:
        return select(tables.worker.c.name + " " + tables.worker.c.process)
    numbered = tables.round_ if key is tables.round_.c.id else tables.trial
    return select(numbered.c.purpose + cast(numbered.c.number, String))
