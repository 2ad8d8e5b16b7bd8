"""Claims: one short write transaction that leases waiting trials to one worker.

A trial that was lost with its worker may have killed it. Such a trial is claimed alone, after
those that never were, so that it fails alone when it does so three times.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from hpsearch.errors import LeaseLostError
from hpsearch.search.discarding import METRIC
from hpsearch.search.outcomes import Outcome
from hpsearch.search.pruning import KnownCurve
from hpsearch.search.sampling import encoded
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Value
from hpsearch.states import UNFINISHED, TrialState
from hpsearch.store import tables
from hpsearch.store.database import Database, retried
from hpsearch.store.documents import bands_from, box_from, values_from, values_text
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

_trial, _round, _worker = tables.trial.c, tables.round_.c, tables.worker.c
_CLAIMED = (
    _trial.id,
    _trial.optuna_trial_id,
    _trial.number,
    _trial.seed,
    _trial["values"].label("text"),
    _trial.attempts,
)

# The statements of every claim, built once: building them took as long as SQLite takes with them.
_FIRST_OPEN = (
    select(_round.id)
    .where(
        _round.study_id == bindparam("of_study"),
        _round.state == tables.RoundState.OPEN,
        _round.purpose.in_(TRAINED),
    )
    .order_by(_round.id)
    .limit(1)
    .scalar_subquery()
)
_SOMETHING_WAITS = (
    select(_trial.id)
    .where(
        _trial.round_id == _FIRST_OPEN,
        _trial.state.in_(UNFINISHED),
        (_trial.state == TrialState.WAITING) | (_trial.lease_until < now()),
    )
    .limit(1)
)
_OPEN_ROUND = select(
    tables.round_,
    now().label("when"),
    exists()
    .where(
        _trial.round_id == _round.id,
        _trial.state == TrialState.RUNNING,
        _trial.lease_until < now(),
    )
    .label("lapsed"),
    select(func.count())
    .select_from(tables.worker)
    .where(
        _worker.study_id == bindparam("of_study"),
        _worker.id != bindparam("by_worker"),
        _worker.stopped.is_(None),
        _worker.seen > now() - bindparam("lately"),
    )
    .scalar_subquery()
    .label("others"),
).where(_round.id == _FIRST_OPEN)
_IN_ROUND = (_trial.round_id == bindparam("of_round")) & (_trial.state == TrialState.WAITING)
_WAITING = select(func.count()).select_from(
    select(_trial.id).where(_IN_ROUND).limit(bindparam("enough")).subquery()
)


def _lowest(which: ColumnElement[bool]) -> Select[Any]:
    return (
        select(_trial.shape)
        .where(_IN_ROUND, which)
        .order_by(_trial.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _lease(which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    # A common table expression, because PostgreSQL may run a plain subquery once per row and
    # then takes more than `most`.
    chosen = (
        select(_trial.id)
        .where(_IN_ROUND, which, _trial.shape.is_not_distinct_from(bindparam("like")))
        .order_by(_trial.number)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return (
        update(tables.trial)
        .where(_trial.id.in_(select(chosen.c.id)))
        .values(
            state=TrialState.RUNNING,
            token=bindparam("by_token"),
            lease_until=bindparam("end"),
            worker_id=bindparam("by_worker"),
            attempts=_trial.attempts + 1,
            started=bindparam("start"),
            finished=None,
        )
        .returning(*_CLAIMED)
    )


_NEVER_LOST = {True: _trial.losses == 0, False: _trial.losses > 0}
_LOWEST = {never_lost: _lowest(which) for never_lost, which in _NEVER_LOST.items()}
_LEASE = {never_lost: _lease(which) for never_lost, which in _NEVER_LOST.items()}


def claim(
    database: Database,
    study_id: int,
    worker_id: int,
    most: int,
    lease_seconds: float = LEASE_SECONDS,
    may_take_over: Callable[[], bool] = lambda: True,
) -> Claim | None:
    """Take up to `most` waiting trials, lowest numbers first, or one that was lost before.

    The lowest number is taken, and with it only trials of its shape: what is claimed together is
    trained side by side. Trials whose lease has lapsed count as waiting. No more than a fair share
    of what waits is taken, so that the last trials of a round are spread over all workers.

    Args:
        database: The study's database.
        study_id: The study's row.
        worker_id: Whose the trials will be.
        most: How many it can train side by side.
        lease_seconds: How long they belong to it without a word from it.
        may_take_over: Asked once the database has answered: whether a lapsed lease is to be taken
            for a lost worker now.

    Returns:
        None where nothing can be claimed now.
    """
    token = new_token()

    def take(again: bool) -> Claim | None:
        # A connection that broke may have broken after the commit: what is ours need not lapse.
        held = _held(database, token) if again else None
        return held or _claimed(
            database, study_id, worker_id, most, lease_seconds, token, may_take_over
        )

    return database.call_knowing(take)


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
    database: Database,
    study_id: int,
    worker_id: int,
    most: int,
    lease_seconds: float,
    token: int,
    may_take_over: Callable[[], bool],
) -> Claim | None:
    if not _something_waits(database, study_id):
        return None
    with database.writing() as connection:
        row = _open_round(connection, study_id, worker_id, 2 * lease_seconds)
        if row is None:
            return None
        when = row.when
        worker_seen(connection, worker_id, when)
        if row.lapsed and may_take_over():
            silent = (_trial.round_id == row.id) & (_trial.lease_until < when)
            outcome = AttemptOutcome.TAKEN_OVER
            lose_trials(connection, database.storage, silent, when, outcome=outcome)
        share = _fair_share(connection, row.id, most, row.others + 1)
        lease = _Lease(worker_id, token, when, when + lease_seconds)
        taken = _take(connection, row.id, share, lease, never_lost=True)
        taken = taken or _take(connection, row.id, 1, lease, never_lost=False)
        if not taken:
            return None
        database.storage.start(connection, [t.optuna_trial_id for t in taken], when)
    return _as_claim(token, row, taken)


def _as_claim(token: int, round_: Row[Any], rows: Sequence[Any]) -> Claim:
    trials = [
        ClaimedTrial(r.id, r.optuna_trial_id, r.number, r.seed, r.text and values_from(r.text))
        for r in sorted(rows, key=lambda row: row.number)
    ]
    purpose, bands = Purpose(round_.purpose), bands_from(round_.bands)
    return Claim(
        token, purpose, round_.id, round_.number, box_from(round_.box), tuple(trials), bands
    )


def _something_waits(database: Database, study_id: int) -> bool:
    """A look without the write lock, for workers that wait for a round to end."""
    with database.reading() as connection:
        return connection.execute(_SOMETHING_WAITS, {"of_study": study_id}).first() is not None


def _open_round(
    connection: Connection, study_id: int, worker_id: int, lately: float
) -> Row[Any] | None:
    """The open round; `when` it is now, whether leases in it have `lapsed`, and how many `others`.

    Args:
        connection: The caller's transaction.
        study_id: The study's row.
        worker_id: The worker that asks; others are counted that were heard of
        lately: so many seconds back.
    """
    asked = {"of_study": study_id, "by_worker": worker_id, "lately": lately}
    return connection.execute(_OPEN_ROUND, asked).one_or_none()


def _fair_share(connection: Connection, round_id: int, most: int, workers: int) -> int:
    # Where more waits than all workers could take now, it does not matter how much more.
    asked = {"of_round": round_id, "enough": most * workers}
    waiting = connection.scalar(_WAITING, asked)
    return max(1, min(most, math.ceil((waiting or 0) / workers)))


@dataclass(frozen=True)
class _Lease:
    """Whose the trials of a claim are, from when until when."""

    worker_id: int
    token: int
    start: float
    end: float

    def values(self) -> dict[str, Any]:
        """Parameters of `_LEASE`."""
        return {
            "by_worker": self.worker_id,
            "by_token": self.token,
            "start": self.start,
            "end": self.end,
        }


def _take(
    connection: Connection, round_id: int, most: int, lease: _Lease, *, never_lost: bool
) -> Sequence[Any]:
    """Lease the lowest number of these trials, and up to `most` of its shape."""
    lowest = connection.execute(_LOWEST[never_lost], {"of_round": round_id}).one_or_none()
    if lowest is None:
        return []
    asked = {"of_round": round_id, "like": lowest.shape, "most": most}
    rows = connection.execute(_LEASE[never_lost], asked | lease.values()).all()
    _begin_attempts(connection, rows, lease)
    return rows


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
    """What a sampler may look at now: newest finished trials of its kind, and values in training.

    Both in number order. The control arm knows nothing of the search, nor the search of it.
    """
    columns = tables.trial.c
    with database.reading() as connection:
        running = connection.scalars(
            select(columns["values"])
            .where(
                columns.round_id == claim.round_id,
                columns.state == TrialState.RUNNING,
                columns["values"].is_not(None),
            )
            .order_by(columns.number)
        )
        finished = newest_outcomes(connection, study_id, claim.purpose, MOST_KNOWN)
        return finished, [values_from(text) for text in running]


@retried
def known_curves(database: Database, study_id: int, purpose: Purpose) -> list[KnownCurve]:
    """What a pruner may look at now: the newest complete trials of its kind."""
    newest = (
        select(_trial.id, _trial.score)
        .where(
            _trial.study_id == study_id,
            _trial.purpose == purpose,
            _trial.state == TrialState.COMPLETE,
        )
        .order_by(_trial.number.desc())
        .limit(MOST_KNOWN)
        .subquery()
    )
    columns = tables.epoch.c
    curves: dict[int, dict[int, float]] = {}
    scores: dict[int, float] = {}
    with database.reading() as connection:
        for row in connection.execute(
            select(newest.c.id, newest.c.score, columns.epoch, columns.metrics)
            .select_from(newest.join(tables.epoch, columns.trial_id == newest.c.id))
            .order_by(newest.c.id, columns.epoch)
        ):
            scores[row.id] = row.score
            curves.setdefault(row.id, {})[row.epoch] = json.loads(row.metrics)[METRIC]
    return [KnownCurve(scores[trial], curve) for trial, curve in curves.items()]


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
