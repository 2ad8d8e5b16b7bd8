"""Openings of the sealed test split: written down before a single test row is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from hpsearch.errors import LeaseLostError, UserError
from hpsearch.search.sampling import encoded
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.space import Value
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.database import Database, clock, inserted_id, retried
from hpsearch.store.documents import box_text, values_from, values_text
from hpsearch.store.leases import Claim, ClaimedTrial, end_attempts
from hpsearch.store.results import TrialResult, write_results
from hpsearch.store.rounds import lock_study, new_token, optuna_distributions, optuna_name
from hpsearch.store.studies import StoredStudy, study_at
from hpsearch.store.tables import AttemptOutcome


@dataclass(frozen=True)
class Opening:
    """One opening of the test split, from its record to its result.

    Attributes:
        id: Its row.
        number: 1 for the first; more than 1 is said wherever the figure is shown.
        claim: The final trial, leased to this process.
        values: The winner's values.
    """

    id: int
    number: int
    claim: Claim
    values: dict[str, Value]


def begin_opening(
    database: Database, study: StoredStudy, worker_id: int, *, again: bool
) -> Opening | None:
    """Record an opening durably, or take up the one that was not finished.

    Args:
        database: The study's database.
        study: A complete study with a winner.
        worker_id: The process that will read the test rows.
        again: Whether the split may be opened once more when its figure is known already.

    Returns:
        None where the figure is known and the split is not to be opened again.

    Raises:
        UserError: If the study was extended since it was read.
    """
    sibling = optuna_name(study.name, Purpose.FINAL)
    optuna_id = database.call(lambda: database.storage.find_or_create_study(sibling))
    token = new_token()

    def begin(called_again: bool) -> Opening | None:
        with database.writing(durable=True) as connection:
            # One after the other: two processes that open at once share one opening.
            lock_study(connection, study.id)
            # A connection that broke may have broken after the commit.
            held = _held(connection, study, token) if called_again else None
            if held is not None:
                return held
            if not again and figure(connection, study.id) is not None:
                return None
            opening = unfinished_opening(connection, study.id)
            opening = opening or _record(connection, database, _won(connection, study), optuna_id)
            return _lease(connection, database.storage, study, opening, worker_id, token)

    return database.call_knowing(begin)


def _won(connection: Connection, study: StoredStudy) -> StoredStudy:
    """The study with its winner of this moment, by which it may have been extended."""
    now = study_at(connection, study)
    if now.winner is None:
        raise UserError(
            f"{study.name}: was given further rounds meanwhile, so its winner is not known yet; "
            f"`hpsearch start {study.name}` goes on with it"
        )
    return now


def _held(connection: Connection, study: StoredStudy, token: int) -> Opening | None:
    """The opening whose final trial is leased with this token."""
    opening = unfinished_opening(connection, study.id)
    if opening is None:
        return None
    columns = tables.trial.c
    mine = (columns.id == opening.trial_id) & (columns.token == token)
    trial = connection.execute(select(tables.trial).where(mine)).one_or_none()
    return None if trial is None else _as_opening(study, opening, trial, token)


def unfinished_opening(connection: Connection, study_id: int) -> Row[Any] | None:
    """The opening that has no result yet; there is one at most."""
    columns = tables.opening.c
    mine = (columns.study_id == study_id) & columns.finished.is_(None)
    return connection.execute(select(tables.opening).where(mine)).one_or_none()


def finish_opening(
    database: Database,
    opening: Opening,
    result: Mapping[str, Any],
    trial: TrialResult,
    model: bytes | None = None,
) -> None:
    """Write the test figure, the final trial and its network, all or nothing.

    Raises:
        LeaseLostError: If another process has taken the opening up meanwhile.
    """
    text = json.dumps(result)

    def finish(again: bool) -> None:
        with database.writing(durable=True) as connection:
            # A connection that broke may have broken after the commit.
            if not again or not _says(connection, opening, text):
                _finish(connection, database.storage, opening, text, trial, model)

    database.call_knowing(finish)


def _finish(
    connection: Connection,
    storage: BulkStorage,
    opening: Opening,
    text: str,
    trial: TrialResult,
    model: bytes | None,
) -> None:
    (final,) = opening.claim.trials
    when = clock(connection)
    if not write_results(connection, storage, opening.claim, {final.id: trial}):
        raise LeaseLostError("another process has taken up this opening of the test split")
    connection.execute(
        update(tables.opening)
        .where(tables.opening.c.id == opening.id)
        .values(result=text, finished=when, model=model)
    )
    connection.execute(
        update(tables.round_)
        .where(tables.round_.c.id == opening.claim.round_id)
        .values(state=tables.RoundState.CLOSED, closed=when)
    )


@retried
def final_model(database: Database, study_id: int) -> tuple[int, bytes] | None:
    """The network that the newest figure is of, with the number of its opening.

    Returns:
        None where there is none: the test split is sealed, the network diverged, or it was
        tested before networks were kept.
    """
    columns = tables.opening.c
    newest = (
        select(columns.number, columns.model)
        .where(columns.study_id == study_id, columns.finished.is_not(None))
        .order_by(columns.number.desc())
        .limit(1)
    )
    with database.reading() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None or row.model is None else (row.number, row.model)


def _says(connection: Connection, opening: Opening, text: str) -> bool:
    """Whether the opening has this result already."""
    found = select(tables.opening.c.result).where(tables.opening.c.id == opening.id)
    return connection.scalar(found) == text


@retried
def test_figure(database: Database, study_id: int) -> dict[str, Any] | None:
    """The newest result with how often the split was opened; None while it is sealed."""
    with database.reading() as connection:
        return figure(connection, study_id)


def figure(connection: Connection, study_id: int) -> dict[str, Any] | None:
    """`test_figure` inside a transaction of the caller."""
    columns, trial = tables.opening.c, tables.trial.c
    rows = connection.execute(
        select(columns.result, trial["values"].label("tested"))
        .join(tables.trial, trial.id == columns.trial_id)
        .where(columns.study_id == study_id)
        .order_by(columns.number)
    ).all()
    known = [row for row in rows if row.result]
    if not known:
        return None
    tested = json.loads(known[-1].tested)
    return {
        **json.loads(known[-1].result),
        "values": tested,
        "earlier_winner": tested != _winners_values(connection, study_id),
        "openings": len(rows),
    }


def _winners_values(connection: Connection, study_id: int) -> dict[str, Any] | None:
    winner = connection.scalar(select(tables.study.c.winner).where(tables.study.c.id == study_id))
    return json.loads(winner)["values"] if winner else None


def _record(
    connection: Connection, database: Database, study: StoredStudy, optuna_id: int
) -> Row[Any]:
    """The opening, and the final trial that belongs to it."""
    number = 1 + int(
        connection.scalar(
            select(func.count())
            .select_from(tables.opening)
            .where(tables.opening.c.study_id == study.id)
        )
        or 0
    )
    values, box = study.winner_values, study.spec.space
    params = {name: encoded(value) for name, value in values.items()}
    # The winner of a range that has grown lies outside the declared one.
    distributions = optuna_distributions(box.holding([values]), box)
    (trial_id,) = database.storage.insert_waiting(connection, optuna_id, [params], distributions)
    round_id = inserted_id(
        connection,
        insert(tables.round_).values(
            study_id=study.id,
            purpose=Purpose.FINAL,
            number=number,
            state=tables.RoundState.OPEN,
            planned=1,
            box=box_text(box),
            opened=clock(connection),
        ),
    )
    final_id = inserted_id(
        connection,
        insert(tables.trial).values(
            study_id=study.id,
            round_id=round_id,
            purpose=Purpose.FINAL,
            number=number - 1,
            replicate=0,
            seed=trial_seed(study.spec.seed, Purpose.FINAL, 1, 0),
            optuna_trial_id=trial_id,
            values=values_text(values),
            state=TrialState.WAITING,
        ),
    )
    opening_id = inserted_id(
        connection,
        insert(tables.opening).values(
            study_id=study.id,
            number=number,
            trial_id=final_id,
            opened=clock(connection),
        ),
    )
    return connection.execute(select(tables.opening).where(tables.opening.c.id == opening_id)).one()


def _lease(
    connection: Connection,
    storage: BulkStorage,
    study: StoredStudy,
    opening: Row[Any],
    worker_id: int,
    token: int,
) -> Opening:
    """Own the final trial from here on; whoever held it before cannot commit it any more."""
    when, columns = clock(connection), tables.trial.c
    end_attempts(connection, [opening.trial_id], AttemptOutcome.TAKEN_OVER, when)
    row = connection.execute(
        update(tables.trial)
        .where(columns.id == opening.trial_id)
        .values(
            state=TrialState.RUNNING,
            token=token,
            worker_id=worker_id,
            attempts=columns.attempts + 1,
            started=when,
        )
        .returning(*columns)
    ).one()
    attempt = {"trial_id": row.id, "number": row.attempts, "worker_id": worker_id}
    connection.execute(
        insert(tables.attempt).values(**attempt, outcome=AttemptOutcome.RUNNING, started=when)
    )
    storage.start(connection, [row.optuna_trial_id], when)
    return _as_opening(study, opening, row, token)


def _as_opening(study: StoredStudy, opening: Row[Any], row: Row[Any], token: int) -> Opening:
    """An opening with its final trial, whose row is the second, leased with this token."""
    values = values_from(row._mapping["values"])  # noqa: SLF001 - `values` is a method of Row
    trial = ClaimedTrial(row.id, row.optuna_trial_id, row.number, row.seed, values)
    claim = Claim(token, Purpose.FINAL, row.round_id, opening.number, study.spec.space, (trial,))
    return Opening(opening.id, opening.number, claim, values)
