"""Leases: who owns a trial, until when, and what happens when its worker is gone.

A claim's token is the proof of ownership. Leases are judged by the database's clock; a trial whose
worker died or vanished waits again, and the third loss fails it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState as OptunaState
from sqlalchemy import ColumnElement, Connection, select, update

from hpsearch.search.discarding import Band, Rule
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Value
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage, FinishedTrial
from hpsearch.store.database import Database, clock, retried
from hpsearch.store.rounds import TRAINED
from hpsearch.store.tables import AttemptOutcome

LEASE_SECONDS = 60.0
# A trial that has taken this many workers with it is not given to another.
MOST_LOSSES = 3


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial as its worker gets it.

    Attributes:
        values: None where the sampler suggests now.
        rule: What it is stopped by; None where nothing stops it.
    """

    id: int
    optuna_trial_id: int
    number: int
    seed: int
    values: dict[str, Value] | None
    rule: Rule | None = None


@dataclass(frozen=True)
class Claim:
    """Trials that belong to one worker until the lease ends.

    Attributes:
        token: Proof of ownership.
        purpose: What the round is for.
        round_id: The round's row.
        round: The round's number.
        box: The round's box.
        trials: In number order.
        bands: What the round's trials are judged by.
    """

    token: int
    purpose: Purpose
    round_id: int
    round: int
    box: Box
    trials: tuple[ClaimedTrial, ...]
    bands: tuple[Band, ...] = ()


def renew(
    database: Database, claim: Claim, worker_id: int, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Prolong the lease; False when every trial of the claim belongs to somebody else."""
    with database.writing() as connection:
        until = clock(connection) + lease_seconds
        mine = (tables.trial.c.token == claim.token) & (tables.trial.c.state == TrialState.RUNNING)
        kept = connection.execute(update(tables.trial).where(mine).values(lease_until=until))
        worker_seen(connection, worker_id, until - lease_seconds)
        return bool(kept.rowcount)


@retried
def hand_back(database: Database, claim: Claim) -> None:
    """Return a claim's unfinished trials at once, as if they had never been taken."""
    with database.writing() as connection:
        when = clock(connection)
        owned = owned_trials(connection, claim.token)
        if not owned:
            return
        end_attempts(connection, list(owned), AttemptOutcome.RETURNED, when)
        _set_waiting(connection, owned)
        ids = [t.optuna_trial_id for t in claim.trials if t.id in owned]
        database.storage.hand_back(connection, ids)


def lose_trials(
    connection: Connection,
    storage: BulkStorage,
    which: ColumnElement[bool],
    when: float,
    *,
    outcome: AttemptOutcome = AttemptOutcome.LOST,
    blame: bool = True,
) -> int:
    """Take running trials from workers that are gone; the third loss fails a trial.

    Args:
        connection: The caller's write transaction.
        storage: Optuna's tables.
        which: Which trials; those that are not running are left alone.
        when: Now, by the database's clock.
        outcome: How the workers' attempts end.
        blame: Whether the trial may be why its worker died; not after a power cut or a
            `kill -9` of everything, which no trial survives and none has caused.

    Returns:
        How many trials were taken.
    """
    columns = tables.trial.c
    rows = connection.execute(
        select(columns.id, columns.optuna_trial_id, columns.losses)
        .where(which, columns.state == TrialState.RUNNING, columns.purpose.in_(TRAINED))
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    ids = [row.id for row in rows]
    end_attempts(connection, ids, outcome, when)
    counted = 1 if blame else 0
    connection.execute(
        update(tables.trial).where(columns.id.in_(ids)).values(losses=columns.losses + counted)
    )
    fatal = [row for row in rows if row.losses + counted >= MOST_LOSSES]
    again = [row for row in rows if row.losses + counted < MOST_LOSSES]
    _fail(connection, storage, fatal, when)
    if again:
        _set_waiting(connection, {row.id for row in again})
        storage.hand_back(connection, [row.optuna_trial_id for row in again])
    return len(rows)


def _fail(connection: Connection, storage: BulkStorage, rows: Sequence[Any], when: float) -> None:
    if not rows:
        return
    message = f"{MOST_LOSSES} workers died or vanished while training it"
    connection.execute(
        update(tables.trial)
        .where(tables.trial.c.id.in_([row.id for row in rows]))
        .values(
            state=TrialState.FAILED, message=message, token=None, lease_until=None, finished=when
        )
    )
    ends = [FinishedTrial(row.optuna_trial_id, OptunaState.FAIL, None, {}) for row in rows]
    storage.finish(connection, ends, when)


def owned_trials(connection: Connection, token: int) -> set[int]:
    """Rows of the trials that still belong to a claim, locked until the transaction ends."""
    columns = tables.trial.c
    rows = connection.scalars(
        select(columns.id)
        .where(columns.token == token, columns.state == TrialState.RUNNING)
        .with_for_update()
    )
    return set(rows)


def _set_waiting(connection: Connection, ids: set[int]) -> None:
    connection.execute(
        update(tables.trial)
        .where(tables.trial.c.id.in_(ids))
        .values(
            state=TrialState.WAITING,
            token=None,
            lease_until=None,
            worker_id=None,
            started=None,
        )
    )


def end_attempts(
    connection: Connection, ids: Sequence[int], outcome: AttemptOutcome, when: float
) -> None:
    """Write down how the running attempts at these trials ended."""
    connection.execute(
        update(tables.attempt)
        .where(
            tables.attempt.c.trial_id.in_(ids),
            tables.attempt.c.outcome == AttemptOutcome.RUNNING,
        )
        .values(outcome=outcome, ended=when)
    )


def worker_seen(connection: Connection, worker_id: int, when: float) -> None:
    """Write down that a worker has just been heard of."""
    connection.execute(
        update(tables.worker).where(tables.worker.c.id == worker_id).values(seen=when)
    )
