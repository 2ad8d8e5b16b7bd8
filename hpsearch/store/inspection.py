"""A database looked at without changing it, whatever state it is in.

Nothing here opens a database as workers do: that would switch an SQLite file to a write-ahead
log, and bring older tables up to date.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.trial import TrialState as OptunaState
from sqlalchemy import ColumnElement, Connection, create_engine, exists, func, or_, select
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED, UNFINISHED, TrialState
from hpsearch.store import tables
from hpsearch.store.bulk import optuna_has
from hpsearch.store.database import check_address, check_schema, clock
from hpsearch.store.documents import legible
from hpsearch.store.driver_errors import explained
from hpsearch.store.engine import (
    BUSY_SECONDS,
    connect_arguments,
    parse_url,
    reading_options,
    sqlite_file,
    tune,
)
from hpsearch.store.leases import LEASE_SECONDS
from hpsearch.store.read_only import reading_uri
from hpsearch.store.results import OPTUNA_STATE
from hpsearch.store.studies import amendments_of
from hpsearch.store.tables import AttemptOutcome, RoundState
from hpsearch.store.workers import may_be_alive

# Whoever wants to know how a database is does not wait a minute for it.
_PATIENCE_SECONDS = 5
_TRIES = 3


@contextmanager
def inspecting(url: str) -> Iterator[Inspection]:
    """A look at a database through a connection that cannot write.

    Raises:
        NoStudiesError: If there is no such file.
        DatabaseError: If nothing can be read there.
    """
    address = check_address(url, create=False)
    with explained(address), _reading(address) as connection:
        yield Inspection(connection)


@contextmanager
def _reading(address: URL) -> Iterator[Connection]:
    engine = create_engine(address, poolclass=NullPool, **_reading_only(address))
    tune(engine)
    try:
        with engine.connect() as plain:
            connection = plain.execution_options(**reading_options(engine))
            with connection.begin():
                yield connection
    finally:
        engine.dispose()


def _reading_only(address: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for a connection that only reads."""
    path = sqlite_file(address)
    if path is not None:
        return {"creator": lambda: _open_file(path)}
    if address.get_backend_name() == "sqlite":
        return {}
    return {"connect_args": connect_arguments(address) | {"connect_timeout": _PATIENCE_SECONDS}}


