"""Claims: trials leased to one worker, and results that count exactly once.

A claim is one short write transaction. Its token is the proof of ownership: a result is only
written where the token still stands, so a worker that comes back after its lease was given to
somebody else changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState as OptunaState
from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, update

from hpsearch.errors import LeaseLostError
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import encoded
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Value
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage, FinishedTrial
from hpsearch.store.database import Database, clock
from hpsearch.store.documents import box_from, metrics_text, values_from, values_text
from hpsearch.store.rounds import TRAINED, new_token, optuna_distributions, search_history
from hpsearch.store.tables import AttemptOutcome, TrialState

LEASE_SECONDS = 60.0
# A trial that has taken this many workers with it is not given to another.
MOST_LOSSES = 3
SCORE_METRIC = "validation_accuracy"
LOSS_METRIC = "validation_loss"

_OPTUNA_STATE = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.DIVERGED: OptunaState.PRUNED,
    TrialState.DISCARDED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial as its worker gets it; `values` is None where the sampler suggests now."""

    id: int
    optuna_trial_id: int
    number: int
    seed: int
    values: dict[str, Value] | None


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
    """

    token: int
    purpose: Purpose
    round_id: int
    round: int
    box: Box
    trials: tuple[ClaimedTrial, ...]


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: One of the finished states.
        curve: Metrics of each epoch, from epoch 1.
        message: Why it failed, for failed trials.
        score: Overrides the last epoch's validation accuracy.
    """

    state: TrialState
    curve: Sequence[Mapping[str, float]]
    message: str | None = None
    score: float | None = None

    @property
    def final_score(self) -> float | None:
        """Score of a complete trial."""
        if self.state != TrialState.COMPLETE:
            return None
        return self.score if self.score is not None else self.curve[-1][SCORE_METRIC]

    @property
    def final_loss(self) -> float | None:
        """Validation loss at the last epoch, where the trial is complete."""
        if self.state != TrialState.COMPLETE:
            return None
        return self.curve[-1].get(LOSS_METRIC)


# ----------------------------------------------------------------------- claim


def claim(
    database: Database,
    study_id: int,
    worker_id: int,
    most: int,
    lease_seconds: float = LEASE_SECONDS,
) -> Claim | None:
    """Take up to `most` waiting trials, lowest numbers first.

    Trials whose lease has lapsed count as waiting. No more than a fair share of what waits is
    taken, so that the last trials of a round are spread over all workers.

    Returns:
        None where nothing can be claimed now.
    """
    if not _something_waits(database, study_id):
        return None
    with database.writing() as connection:
        when = clock(connection)
        row = _open_round(connection, study_id)
        if row is None:
            return None
        _seen(connection, worker_id, when)
        lapsed = (tables.trial.c.round_id == row.id) & (tables.trial.c.lease_until < when)
        lose_trials(connection, database.storage, lapsed, when)
        token = new_token()
        share = _fair_share(connection, study_id, row.id, most, when - 2 * lease_seconds)
        taken = _take(connection, row.id, worker_id, share, token, when, when + lease_seconds)
        if not taken:
            return None
        database.storage.start(connection, [t.optuna_trial_id for t in taken], when)
    purpose = Purpose(row.purpose)
    return Claim(token, purpose, row.id, row.number, box_from(row.box), tuple(taken))


def _something_waits(database: Database, study_id: int) -> bool:
    """A look without the write lock, for workers that wait for a round to end."""
    with database.reading() as connection:
        when = clock(connection)
        row = _open_round(connection, study_id)
        if row is None:
            return False
        columns = tables.trial.c
        free = (columns.state == TrialState.WAITING) | (
            (columns.state == TrialState.RUNNING) & (columns.lease_until < when)
        )
        return (
            connection.execute(
                select(columns.id).where(columns.round_id == row.id, free).limit(1)
            ).first()
            is not None
        )


