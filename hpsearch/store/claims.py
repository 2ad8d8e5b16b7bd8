"""Claims: one short write transaction that leases waiting trials to one worker.

A trial that was lost with its worker may have killed it. Such a trial is claimed alone, after
those that never were, so that it fails alone when it does so three times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    bindparam,
    func,
    insert,
    select,
    update,
)

from hpsearch.errors import LeaseLostError
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import encoded
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Value
from hpsearch.states import UNFINISHED, TrialState
from hpsearch.store import tables
from hpsearch.store.database import Database, retried
from hpsearch.store.documents import box_from, values_from, values_text
from hpsearch.store.engine import now
from hpsearch.store.leases import (
    LEASE_SECONDS,
    Claim,
    ClaimedTrial,
    lose_trials,
    owned_trials,
    worker_seen,
)
from hpsearch.store.rounds import TRAINED, new_token, newest_outcomes, optuna_distributions
from hpsearch.store.tables import AttemptOutcome

# A sampler is told of so many finished trials at most. A call takes time for each of them: 8 values
# of TPE 0.12 s for 1,000 trials and 1.5 s for 10,000 (2026-11, AMD EPYC, 2 cores). The oldest are
# what it can best do without: they lie outside the round's box more often than others.
MOST_KNOWN = 1000

_trial = tables.trial.c
_CLAIMED = (
    _trial.id,
    _trial.optuna_trial_id,
    _trial.number,
    _trial.seed,
    _trial["values"].label("text"),
    _trial.attempts,
)


def claim(
    database: Database,
    study_id: int,
    worker_id: int,
    most: int,
    lease_seconds: float = LEASE_SECONDS,
) -> Claim | None:
    """Take up to `most` waiting trials, lowest numbers first, or one that was lost before.

    The lowest number is taken, and with it only trials of its shape: what is claimed together is
    trained side by side. Trials whose lease has lapsed count as waiting. No more than a fair share
    of what waits is taken, so that the last trials of a round are spread over all workers.

    Returns:
        None where nothing can be claimed now.
    """
    token, tries = new_token(), count()

    def take() -> Claim | None:
        # A connection that broke may have broken after the commit: what is ours need not lapse.
        held = _held(database, token) if next(tries) else None
        return held or _claimed(database, study_id, worker_id, most, lease_seconds, token)

    return database.call(take)


def _held(database: Database, token: int) -> Claim | None:
    """What was claimed with this token."""
    with database.reading() as connection:
        rows = connection.execute(
            select(tables.trial.c.round_id, *_CLAIMED).where(tables.trial.c.token == token)
        ).all()
        if not rows:
            return None
        round_ = connection.execute(
            select(tables.round_).where(tables.round_.c.id == rows[0].round_id)
        ).one()
    return _as_claim(token, round_, rows)


def _claimed(
    database: Database, study_id: int, worker_id: int, most: int, lease_seconds: float, token: int
) -> Claim | None:
    if not _something_waits(database, study_id):
        return None
    with database.writing() as connection:
        row = _open_round(connection, study_id, worker_id, 2 * lease_seconds)
        if row is None:
            return None
        when = row.when
        worker_seen(connection, worker_id, when)
        lapsed = (tables.trial.c.round_id == row.id) & (tables.trial.c.lease_until < when)
        silent = AttemptOutcome.TAKEN_OVER
        lose_trials(connection, database.storage, lapsed, when, outcome=silent)
        share = _fair_share(connection, row.id, most, row.others + 1)
        lease = _Lease(worker_id, token, when, when + lease_seconds)
        waiting = (tables.trial.c.round_id == row.id) & (tables.trial.c.state == TrialState.WAITING)
        never_lost = tables.trial.c.losses == 0
        taken = _take(connection, waiting & never_lost, share, lease)
        taken = taken or _take(connection, waiting & ~never_lost, 1, lease)
        if not taken:
            return None
        database.storage.start(connection, [t.optuna_trial_id for t in taken], when)
    return _as_claim(token, row, taken)


def _as_claim(token: int, round_: Row[Any], rows: Sequence[Any]) -> Claim:
    trials = [
        ClaimedTrial(r.id, r.optuna_trial_id, r.number, r.seed, r.text and values_from(r.text))
        for r in sorted(rows, key=lambda row: row.number)
    ]
    purpose = Purpose(round_.purpose)
    return Claim(token, purpose, round_.id, round_.number, box_from(round_.box), tuple(trials))


def _something_waits(database: Database, study_id: int) -> bool:
    """A look without the write lock, for workers that wait for a round to end."""
    columns = tables.trial.c
    free = (columns.state == TrialState.WAITING) | (columns.lease_until < now())
    mine = (columns.round_id == _first_open(study_id)) & columns.state.in_(UNFINISHED)
    with database.reading() as connection:
        found = connection.execute(select(columns.id).where(mine, free).limit(1)).first()
    return found is not None


def _first_open(study_id: int) -> ScalarSelect[int]:
    """The row of the study's open round, the oldest of them."""
    columns = tables.round_.c
    return (
        select(columns.id)
        .where(
            columns.study_id == study_id,
            columns.state == tables.RoundState.OPEN,
            columns.purpose.in_(TRAINED),
        )
        .order_by(columns.id)
        .limit(1)
        .scalar_subquery()
    )