def _open_file(path: Path) -> sqlite3.Connection:
    # A log beside the file holds what its writers, alive or killed, have not yet put into the
    # file; a connection that may write would do it for them. Without a log only such a
    # connection leaves no empty one behind.
    path = path.resolve()
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "rw"
    address = reading_uri(path) or f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)
    connection.isolation_level = None  # transactions begin where `tune` says
    connection.execute("PRAGMA query_only=ON")
    return connection


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None where there is none."""
    return sqlite_file(parse_url(url))


# ------------------------------------------------------------------- what is found


@dataclass(frozen=True)
class Suspects:
    """Trials of one study with rows that contradict each other.

    Attributes:
        study: The study's name.
        said: What is the matter with them.
        trials: "PURPOSE NUMBER" of each, in order.
        harmful: False where the next claim or result puts it right.
    """

    study: str
    said: str
    trials: tuple[str, ...]
    harmful: bool = True


@dataclass(frozen=True)
class ShortStudy:
    """A complete study with fewer search rounds than an amendment gave it."""

    study: str
    rounds: int
    given: int


@dataclass(frozen=True)
class MissingWorker:
    """A worker that has not said goodbye.

    Attributes:
        study: The study's name.
        name: HOST-PID.
        silent: Seconds since it was heard of.
        gone: Whether its process is known to have ended.
    """

    study: str
    name: str
    silent: float
    gone: bool


@dataclass(frozen=True)
class MirrorLag:
    """How far a study's copy in MLflow is behind.

    Attributes:
        study: The study's name.
        destination: Where the copy is; None where a mirror has never run.
        finished: Finished trials.
        copied: Those that the mirror has copied.
        message: Why it waits, if it does.
        silent: Seconds since the mirror was heard of.
    """

    study: str
    destination: str | None
    finished: int
    copied: int
    message: str | None
    silent: float


class Inspection:
    """A database at one moment, whatever state it is in.

    Args:
        connection: Only read; its transaction has begun.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self._connection.dialect.name == "sqlite"

    def answer(self) -> tuple[float, float]:
        """Seconds that a question takes, and how far the database's clock is ahead of ours.

        The best of a few tries: this process may have had to wait for its turn in the others.
        """
        clock(self._connection)  # the first question is slower, it may open the file
        return min(self._answered() for _ in range(_TRIES))

    def _answered(self) -> tuple[float, float]:
        began, before = time.perf_counter(), time.time()
        theirs = clock(self._connection)
        seconds = time.perf_counter() - began
        return seconds, theirs - (before + seconds / 2)

    def check_schema(self) -> None:
        """Make sure that its tables are those of this hpsearch; see `database.check_schema`."""
        check_schema(self._connection, create=False)

    def journal_mode(self) -> str:
        """SQLite's journal mode; hpsearch wants "wal"."""
        return str(self._connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())

    def busy_seconds(self) -> float:
        """How long hpsearch's own connections wait for another writer of an SQLite file."""
        return BUSY_SECONDS

    def study_states(self) -> dict[str, str]:
        """Every study's state by its name, oldest first."""
        columns = tables.study.c
        rows = self._connection.execute(select(columns.name, columns.state).order_by(columns.id))
        return {row.name: row.state for row in rows}

    def lapsed_leases(self) -> list[Suspects]:
        """Trials whose worker has not renewed its lease in time."""
        columns = tables.trial.c
        late = (columns.state == TrialState.RUNNING) & (
            columns.lease_until < clock(self._connection)
        )
        return _suspects(self._connection, "not renewed in time", late)

    def unfinished_openings(self) -> list[Suspects]:
        """Final trials whose process is gone: the test split was opened and has no figure."""
        columns, worker = tables.trial.c, tables.worker.c
        rows = self._connection.execute(
            select(columns.id, worker.process, worker.stopped)
            .join(tables.worker, worker.id == columns.worker_id)
            .where(columns.purpose == Purpose.FINAL, columns.state == TrialState.RUNNING)
        )
        left = [row.id for row in rows if row.stopped is not None or not may_be_alive(row.process)]
        return _suspects(
            self._connection, "the opening of the test split has no result", columns.id.in_(left)
        )

    def broken_rows(self) -> list[Suspects]:
        """Rows without their partner, and partners that disagree; kind by kind."""
        columns = tables.trial.c
        unfinished = columns.state.in_(UNFINISHED)
        running = columns.state == TrialState.RUNNING
        measured = exists().where(tables.epoch.c.trial_id == columns.id)
        tried = exists().where(
            tables.attempt.c.trial_id == columns.id,
            tables.attempt.c.outcome == AttemptOutcome.RUNNING,
        )
        closed = tables.round_.c.state == RoundState.CLOSED
        kinds = {
            "running without an attempt that runs": running & ~tried,
            "not running, but an attempt at them is": ~running & tried,
            "not finished, but with measured epochs": unfinished & measured,
            "not finished in a round that is closed": unfinished & closed,
            "not among Optuna's trials": ~optuna_has(columns.optuna_trial_id),
            "finished, but Optuna's state says otherwise": ~unfinished & _optuna_differs(FINISHED),
        }
        found = [_suspects(self._connection, said, condition) for said, condition in kinds.items()]
        # Whoever calls Optuna's `study.ask()` takes a waiting row; its claim takes it back.
        taken = "not finished, and Optuna's state says otherwise"
        found.append(_suspects(self._connection, taken, _optuna_differs(UNFINISHED), harmful=False))
        return [suspects for kind in found for suspects in kind]

    def short_studies(self) -> list[ShortStudy]:
        """Complete studies that were given more rounds than they have."""
        study, round_ = tables.study.c, tables.round_.c
        rows = self._connection.execute(
            select(study.id, study.name, func.max(round_.number).label("rounds"))
            .join(tables.round_, round_.study_id == study.id)
            .where(study.state == "complete", round_.purpose == Purpose.SEARCH)
            .group_by(study.id, study.name)
            .order_by(study.id)
        ).all()
        found = [
            ShortStudy(row.name, row.rounds, self._given_rounds(row.name, row.id)) for row in rows
        ]
        return [short for short in found if short.given > short.rounds]

    def _given_rounds(self, study: str, study_id: int) -> int:
        """How many rounds the newest amendment of them gives a study; 0 without any."""
        with legible(study):
            amendments = amendments_of(self._connection, study_id)
        given = [amendment.change.rounds for amendment in amendments]
        return next((rounds for rounds in reversed(given) if rounds is not None), 0)

    def workers(self) -> tuple[int, list[MissingWorker]]:
        """How many workers of unfinished studies are alive, and those that seem to be gone."""
        worker, study = tables.worker.c, tables.study.c
        now = clock(self._connection)
        rows = self._connection.execute(
            select(study.name.label("study"), worker.name, worker.process, worker.seen)
            .join(tables.study, study.id == worker.study_id)
            .where(study.state == "running", worker.stopped.is_(None))
            .order_by(worker.id)
        ).all()
        workers = [
            MissingWorker(row.study, row.name, now - row.seen, not may_be_alive(row.process))
            for row in rows
        ]
        missing = [w for w in workers if w.gone or w.silent > 2 * LEASE_SECONDS]
        return len(workers) - len(missing), missing

    def mirror_lags(self) -> list[MirrorLag]:
        """How far each study's copy in MLflow is."""
        study, mirror, trial = tables.study.c, tables.mirror.c, tables.trial.c
        finished = (
            select(func.count())
            .where(trial.study_id == study.id, trial.state.in_(FINISHED))
            .scalar_subquery()
        )
        now = clock(self._connection)
        rows = self._connection.execute(
            select(
                study.name,
                finished.label("finished"),
                mirror.destination,
                mirror.trials,
                mirror.message,
                mirror.seen,
            )
            .select_from(tables.study.outerjoin(tables.mirror))
            .order_by(study.id)
        )
        return [
            MirrorLag(
                study=row.name,
                destination=row.destination,
                finished=row.finished,
                copied=min(row.trials or 0, row.finished),
                message=row.message,
                silent=now - (row.seen or now),
            )
            for row in rows
        ]


def _optuna_differs(states: tuple[TrialState, ...]) -> ColumnElement[bool]:
    """In one of these states of ours, and in Optuna's tables in another than belongs to it."""
    columns = tables.trial.c
    others = {
        state: [other for other in OptunaState if other != OPTUNA_STATE[state]] for state in states
    }
    return or_(
        *(
            (columns.state == state) & optuna_has(columns.optuna_trial_id, wrong)
            for state, wrong in others.items()
        )
    )


def _suspects(
    connection: Connection, said: str, which: ColumnElement[bool], *, harmful: bool = True
) -> list[Suspects]:
    columns, study = tables.trial.c, tables.study.c
    rows = connection.execute(
        select(study.name, columns.purpose, columns.number)
        .join_from(tables.trial, tables.study, study.id == columns.study_id)
        .join(tables.round_, tables.round_.c.id == columns.round_id)
        .where(which)
        .order_by(study.id, columns.purpose, columns.number)
    ).all()
    names = list(dict.fromkeys(row.name for row in rows))
    trials = {
        name: tuple(f"{row.purpose} {row.number}" for row in rows if row.name == name)
        for name in names
    }
    return [Suspects(name, said, trials[name], harmful) for name in names]
