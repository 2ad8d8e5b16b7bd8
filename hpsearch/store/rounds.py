"""Rounds as rows: opened with all their trials, closed by one process at a time.

Closing is leased like a trial: `take_closing` hands the work to one process, the decision is
computed outside any transaction, and `write_closing` stores it whole or not at all. Both ends
are durable: after a power cut a round is either open as before or closed for good.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from hpsearch.errors import LeaseLostError
from hpsearch.search.amendments import Change, Place
from hpsearch.search.discarding import METRIC, Points
from hpsearch.search.ledger import LedgerRow
from hpsearch.search.outcomes import Outcome
from hpsearch.search.rounds import Closing, DoneRound, PlannedTrial, RoundPlan
from hpsearch.search.sampling import distribution, encoded
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Choices
from hpsearch.states import FINISHED, UNFINISHED, TrialState
from hpsearch.store import tables
from hpsearch.store.amendment_rows import insert_amendment
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.database import Database, clock, inserted_id, retried
from hpsearch.store.documents import (
    bands_from,
    bands_text,
    box_from,
    box_text,
    model_from,
    model_text,
    range_text,
    values_from,
    values_text,
    winner_text,
)

# Narrowing a round takes a second or two; who needs longer than this has died, and if not, the
# token keeps what it decided out.
CLOSING_SECONDS = 30
# Purposes whose rounds workers train; the final run belongs to the sealed test.
TRAINED = (Purpose.SEARCH, Purpose.REPEAT, Purpose.CONTROL, Purpose.CONFIRMATION)


@dataclass(frozen=True)
class ClosingTask:
    """A round whose trials are all done, with what is needed to decide what follows.

    Attributes:
        token: Proof that the close was leased to this caller.
        study_id: The study's row.
        round_id: The round's row.
        done: The round.
    """

    token: int
    study_id: int
    round_id: int
    done: DoneRound


def new_token() -> int:
    """A number nobody else holds; fits a signed BIGINT."""
    return secrets.randbits(63)


def optuna_distributions(box: Box, declared: Box) -> dict[str, BaseDistribution]:
    """Optuna's distributions of a round's trials.

    Optuna lets low and high change between trials but refuses changed choices, so every trial
    carries the declared choices; those of the round stand in the ledger.
    """
    ranges = {
        d.name: declared[d.name] if isinstance(d.range, Choices) else d.range
        for d in box.dimensions
    }
    return {name: distribution(range_) for name, range_ in ranges.items()}


def insert_round(
    connection: Connection,
    storage: BulkStorage,
    study_id: int,
    optuna_study_id: int,
    declared: Box,
    plan: RoundPlan,
) -> None:
    """Write a round and its waiting trials."""
    round_id = inserted_id(
        connection,
        insert(tables.round_).values(
            study_id=study_id,
            purpose=plan.purpose,
            number=plan.number,
            state=tables.RoundState.OPEN,
            planned=plan.size,
            box=box_text(plan.box),
            model=None if plan.model is None else model_text(plan.model),
            bands=bands_text(plan.bands),
            opened=clock(connection),
        ),
    )
    into = _TrialRows(study_id, round_id, plan.purpose, optuna_study_id)
    insert_trials(connection, storage, into, plan.box, declared, plan.trials)


@dataclass(frozen=True)
class _TrialRows:
    """Where trials are written: rows of the study, the round and the Optuna study."""

    study_id: int
    round_id: int
    purpose: Purpose
    optuna_study_id: int


def insert_trials(
    connection: Connection,
    storage: BulkStorage,
    into: _TrialRows,
    box: Box,
    declared: Box,
    trials: Sequence[PlannedTrial],
) -> None:
    """Write waiting trials of a round; some may look beyond its box."""
    held = box.holding([trial.values for trial in trials if trial.values is not None])
    distributions = optuna_distributions(held, declared)
    params = [
        None if t.values is None else {name: encoded(v) for name, v in t.values.items()}
        for t in trials
    ]
    optuna_ids = storage.insert_waiting(connection, into.optuna_study_id, params, distributions)
    rows = [
        {
            "study_id": into.study_id,
            "round_id": into.round_id,
            "purpose": into.purpose,
            "number": trial.number,
            "replicate": trial.replicate,
            "seed": trial.seed,
            "optuna_trial_id": optuna_id,
            "values": None if trial.values is None else values_text(trial.values),
            "shape": trial.shape,
            "state": TrialState.WAITING,
        }
        for trial, optuna_id in zip(trials, optuna_ids, strict=True)
    ]
    connection.execute(insert(tables.trial), rows)


def insert_ledger(
    connection: Connection, study_id: int, round_number: int, rows: Sequence[LedgerRow]
) -> None:
    """Write why each range of a round is what it is; a round is decided anew with an amendment."""
    columns = tables.ledger.c
    mine = (columns.study_id == study_id) & (columns.round == round_number)
    connection.execute(delete(tables.ledger).where(mine))
    documents = [
        {
            "study_id": study_id,
            "round": round_number,
            "position": position,
            "dimension": row.dimension,
            "range": range_text(row.range),
            "previous": None if row.previous is None else range_text(row.previous),
            "elites": row.elites,
            "rule": row.rule,
            "decision": row.decision,
            "edge": row.edge,
            "reason": row.reason,
        }
        for position, row in enumerate(rows)
    ]
    connection.execute(insert(tables.ledger), documents)


# --------------------------------------------------------------------- closing


def take_closing(database: Database, study_id: int, worker_id: int) -> ClosingTask | None:
    """Lease the close of the study's open round to a worker, if its last trial is done.

    Returns:
        None while trials are unfinished, nothing is open, or somebody else is closing it.
    """
    token = new_token()
    return database.call(lambda: _taken(database, study_id, worker_id, token))


def _taken(database: Database, study_id: int, worker_id: int, token: int) -> ClosingTask | None:
    if not _ready(database, study_id, token):
        return None
    with database.writing() as connection:
        when = clock(connection)
        # Hundreds may find the same round done: one takes it, and the others do not queue up.
        chosen = (
            select(tables.round_.c.id)
            .where(_closable(study_id), _free_for(token, when))
            .limit(1)
            .with_for_update(skip_locked=True)
            .cte("chosen")
        )
        row = connection.execute(
            update(tables.round_)
            .where(tables.round_.c.id == select(chosen.c.id).scalar_subquery())
            .values(
                closing_token=token,
                closing_until=when + CLOSING_SECONDS,
                closing_worker_id=worker_id,
            )
            .returning(tables.round_)
        ).one_or_none()
        if row is None:
            return None
        return ClosingTask(token, study_id, row.id, done_round(connection, row))


def done_round(connection: Connection, row: Row[Any]) -> DoneRound:
    """A round whose trials so far are done, from its row."""
    mine = tables.trial.c.round_id == row.id
    count = select(func.count()).select_from(tables.trial).where(mine)
    return DoneRound(
        purpose=Purpose(row.purpose),
        number=row.number,
        box=box_from(row.box),
        outcomes=outcomes(connection, mine),
        finished=connection.execute(count).scalar_one(),
        model=None if row.model is None else model_from(row.model),
        bands=bands_from(row.bands),
    )


def write_closing(database: Database, task: ClosingTask, declared: Box, closing: Closing) -> None:
    """Store what was decided: the ledger, the next wave, round or winner; all or nothing.

    Raises:
        LeaseLostError: If the close took so long that somebody else has done it, or if the study
            was amended meanwhile.
    """

    def write(again: bool) -> None:
        optuna_id = _optuna_study_for(database, task, closing)
        with database.writing(durable=True) as connection:
            lock_study(connection, task.study_id)
            # A connection that broke may have broken after the commit.
            if _has_closed(connection, task) or (again and _has_planned(connection, task)):
                return
            if closing.wave:
                _write_wave(connection, database.storage, task, optuna_id, declared, closing)
            else:
                _write_end(connection, database.storage, task, optuna_id, declared, closing)

    database.call_knowing(write)


def _optuna_study_for(database: Database, task: ClosingTask, closing: Closing) -> int:
    """Optuna's study for the trials that are planned, or for the round's own."""
    following = closing.following
    purpose = task.done.purpose if following is None else following.purpose
    return _sibling_study(database, task.study_id, purpose)


def _has_closed(connection: Connection, task: ClosingTask) -> bool:
    """Whether the round is closed by this task."""
    round_ = tables.round_.c
    closed = (round_.state == tables.RoundState.CLOSED) & (round_.closing_token == task.token)
    mine = select(round_.id).where(round_.id == task.round_id, closed)
    return connection.execute(mine).first() is not None


def _has_planned(connection: Connection, task: ClosingTask) -> bool:
    """Whether the round has the wave that this task planned."""
    trials = select(func.count()).where(tables.trial.c.round_id == task.round_id)
    return connection.execute(trials).scalar_one() > task.done.finished


def _write_end(
    connection: Connection,
    storage: BulkStorage,
    task: ClosingTask,
    optuna_id: int,
    declared: Box,
    closing: Closing,
) -> None:
    """Close the round, and open the next or name the winner."""
    when = clock(connection)
    _settle(connection, task, state=tables.RoundState.CLOSED, closed=when)
    if closing.ledger:
        number = closing.round_after(task.done)
        insert_ledger(connection, task.study_id, number, closing.ledger)
    # A search that goes on although it was over early has said so when it was.
    if closing.early is not None and not closing.searches_on:
        ended = task.done.number
        change = Change(rounds=ended, converged=closing.early)
        insert_amendment(connection, task.study_id, Place(ended, over=True), change)
    if closing.following is not None:
        insert_round(connection, storage, task.study_id, optuna_id, declared, closing.following)
        return
    winner = winner_text(closing.winner, closing.control) if closing.winner else None
    connection.execute(
        update(tables.study)
        .where(tables.study.c.id == task.study_id)
        .values(state="complete", winner=winner, completed=when)
    )


def _write_wave(
    connection: Connection,
    storage: BulkStorage,
    task: ClosingTask,
    optuna_id: int,
    declared: Box,
    closing: Closing,
) -> None:
    """Add trials to a round that goes on."""
    open_again = {"closing_token": None, "closing_until": None, "closing_worker_id": None}
    _settle(connection, task, bands=bands_text(closing.bands), **open_again)
    into = _TrialRows(task.study_id, task.round_id, task.done.purpose, optuna_id)
    insert_trials(connection, storage, into, task.done.box, declared, closing.wave)


def lock_study(connection: Connection, study_id: int) -> None:
    """Hold the study's row: whoever changes what the study does next comes one after the other.

    Rows may still be added that refer to it.
    """
    mine = tables.study.c.id == study_id
    connection.execute(select(tables.study.c.id).where(mine).with_for_update(key_share=True))


def _settle(connection: Connection, task: ClosingTask, **values: Any) -> None:
    """Change a round that the task's token still holds."""
    settled = connection.execute(
        update(tables.round_)
        .where(
            tables.round_.c.id == task.round_id,
            tables.round_.c.closing_token == task.token,
            tables.round_.c.state == tables.RoundState.OPEN,
        )
        .values(**values)
    )
    if settled.rowcount == 0:
        raise LeaseLostError(f"round {task.done.number} was closed by somebody else")


