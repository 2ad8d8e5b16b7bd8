"""Results that count exactly once.

A result is only written where the claim's token still stands, so a worker that comes back after
its lease was given to somebody else changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection, bindparam, insert, update

from hpsearch.search.discarding import Below
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage, FinishedTrial
from hpsearch.store.database import Database, clock, retried
from hpsearch.store.documents import layers_text, metrics_text
from hpsearch.store.leases import Claim, end_attempts, owned_trials
from hpsearch.store.tables import AttemptOutcome

SCORE_METRIC = "validation_accuracy"
LOSS_METRIC = "validation_loss"

# How each state stands in Optuna's tables.
OPTUNA_STATE = {
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.DIVERGED: OptunaState.PRUNED,
    TrialState.DISCARDED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: One of the finished states.
        curve: Metrics of each measured epoch or iteration, by its number, in order.
        message: Why it failed, for failed trials.
        score: Overrides the validation accuracy of the scored epoch.
        scored_at: The epoch or iteration whose weights the score belongs to; None for the last.
        updates: Of its parameters; None where nobody counted.
        updates_saved: Those that a discarded trial was not trained with.
        below: Where it fell below what it was judged by, also where it was spared.
        diagnoses: What was found inside the network, one JSON object a layer, by the number of
            the epoch or iteration (0 before the first).
    """

    state: TrialState
    curve: Mapping[int, Mapping[str, float]]
    message: str | None = None
    score: float | None = None
    scored_at: int | None = None
    updates: int | None = None
    updates_saved: int | None = None
    below: Below | None = None
    diagnoses: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def final_score(self) -> float | None:
        """Score of a complete trial."""
        if self.state != TrialState.COMPLETE:
            return None
        return self.score if self.score is not None else self._scored[SCORE_METRIC]

    @property
    def final_loss(self) -> float | None:
        """Validation loss at the scored epoch, where the trial is complete."""
        if self.state != TrialState.COMPLETE:
            return None
        return self._scored.get(LOSS_METRIC)

    @property
    def scored_before_end(self) -> int | None:
        """`scored_at` of a complete trial whose score is not that of its last epoch."""
        if self.state != TrialState.COMPLETE or self.scored_at == max(self.curve, default=None):
            return None
        return self.scored_at

    @property
    def judgement(self) -> dict[str, float | None]:
        """Where it fell below, as it stands in the trial's row."""
        if self.below is None:
            return {"below_at": None, "threshold": None, "stands_for": None}
        discarded = self.state == TrialState.DISCARDED
        return {
            "below_at": self.below.step,
            "threshold": self.below.threshold,
            "stands_for": self.below.stands_for if discarded else None,
        }

    @property
    def _scored(self) -> Mapping[str, float]:
        return self.curve[max(self.curve) if self.scored_at is None else self.scored_at]


@retried
def commit(database: Database, claim: Claim, results: Mapping[int, TrialResult]) -> list[int]:
    """Write the results of claimed trials, by the trial's row, in one transaction.

    Returns:
        Rows whose result counted; those the worker had lost meanwhile are left out. None of them
        where the connection broke after the commit: they count, but the token that tells whose
        they are is gone by the second call.
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
    owned = owned_trials(connection, claim.token)
    counted = {i: result for i, result in results.items() if i in owned}
    if not counted:
        return []
    _set_finished(connection, claim.token, counted, when)
    _write_epochs(connection, counted)
    _write_diagnoses(connection, counted)
    end_attempts(connection, list(counted), AttemptOutcome.FINISHED, when)
    optuna_ids = {t.id: t.optuna_trial_id for t in claim.trials}
    ends = [_optuna_end(optuna_ids[i], result) for i, result in counted.items()]
    storage.finish(connection, ends, when)
    return list(counted)


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
            scored_at=bindparam("new_scored_at"),
            message=bindparam("new_message"),
            updates=bindparam("new_updates"),
            updates_saved=bindparam("new_updates_saved"),
            below_at=bindparam("new_below_at"),
            threshold=bindparam("new_threshold"),
            stands_for=bindparam("new_stands_for"),
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
                "new_scored_at": result.scored_before_end,
                "new_message": result.message,
                "new_updates": result.updates,
                "new_updates_saved": result.updates_saved,
                **{f"new_{name}": figure for name, figure in result.judgement.items()},
            }
            for i, result in results.items()
        ],
    )


def _write_epochs(connection: Connection, results: Mapping[int, TrialResult]) -> None:
    rows = [
        {"trial_id": i, "epoch": epoch, "metrics": metrics_text(metrics)}
        for i, result in results.items()
        for epoch, metrics in result.curve.items()
    ]
    if rows:
        connection.execute(insert(tables.epoch), rows)


def _write_diagnoses(connection: Connection, results: Mapping[int, TrialResult]) -> None:
    rows = [
        {"trial_id": i, "step": step, "layers": layers_text(layers)}
        for i, result in results.items()
        for step, layers in result.diagnoses.items()
    ]
    if rows:
        connection.execute(insert(tables.diagnosis), rows)


def _optuna_end(optuna_id: int, result: TrialResult) -> FinishedTrial:
    steps = {
        epoch: _step_value(metrics)
        for epoch, metrics in result.curve.items()
        if SCORE_METRIC in metrics
    }
    return FinishedTrial(optuna_id, OPTUNA_STATE[result.state], result.final_score, steps)


def _step_value(metrics: Mapping[str, float]) -> float:
    """The score at an epoch; NaN where the network had already diverged."""
    finite = all(math.isfinite(value) for value in metrics.values())
    return metrics[SCORE_METRIC] if finite else math.nan