def _open_round(
    connection: Connection, study_id: int, worker_id: int, lately: float
) -> Row[Any] | None:
    """The open round, `when` it is now, and how many `others` beside a worker were heard of lately.

    Args:
        connection: The caller's transaction.
        study_id: The study's row.
        worker_id: The worker that asks.
        lately: How many seconds back that is.
    """
    worker = tables.worker.c
    others = (
        select(func.count())
        .select_from(tables.worker)
        .where(
            worker.study_id == study_id,
            worker.id != worker_id,
            worker.stopped.is_(None),
            worker.seen > now() - lately,
        )
        .scalar_subquery()
    )
    return connection.execute(
        select(tables.round_, now().label("when"), others.label("others")).where(
            tables.round_.c.id == _first_open(study_id)
        )
    ).one_or_none()


def _fair_share(connection: Connection, round_id: int, most: int, workers: int) -> int:
    # Where more waits than all workers could take now, it does not matter how much more.
    enough = (
        select(tables.trial.c.id)
        .where(tables.trial.c.round_id == round_id, tables.trial.c.state == TrialState.WAITING)
        .limit(most * workers)
        .subquery()
    )
    waiting = connection.scalar(select(func.count()).select_from(enough))
    return max(1, min(most, math.ceil((waiting or 0) / workers)))


@dataclass(frozen=True)
class _Lease:
    """Whose the trials of a claim are, from when until when."""

    worker_id: int
    token: int
    start: float
    end: float


def _take(
    connection: Connection, which: ColumnElement[bool], most: int, lease: _Lease
) -> Sequence[Any]:
    """Lease the lowest number of these trials, and up to `most` of its shape."""
    columns = tables.trial.c
    lowest = connection.execute(
        select(columns.shape)
        .where(which)
        .order_by(columns.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if lowest is None:
        return []
    alike = columns.shape.is_not_distinct_from(lowest.shape)
    rows = _leased(connection, which & alike, most, lease)
    _begin_attempts(connection, rows, lease)
    return rows


def _leased(
    connection: Connection, which: ColumnElement[bool], most: int, lease: _Lease
) -> Sequence[Any]:
    columns = tables.trial.c
    # A common table expression, because PostgreSQL may run a plain subquery once per row and
    # then takes more than `most`.
    chosen = (
        select(columns.id)
        .where(which)
        .order_by(columns.number)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return connection.execute(
        update(tables.trial)
        .where(columns.id.in_(select(chosen.c.id)))
        .values(
            state=TrialState.RUNNING,
            token=lease.token,
            lease_until=lease.end,
            worker_id=lease.worker_id,
            attempts=columns.attempts + 1,
            started=lease.start,
            finished=None,
        )
        .returning(*_CLAIMED)
    ).all()


def _begin_attempts(connection: Connection, rows: Sequence[Any], lease: _Lease) -> None:
    attempts = [
        {
            "trial_id": row.id,
            "number": row.attempts,
            "worker_id": lease.worker_id,
            "outcome": AttemptOutcome.RUNNING,
            "started": lease.start,
        }
        for row in rows
    ]
    if attempts:
        connection.execute(insert(tables.attempt), attempts)


@retried
def known_trials(
    database: Database, study_id: int, claim: Claim
) -> tuple[tuple[Outcome, ...], list[dict[str, Value]]]:
    """What a sampler may look at now: the newest finished search trials, and values in training."""
    columns = tables.trial.c
    with database.reading() as connection:
        running = connection.scalars(
            select(columns["values"]).where(
                columns.round_id == claim.round_id,
                columns.state == TrialState.RUNNING,
                columns["values"].is_not(None),
            )
        )
        finished = newest_outcomes(connection, study_id, MOST_KNOWN)
        return finished, [values_from(text) for text in running]


@retried
def set_values(
    database: Database,
    claim: Claim,
    declared: Box,
    values: Mapping[int, Mapping[str, Value]],
) -> None:
    """Store suggested values of claimed trials, by the trial's row.

    Raises:
        LeaseLostError: If the trials belong to somebody else by now.
    """
    optuna_ids = {t.id: t.optuna_trial_id for t in claim.trials}
    with database.writing() as connection:
        if not set(values) <= owned_trials(connection, claim.token):
            raise LeaseLostError("the lease lapsed before the values were stored")
        columns = tables.trial.c
        connection.execute(
            update(tables.trial)
            .where(columns.id == bindparam("trial"))
            .values({"values": bindparam("text")}),
            [{"trial": i, "text": values_text(v)} for i, v in values.items()],
        )
        params = {
            optuna_ids[i]: {name: encoded(value) for name, value in v.items()}
            for i, v in values.items()
        }
        distributions = optuna_distributions(claim.box, declared)
        database.storage.insert_params(connection, params, distributions)