def release_closing(database: Database, task: ClosingTask) -> None:
    """Give the close back at once; nothing happens where somebody else holds it by now."""
    round_ = tables.round_.c
    with database.writing() as connection:
        mine = (round_.id == task.round_id) & (round_.closing_token == task.token)
        release_closings(connection, mine)


def release_closings(connection: Connection, which: ColumnElement[bool]) -> None:
    """Let others close open rounds whose closers are gone."""
    connection.execute(
        update(tables.round_)
        .where(which, tables.round_.c.state == tables.RoundState.OPEN)
        .values(closing_token=None, closing_until=None, closing_worker_id=None)
    )


def outcomes(connection: Connection, where: ColumnElement[bool]) -> tuple[Outcome, ...]:
    """Finished trials as the search sees them, in number order."""
    columns = tables.trial.c
    query = select(tables.trial).where(where, columns.state.in_(FINISHED)).order_by(columns.number)
    return _outcomes(connection, query)


def newest_outcomes(
    connection: Connection, study_id: int, purpose: Purpose, most: int
) -> tuple[Outcome, ...]:
    """Finished trials of a purpose with the highest numbers, in number order.

    However many there are, no more rows are read than these and those of the open round.
    """
    columns = tables.trial.c
    newest = (
        select(tables.trial)
        .where(
            columns.study_id == study_id,
            columns.purpose == purpose,
            # So said, no index on states looks better than the one on numbers.
            columns.state.not_in(UNFINISHED),
        )
        .order_by(columns.number.desc())
        .limit(most)
    )
    return _outcomes(connection, newest)[::-1]