def _open_round(connection: Connection, study_id: int) -> Any:
    return connection.execute(
        select(tables.round_)
        .where(
            tables.round_.c.study_id == study_id,
            tables.round_.c.state == tables.RoundState.OPEN,
            tables.round_.c.purpose.in_(TRAINED),
        )
        .order_by(tables.round_.c.id)
        .limit(1)
    ).one_or_none()


def _seen(connection: Connection, worker_id: int, when: float) -> None:
    connection.execute(
        update(tables.worker).where(tables.worker.c.id == worker_id).values(seen=when)
    )


def _fair_share(
    connection: Connection, study_id: int, round_id: int, most: int, seen_since: float
) -> int:
    waiting = connection.scalar(
        select(func.count())
        .select_from(tables.trial)
        .where(tables.trial.c.round_id == round_id, tables.trial.c.state == TrialState.WAITING)
    )
    workers = connection.scalar(
        select(func.count())
        .select_from(tables.worker)
        .where(
            tables.worker.c.study_id == study_id,
            tables.worker.c.stopped.is_(None),
            tables.worker.c.seen > seen_since,
        )
    )
    return max(1, min(most, math.ceil((waiting or 0) / max(workers or 1, 1))))


def _take(
    connection: Connection,
    round_id: int,
    worker_id: int,
    count: int,
    token: int,
    when: float,
    until: float,
) -> list[ClaimedTrial]:
    columns = tables.trial.c
    # A common table expression, because PostgreSQL may run a plain subquery once per row and
    # then takes more than `count`.
    chosen = (
        select(columns.id)
        .where(columns.round_id == round_id, columns.state == TrialState.WAITING)
        .order_by(columns.number)
        .limit(count)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    rows = connection.execute(
        update(tables.trial)
        .where(columns.id.in_(select(chosen.c.id)))
        .values(
            state=TrialState.RUNNING,
            token=token,
            lease_until=until,
            worker_id=worker_id,
            attempts=columns.attempts + 1,
            started=when,
            finished=None,
        )
        .returning(
            columns.id,
            columns.optuna_trial_id,
            columns.number,
            columns.seed,
            columns["values"].label("text"),
            columns.attempts,
        )
    ).all()
    attempts = [
        {
            "trial_id": row.id,
            "number": row.attempts,
            "worker_id": worker_id,
            "outcome": AttemptOutcome.RUNNING,
            "started": when,
        }
        for row in rows
    ]
    if attempts:
        connection.execute(insert(tables.attempt), attempts)
    trials = [
        ClaimedTrial(r.id, r.optuna_trial_id, r.number, r.seed, r.text and values_from(r.text))
        for r in rows
    ]
    return sorted(trials, key=lambda trial: trial.number)


# ---------------------------------------------------- values suggested when claimed


def known_trials(
    database: Database, study_id: int, claim: Claim
) -> tuple[tuple[Outcome, ...], list[dict[str, Value]]]:
    """What a sampler may look at now: finished search trials, and values being trained."""
    columns = tables.trial.c
    with database.reading() as connection:
        running = connection.scalars(
            select(columns["values"]).where(
                columns.round_id == claim.round_id,
                columns.state == TrialState.RUNNING,
                columns["values"].is_not(None),
            )
        )
        return search_history(connection, study_id), [values_from(text) for text in running]


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
        if not set(values) <= _owned(connection, claim.token):
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


# ------------------------------------------------------------- renew, commit, end


def renew(
    database: Database, claim: Claim, worker_id: int, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Prolong the lease; False when every trial of the claim belongs to somebody else."""
    with database.writing() as connection:
        until = clock(connection) + lease_seconds
        mine = (tables.trial.c.token == claim.token) & (tables.trial.c.state == TrialState.RUNNING)
        kept = connection.execute(update(tables.trial).where(mine).values(lease_until=until))
        _seen(connection, worker_id, until - lease_seconds)
        return bool(kept.rowcount)


def commit(database: Database, claim: Claim, results: Mapping[int, TrialResult]) -> list[int]:
    """Write the results of claimed trials, by the trial's row, in one transaction.

    Returns:
        Rows whose result counted; those the worker had lost meanwhile are left out.
    """
    with database.writing() as connection:
        return write_results(connection, database.storage, claim, results)


def write_results(
    connection: Connection,
    storage: BulkStorage,
    claim: Claim,
    results: Mapping[int, TrialResult],
) -> list[int]:
    """`commit` inside a transaction of the caller."""
    when = clock(connection)
    owned = _owned(connection, claim.token)
    counted = {i: result for i, result in results.items() if i in owned}
    if not counted:
        return []
    _set_finished(connection, claim.token, counted, when)
    _write_epochs(connection, counted)
    end_attempts(connection, list(counted), AttemptOutcome.FINISHED, when)
    optuna_ids = {t.id: t.optuna_trial_id for t in claim.trials}
    ends = [_optuna_end(optuna_ids[i], result) for i, result in counted.items()]
    storage.finish(connection, ends, when)
    return list(counted)


def hand_back(database: Database, claim: Claim) -> None:
    """Return a claim's unfinished trials at once, as if they had never been taken."""
    with database.writing() as connection:
        when = clock(connection)
        owned = _owned(connection, claim.token)
        if not owned:
            return
        end_attempts(connection, list(owned), AttemptOutcome.RETURNED, when)
        _set_waiting(connection, owned)
        ids = [t.optuna_trial_id for t in claim.trials if t.id in owned]
        database.storage.hand_back(connection, ids)


def lose_trials(
    connection: Connection, storage: BulkStorage, which: ColumnElement[bool], when: float
) -> int:
    """Take running trials from workers that are gone; the third loss fails a trial.

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
    end_attempts(connection, ids, AttemptOutcome.LOST, when)
    connection.execute(
        update(tables.trial).where(columns.id.in_(ids)).values(losses=columns.losses + 1)
    )
    fatal = [row for row in rows if row.losses + 1 >= MOST_LOSSES]
    again = [row for row in rows if row.losses + 1 < MOST_LOSSES]
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


def _owned(connection: Connection, token: int) -> set[int]:
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


def _set_finished(
    connection: Connection, token: int, results: Mapping[int, TrialResult], when: float
) -> None:
    """Compare and set: the token in the WHERE clause is what keeps late results out."""
    columns = tables.trial.c
    connection.execute(
        update(tables.trial)
        .where(columns.id == bindparam("trial"), columns.token == bindparam("proof"))
        .values(
            state=bindparam("new_state"),
            score=bindparam("new_score"),
            loss=bindparam("new_loss"),
            message=bindparam("new_message"),
            token=None,
            lease_until=None,
            finished=when,
        ),
        [
            {
                "trial": i,
                "proof": token,
                "new_state": result.state,
                "new_score": result.final_score,
                "new_loss": result.final_loss,
                "new_message": result.message,
            }
            for i, result in results.items()
        ],
    )


def _write_epochs(connection: Connection, results: Mapping[int, TrialResult]) -> None:
    rows = [
        {"trial_id": i, "epoch": epoch, "metrics": metrics_text(metrics)}
        for i, result in results.items()
        for epoch, metrics in enumerate(result.curve, start=1)
    ]
    if rows:
        connection.execute(insert(tables.epoch), rows)


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


def _optuna_end(optuna_id: int, result: TrialResult) -> FinishedTrial:
    steps = {
        epoch: _step_value(metrics)
        for epoch, metrics in enumerate(result.curve, start=1)
        if SCORE_METRIC in metrics
    }
    return FinishedTrial(optuna_id, _OPTUNA_STATE[result.state], result.final_score, steps)


def _step_value(metrics: Mapping[str, float]) -> float:
    """The score at an epoch; NaN where the network had already diverged."""
    finite = all(math.isfinite(value) for value in metrics.values())
    return metrics[SCORE_METRIC] if finite else math.nan
