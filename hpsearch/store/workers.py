"""Who trains: workers as rows, and whether their processes still exist."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.database import Database, clock, inserted_id, retried
from hpsearch.store.leases import LEASE_SECONDS, lose_trials, worker_seen
from hpsearch.store.rounds import new_token, release_closings

# Machine, boot, container, pid and start time.
_PROCESS_PARTS = 5


def register_worker(
    database: Database, study_id: int, fingerprint: Mapping[str, str]
) -> tuple[int, str]:
    """Write this process down as a worker of the study; called again, as one more worker.

    Args:
        database: The study's database.
        study_id: The study's row.
        fingerprint: What the bits of a result depend on besides the study: CPU, NumPy, BLAS.

    Returns:
        The worker's row and its name, HOST-PID.
    """
    name, identity = f"{socket.gethostname()}-{os.getpid()}", worker_identity()

    def register(again: bool) -> int:
        with database.writing() as connection:
            # A connection that broke may have broken after the commit.
            known = _find_worker(connection, study_id, identity) if again else None
            return known or _insert_worker(connection, study_id, name, identity, fingerprint)

    return database.call_knowing(register), name


def _find_worker(connection: Connection, study_id: int, identity: str) -> int | None:
    columns = tables.worker.c
    this = (columns.study_id == study_id) & (columns.process == identity)
    return connection.scalar(select(columns.id).where(this))


def _insert_worker(
    connection: Connection,
    study_id: int,
    name: str,
    identity: str,
    fingerprint: Mapping[str, str],
) -> int:
    when = clock(connection)
    return inserted_id(
        connection,
        insert(tables.worker).values(
            study_id=study_id,
            name=name,
            host=socket.gethostname(),
            process=identity,
            fingerprint=json.dumps(fingerprint),
            started=when,
            seen=when,
        ),
    )


def worker_stopped(database: Database, worker_id: int) -> None:
    """Write down that a worker has left; what it still held is free for others at once."""
    with database.writing() as connection:
        when = clock(connection)
        connection.execute(
            update(tables.worker).where(tables.worker.c.id == worker_id).values(stopped=when)
        )
        # Nothing but after an error in the middle of a claim or of a close.
        _free(connection, database, [worker_id], when)


@retried
def worker_heard_of(database: Database, worker_id: int) -> None:
    """Write down that a worker without work is still there."""
    with database.writing() as connection:
        worker_seen(connection, worker_id, clock(connection))


@retried
def recover_dead_workers(database: Database, study_id: int, *, blame: bool = True) -> int:
    """Free the trials and the close of workers of this machine whose process is gone.

    Nobody has to wait for their leases to lapse then; workers of other machines are judged by
    their leases alone.

    Args:
        database: The study's database.
        study_id: The study's row.
        blame: Whether their trials may be why they died; see `lose_trials`.

    Returns:
        How many trials became free.
    """
    with database.reading() as connection:
        registered = _registered(connection, study_id)
    dead = [worker.id for worker in registered if not may_be_alive(worker.process)]
    if not dead:
        return 0
    with database.writing() as connection:
        when = clock(connection)
        connection.execute(
            update(tables.worker).where(tables.worker.c.id.in_(dead)).values(stopped=when)
        )
        return _free(connection, database, dead, when, blame=blame)


@retried
def workers_heard_of(database: Database) -> int:
    """Workers of all studies of the database, on all machines, that were heard of lately."""
    columns = tables.worker.c
    with database.reading() as connection:
        lately = columns.seen > clock(connection) - 2 * LEASE_SECONDS
        query = select(func.count()).where(columns.stopped.is_(None), lately)
        return connection.execute(query).scalar_one()


@retried
def machines(database: Database, study_id: int) -> list[dict[str, str]]:
    """What the results' bits depend on besides the study, once for each kind of machine."""
    columns = tables.worker.c
    with database.reading() as connection:
        rows = connection.scalars(
            select(columns.fingerprint).where(columns.study_id == study_id).order_by(columns.id)
        )
        return [json.loads(fingerprint) for fingerprint in dict.fromkeys(rows)]


def dismiss_workers(connection: Connection, storage: BulkStorage, study_id: int) -> int:
    """Take everything from all workers of a study, for a database where none of them works.

    Returns:
        How many trials became free; it is held against none of them.
    """
    when = clock(connection)
    connection.execute(
        update(tables.worker)
        .where(tables.worker.c.study_id == study_id, tables.worker.c.stopped.is_(None))
        .values(stopped=when)
    )
    release_closings(connection, tables.round_.c.study_id == study_id)
    theirs = tables.trial.c.study_id == study_id
    return lose_trials(connection, storage, theirs, when, blame=False)


def live_workers(database: Database, study_id: int) -> int:
    """Workers that have not left, were heard of lately and, on this machine, have a process."""
    with database.reading() as connection:
        return count_live_workers(connection, study_id)


def count_live_workers(connection: Connection, study_id: int) -> int:
    """`live_workers` inside a transaction of the caller."""
    return len(live_worker_names(connection, study_id))


def live_worker_names(connection: Connection, study_id: int) -> list[str]:
    """HOST-PID of each of the `live_workers`, oldest first."""
    lately = tables.worker.c.seen > clock(connection) - 2 * LEASE_SECONDS
    registered = _registered(connection, study_id, lately)
    return [worker.name for worker in registered if may_be_alive(worker.process)]


def _registered(
    connection: Connection, study_id: int, *where: ColumnElement[bool]
) -> Sequence[Any]:
    columns = tables.worker.c
    return connection.execute(
        select(columns.id, columns.name, columns.process)
        .where(columns.study_id == study_id, columns.stopped.is_(None), *where)
        .order_by(columns.id)
    ).all()


def _free(
    connection: Connection,
    database: Database,
    gone: Sequence[int],
    when: float,
    *,
    blame: bool = True,
) -> int:
    """Take from workers what they still hold; the number of trials."""
    release_closings(connection, tables.round_.c.closing_worker_id.in_(gone))
    theirs = tables.trial.c.worker_id.in_(gone)
    return lose_trials(connection, database.storage, theirs, when, blame=blame)


# ------------------------------------------------------------------- processes


def process_identity(pid: int) -> str:
    """Text that no other process ever has: machine, boot, container, pid and start time."""
    return "|".join([*_here(), str(pid), _born(pid)])


def worker_identity() -> str:
    """Text that no other worker ever has: this process, which may run several, and a number."""
    return f"{process_identity(os.getpid())}|{new_token()}"


def may_be_alive(identity: str) -> bool:
    """Whether a process or a worker's process may exist.

    False only for a process of this very machine and boot that is gone.
    """
    *place, pid, created = identity.split("|")[:_PROCESS_PARTS]
    if place != _here():
        return True
    try:
        running = psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
        return running and _born(int(pid)) == created
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False


def _born(pid: int) -> str:
    """When the process started, by a clock that nobody sets.

    The wall clock is corrected while workers run; a start time computed from it would then
    differ, and a living worker be taken for dead.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():
        return repr(psutil.Process(pid).create_time())
    # The second field is the program's name, which may hold spaces and brackets; the start
    # time, in ticks since boot, is the 22nd field (proc(5)).
    return stat.read_text().rpartition(")")[2].split()[19]


def _here() -> list[str]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    return [
        platform.node(),
        boot.read_text().strip() if boot.exists() else repr(psutil.boot_time()),
        str(space.readlink()) if space.exists() else "",
    ]