def _outcomes(connection: Connection, query: Select[Any]) -> tuple[Outcome, ...]:
    """The trials of a query; those that ended before they had values say nothing."""
    rows = connection.execute(query.where(tables.trial.c["values"].is_not(None)))
    return tuple(
        Outcome(
            number=row["number"],
            values=values_from(row["values"]),
            score=row["score"],
            loss=row["loss"],
            replicate=row["replicate"],
            seed=row["seed"],
            failed=row["state"] == TrialState.FAILED,
            stands_for=row["stands_for"],
        )
        for row in rows.mappings()
    )


@retried
def history(
    database: Database, study_id: int, purpose: Purpose = Purpose.SEARCH
) -> tuple[Outcome, ...]:
    """Every finished trial of a purpose, in number order."""
    columns = tables.trial.c
    with database.reading() as connection:
        mine = (columns.study_id == study_id) & (columns.purpose == purpose)
        return outcomes(connection, mine)


@retried
def measured_curves(database: Database, study_id: int, numbers: Sequence[int]) -> dict[int, Points]:
    """(updates, validation accuracy) of search trials, by their numbers and in that order."""
    trial = tables.trial.c
    mine = (trial.study_id == study_id) & (trial.purpose == Purpose.SEARCH)
    with database.reading() as connection:
        return points_of(connection, mine & trial.number.in_(numbers))


