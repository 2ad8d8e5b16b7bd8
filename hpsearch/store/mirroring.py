"""What the mirror reads and writes: finished trials round by round, and how far it has come.

Its questions are asked twice a second while others train, so none of them grows with the
study: only open rounds and those closed since are looked at. Everything that is finished is asked
for once, when MLflow is compared with the study.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.errors import DatabaseError
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED, UNFINISHED
from hpsearch.store import tables
from hpsearch.store.database import Database, clock, retried
from hpsearch.store.reading import Curve, curves, trial_rows

# First key of PostgreSQL's advisory locks, so that other programs' locks are not met.
_LOCK_SPACE = 0x68705F6D


@dataclass(frozen=True)
class MirrorRow:
    """How far a study's mirror is.

    Attributes:
        destination: MLflow's tracking URI, without a password.
        experiment_id: The study's experiment there.
        run_id: The study's own run.
        trials: Finished trials copied so far.
        message: Why it waits, if it does.
        seen: When it last said so, seconds since 1970.
    """

    destination: str
    experiment_id: str | None
    run_id: str | None
    trials: int
    message: str | None
    seen: float


@dataclass(frozen=True)
class RoundRow:
    """A round as the mirror sees it; times in seconds since 1970."""

    id: int
    purpose: Purpose
    number: int
    planned: int
    closed: bool
    opened: float
    ended: float | None


@dataclass(frozen=True)
class TrialEnd:
    """Which trial is finished, and when: no two attempts at it end at the same moment.

    Attributes:
        started: When its last attempt began, seconds since 1970; None where nobody knows.
    """

    purpose: Purpose
    number: int
    started: float | None
    finished: float


@dataclass(frozen=True)
class MirroredTrial:
    """A finished trial with everything MLflow is told about it.

    Attributes:
        scored_at: The epoch whose weights the score belongs to, None for the last.
        below_at: The epoch after which it was below what it was judged by, None for never.
        threshold: What that was.
        epochs: (epoch, metrics) from epoch 1; a metric that was not finite is None.
        started: When its last attempt began, seconds since 1970; None where nobody knows.
    """

    purpose: Purpose
    round: int
    number: int
    seed: int
    state: str
    values: dict[str, Any]
    score: float | None
    scored_at: int | None
    message: str | None
    worker: str | None
    attempts: int
    epochs: tuple[tuple[int, dict[str, float | None]], ...]
    started: float | None
    finished: float
    below_at: int | None = None
    threshold: float | None = None


# ------------------------------------------------------------------- its own row


def read_mirror(database: Database, study_id: int) -> MirrorRow | None:
    """The mirror's row; None before a mirror has ever run."""
    with database.reading() as connection:
        row = connection.execute(
            select(tables.mirror).where(tables.mirror.c.study_id == study_id)
        ).one_or_none()
    if row is None:
        return None
    return MirrorRow(
        row.destination, row.experiment_id, row.run_id, row.trials, row.message, row.seen
    )


def write_mirror(
    database: Database,
    study_id: int,
    destination: str,
    trials: int,
    *,
    experiment_id: str | None = None,
    run_id: str | None = None,
    message: str | None = None,
) -> None:
    """Say how far the mirror is; ids that are None keep what stands for this destination."""
    mine = tables.mirror.c.study_id == study_id
    with database.writing() as connection:
        values = {"destination": destination, "trials": trials, "message": message}
        found = connection.scalar(select(tables.mirror.c.destination).where(mine))
        ids = {"experiment_id": experiment_id, "run_id": run_id}
        if found == destination:
            ids = {key: value for key, value in ids.items() if value is not None}
        values |= ids | {"seen": clock(connection)}
        if found is None:
            connection.execute(insert(tables.mirror).values(study_id=study_id, **values))
        else:
            connection.execute(update(tables.mirror).where(mine).values(**values))