def points_of(connection: Connection, which: ColumnElement[bool]) -> dict[int, Points]:
    """(updates, validation accuracy) of trials of one purpose, by their numbers."""
    trial, epoch = tables.trial.c, tables.epoch.c
    rows = connection.execute(
        select(trial.number, trial.updates, epoch.epoch, epoch.metrics)
        .select_from(tables.trial.join(tables.epoch, epoch.trial_id == trial.id))
        .where(which)
        .order_by(trial.number, epoch.epoch)
    ).all()
    ends = {row.number: row.epoch for row in rows}
    found: dict[int, list[tuple[int, float]]] = {}
    for number, updates, step, metrics in rows:
        accuracy = json.loads(metrics).get(METRIC)
        if updates is not None and accuracy is not None:
            made = step * updates // max(ends[number], 1)
            found.setdefault(number, []).append((made, accuracy))
    return {number: tuple(points) for number, points in found.items()}


@retried
def count_rounds(database: Database, study_id: int, purpose: Purpose) -> int:
    """How many rounds of a purpose there are."""
    columns = tables.round_.c
    mine = (columns.study_id == study_id) & (columns.purpose == purpose)
    count = select(func.count()).select_from(tables.round_).where(mine)
    with database.reading() as connection:
        return int(connection.execute(count).scalar_one())


def _ready(database: Database, study_id: int, token: int) -> bool:
    with database.reading() as connection:
        when = clock(connection)
        found = connection.execute(
            select(tables.round_.c.id).where(_closable(study_id), _free_for(token, when))
        ).first()
    return found is not None


def _closable(study_id: int) -> ColumnElement[bool]:
    """Open, and no trial of it is waiting or running."""
    unfinished = (
        select(tables.trial.c.id)
        .where(
            tables.trial.c.round_id == tables.round_.c.id,
            tables.trial.c.state.in_(UNFINISHED),
        )
        .correlate(tables.round_)
    )
    return (
        (tables.round_.c.study_id == study_id)
        & (tables.round_.c.state == tables.RoundState.OPEN)
        & tables.round_.c.purpose.in_(TRAINED)
        & ~exists(unfinished)
    )


def _free_for(token: int, when: float) -> ColumnElement[bool]:
    """Nobody else closes it: a connection may have broken after the lease was committed."""
    columns = tables.round_.c
    lapsed = or_(columns.closing_until.is_(None), columns.closing_until < when)
    return lapsed | (columns.closing_token == token)


def _sibling_study(database: Database, study_id: int, purpose: Purpose) -> int:
    """Optuna's study for trials of a purpose: the search's own, or NAME/confirmation."""
    with database.reading() as connection:
        row = connection.execute(
            select(tables.study.c.name, tables.study.c.optuna_study_id).where(
                tables.study.c.id == study_id
            )
        ).one()
    if purpose == Purpose.SEARCH:
        return int(row.optuna_study_id)
    return database.storage.find_or_create_study(optuna_name(row.name, purpose))


def optuna_name(name: str, purpose: Purpose) -> str:
    """Name of the Optuna study that holds a study's trials of this purpose."""
    return name if purpose == Purpose.SEARCH else f"{name}/{purpose}"