@retried
def mirror_progress(database: Database, study_name: str) -> tuple[int, int]:
    """Trials that the mirror has copied, and trials that are finished."""
    round_, trial = tables.round_.c, tables.trial.c
    study_id = select(tables.study.c.id).where(tables.study.c.name == study_name).scalar_subquery()
    open_rounds = select(round_.id).where(
        round_.study_id == study_id, round_.state == tables.RoundState.OPEN
    )
    # Every trial of a closed round is finished, so only those of open ones are looked at.
    unfinished = select(func.count(trial.id)).where(
        trial.round_id.in_(open_rounds), trial.state.in_(UNFINISHED)
    )
    planned = select(func.sum(round_.planned)).where(round_.study_id == study_id)
    copied = select(tables.mirror.c.trials).where(tables.mirror.c.study_id == study_id)
    with database.reading() as connection:
        done = connection.scalar(copied) or 0
        total = (connection.scalar(planned) or 0) - (connection.scalar(unfinished) or 0)
    return min(done, total), total


# ---------------------------------------------------------------- what is new


def study_signature(database: Database, study_id: int) -> tuple[int, int, str]:
    """Newest round, open rounds and the state: what a study's own run says changes only with it."""
    round_ = tables.round_.c
    newest = select(func.max(round_.id)).where(round_.study_id == study_id)
    still_open = (
        select(func.count())
        .select_from(tables.round_)
        .where(round_.study_id == study_id, round_.state == tables.RoundState.OPEN)
    )
    state = select(tables.study.c.state).where(tables.study.c.id == study_id)
    with database.reading() as connection:
        return (
            int(connection.scalar(newest) or 0),
            int(connection.scalar(still_open) or 0),
            str(connection.scalar(state)),
        )


def rounds_after(database: Database, study_id: int, after: int) -> list[RoundRow]:
    """The study's rounds whose row is later than `after`, oldest first."""
    round_ = tables.round_.c
    with database.reading() as connection:
        rows = connection.execute(
            select(tables.round_)
            .where(round_.study_id == study_id, round_.id > after)
            .order_by(round_.id)
        ).all()
    return [
        RoundRow(
            row.id,
            Purpose(row.purpose),
            row.number,
            row.planned,
            row.state == tables.RoundState.CLOSED,
            row.opened,
            row.closed,
        )
        for row in rows
    ]


def finished_in_round(database: Database, round_id: int) -> list[tuple[int, int]]:
    """(row, number) of a round's finished trials, in number order."""
    trial = tables.trial.c
    with database.reading() as connection:
        rows = connection.execute(
            select(trial.id, trial.number)
            .where(trial.round_id == round_id, trial.state.in_(FINISHED))
            .order_by(trial.number)
        )
        return [(row.id, row.number) for row in rows]


def all_finished(database: Database, study_id: int) -> list[TrialEnd]:
    """Every finished trial of a study."""
    trial = tables.trial.c
    with database.reading() as connection:
        rows = connection.execute(
            select(trial.purpose, trial.number, trial.started, trial.finished).where(
                trial.study_id == study_id, trial.state.in_(FINISHED)
            )
        )
        return [
            TrialEnd(Purpose(row.purpose), row.number, row.started, row.finished) for row in rows
        ]


def mirrored_trials(database: Database, trial_ids: Sequence[int]) -> list[MirroredTrial]:
    """Finished trials with their curves, in number order; a few dozen at a time."""
    trial = tables.trial.c
    which = trial.id.in_(trial_ids) & trial.state.in_(FINISHED)
    with database.reading() as connection:
        found = curves(connection, which)
        return [_trial(row, found.get(row["id"], [])) for row in trial_rows(connection, which)]


def _trial(row: dict[str, Any], curve: Curve) -> MirroredTrial:
    return MirroredTrial(
        purpose=Purpose(row["purpose"]),
        round=row["round"],
        number=row["number"],
        seed=row["seed"],
        state=row["state"],
        values=row["values"],
        score=row["score"],
        scored_at=row["scored_at"],
        message=row["message"],
        below_at=row["below_at"],
        threshold=row["threshold"],
        worker=row["worker"],
        attempts=row["attempts"],
        epochs=tuple(curve),
        started=row["started"],
        finished=row["finished"],
    )


def opening_result(database: Database, study_id: int, number: int) -> dict[str, Any] | None:
    """The figure of one opening of the test split; None until it is known."""
    with database.reading() as connection:
        result = connection.scalar(
            select(tables.opening.c.result).where(
                tables.opening.c.study_id == study_id, tables.opening.c.number == number
            )
        )
    return None if result is None else dict(json.loads(result))


# ------------------------------------------------------------- one mirror at a time


class MirrorLock(Protocol):
    """The right to mirror a study; it dies with its process, so a killed mirror blocks nobody."""

    def take(self) -> bool:
        """Whether this process has the right now; asked again, whether it still has it.

        Raises:
            DatabaseError: If the database cannot be asked.
        """

    def release(self) -> None:
        """Give it back, if it is held; never fails."""


@contextmanager
def mirror_lock(database: Database, study_id: int) -> Iterator[MirrorLock]:
    """The lock of a study's mirror, not taken yet, and given back in the end."""
    lock: MirrorLock
    if database.engine.dialect.name == "sqlite":
        lock = _FileLock(str(database.engine.url.database), study_id)
    else:
        lock = _AdvisoryLock(database, study_id)
    try:
        yield lock
    finally:
        lock.release()


class _FileLock:
    """A lock file of its own: closing any handle of the database file drops SQLite's locks."""

    def __init__(self, file: str, study_id: int) -> None:
        self._study = f"{Path(file).resolve()} {study_id}"
        self._handle: IO[str] | None = None

    def take(self) -> bool:
        """Whether the file is locked by this process, which tries to if it is not."""
        if self._handle is None:
            self._handle = self._locked()
        return self._handle is not None

    def release(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _locked(self) -> IO[str] | None:
        try:
            import fcntl
        except ImportError as error:
            raise DatabaseError(
                "copying a study to MLflow needs file locks that this system lacks; "
                "use Linux or macOS, or `start --tracking none`"
            ) from error
        key = hashlib.sha256(self._study.encode()).hexdigest()[:24]
        path = Path(tempfile.gettempdir()) / f"hpsearch-mirror-{os.getuid()}-{key}.lock"
        handle = path.open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        return handle


class _AdvisoryLock:
    """PostgreSQL's lock of a session: it is gone when the server drops the connection."""

    def __init__(self, database: Database, study_id: int) -> None:
        self._engine = database.engine
        self._keys = {"space": _LOCK_SPACE, "study": study_id}
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Whether this session has the lock; asks the server, and for a new lock if need be."""
        try:
            if self._connection is not None and not self._is_mine(self._connection):
                self.release()
            if self._connection is None:
                self._connection = self._locked()
        except SQLAlchemyError as error:
            self.release()
            said = " ".join(str(getattr(error, "orig", None) or error).split())
            raise DatabaseError(f"{self._engine.url}: {said}") from error
        return self._connection is not None

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(SQLAlchemyError):  # a session that is dead has no lock to give back
            connection.execute(text("SELECT pg_advisory_unlock(:space, :study)"), self._keys)
        connection.invalidate()  # whatever state it is in, nobody gets it from the pool
        connection.close()

    def _locked(self) -> Connection | None:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        question = text("SELECT pg_try_advisory_lock(:space, :study)")
        held = False
        try:
            held = bool(connection.execute(question, self._keys).scalar_one())
        finally:
            if not held:
                connection.close()
        return connection if held else None

    def _is_mine(self, connection: Connection) -> bool:
        """Asked of the server: a connection that broke may have been made anew, without it."""
        question = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND pid = pg_backend_pid() AND classid = :space AND objid = :study"
        )
        try:
            return bool(connection.execute(question, self._keys).scalar_one())
        except SQLAlchemyError:
            return False  # the connection is dead, and the lock with it
