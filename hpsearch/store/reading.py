"""What people and programs read: the JSON documents, each from one transaction.

All a document says was true at one moment, but for whether a worker's process exists.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select

from hpsearch.search.amendments import Amendment
from hpsearch.search.elites import elites
from hpsearch.search.narrowing import Prospect
from hpsearch.search.noise import noise_of
from hpsearch.search.selection import wilson_interval
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED, TrialState
from hpsearch.store import tables
from hpsearch.store.database import Database, clock, retried
from hpsearch.store.documents import range_from
from hpsearch.store.openings import figure
from hpsearch.store.results import SCORE_METRIC
from hpsearch.store.rounds import outcomes
from hpsearch.store.studies import StoredStudy, study_at
from hpsearch.store.workers import count_live_workers

JSON = dict[str, Any]


@retried
def study_document(database: Database, study: StoredStudy) -> JSON:
    """The document of `start --json` and `show --json`."""
    with database.reading() as connection:
        now = study_at(connection, study)
        workers = count_live_workers(connection, study.id)
        search = _states(connection, study.id, Purpose.SEARCH)
        repeats = _states(connection, study.id, Purpose.CONFIRMATION)
        rounds = _rounds(connection, study.id)
        control = _control(connection, now)
        discarding = _discarding(connection, now)
        test = figure(connection, study.id)
        failures = _failures(connection, study.id)
        seconds = float((now.completed or clock(connection)) - now.created)
    return {
        "study": now.name,
        "state": _state(now, workers),
        "metric": SCORE_METRIC,
        "direction": "maximize",
        "planned": now.spec.planned_trials,
        **{state: search.get(state, 0) for state in FINISHED},
        "running": search.get(TrialState.RUNNING, 0),
        "workers": workers,
        "rounds": rounds,
        "confirmation": _repeats(repeats),
        "winner": _winner(now),
        "control": control,
        "discarding": discarding,
        "test": test,
        "has_test_rows": now.spec.holds_out,
        "failures": failures,
        "amendments": [_amendment(amendment) for amendment in now.amendments],
        "seconds": seconds,
    }


def trials_document(database: Database, study: StoredStudy) -> list[JSON]:
    """The document of `trials --json`: every trial, ordered by purpose and number."""
    mine = tables.trial.c.study_id == study.id
    with database.reading() as connection:
        rows, measured = trial_rows(connection, mine), curves(connection, mine)
        found = diagnoses(connection, mine)
        best = _elites_by_round(connection, study)
    return [
        _trial(row, measured.get(row["id"], []))
        | _elite(row, best)
        | _diagnosed(found.get(row["id"], []))
        for row in rows
    ]


@retried
def ranges_document(database: Database, study: StoredStudy) -> list[JSON]:
    """The document of `ranges --json`: the ledger, ordered by round and dimension.

    The rows after the last round say where to look next; no round was run there.
    """
    with database.reading() as connection:
        rows = connection.execute(
            select(tables.ledger)
            .where(tables.ledger.c.study_id == study.id)
            .order_by(tables.ledger.c.round, tables.ledger.c.position)
        ).mappings()
        return [_ledger_row(dict(row)) for row in rows]


def elite_numbers(database: Database, study: StoredStudy, round_number: int) -> set[int] | None:
    """Numbers of a search round's elites, by the rule its ledger is written with.

    Returns:
        None before the ledger is written: the noise that makes them may not be measured yet.
    """
    if study.spec.is_grid:  # nothing is narrowed, so nothing was chosen
        return set()
    with database.reading() as connection:
        return _elite_numbers(connection, study, round_number)


def _elites_by_round(connection: Connection, study: StoredStudy) -> dict[int, set[int]]:
    """Numbers of the elites of every search round whose ledger is written."""
    if study.spec.is_grid:
        return {}
    rounds = range(1, newest_round(connection, study.id) + 1)
    found = {number: _elite_numbers(connection, study, number) for number in rounds}
    return {number: best for number, best in found.items() if best is not None}


def _elite_numbers(
    connection: Connection, study: StoredStudy, round_number: int
) -> set[int] | None:
    trial, round_, ledger = tables.trial.c, tables.round_.c, tables.ledger.c
    decided = select(ledger.round).where(
        ledger.study_id == study.id, ledger.round == round_number + 1
    )
    if connection.execute(decided.limit(1)).first() is None:
        return None
    repeats = outcomes(connection, (trial.study_id == study.id) & (trial.purpose == Purpose.REPEAT))
    found = outcomes(
        connection,
        trial.round_id.in_(
            select(round_.id).where(
                round_.study_id == study.id,
                round_.purpose == Purpose.SEARCH,
                round_.number == round_number,
            )
        ),
    )
    noise = noise_of(
        found,
        repeats,
        common=study.spec.seeds != "fresh",
        validation_rows=study.validation_rows,
    )
    return {outcome.number for outcome in elites(found, noise)}


@retried
def open_work(database: Database, study: StoredStudy) -> JSON:
    """How far a search is, asked several times a second: it never looks at closed rounds."""
    with database.reading() as connection:
        row = connection.execute(
            select(tables.round_)
            .where(
                tables.round_.c.study_id == study.id,
                tables.round_.c.state == tables.RoundState.OPEN,
            )
            .order_by(tables.round_.c.id)
            .limit(1)
        ).one_or_none()
        states = _counted(connection, tables.trial.c.round_id == row.id) if row else {}
        best = _best_score(connection, study.id)
        searched = study.spec.trials * newest_round(connection, study.id)
        repeats = _repeats(_states(connection, study.id, Purpose.CONFIRMATION))
        noise = _repeats(_states(connection, study.id, Purpose.REPEAT))
        finished = sum(states.get(state, 0) for state in FINISHED)
        control = _control_work(connection, study, row, finished)
    done = searched
    others = [part["finished"] for part in (repeats, noise, control) if part is not None]
    if row is not None and row.purpose == Purpose.SEARCH:
        done = searched - study.spec.trials + finished
    elif row is not None and row.purpose == Purpose.REPEAT:
        repeats = noise
    return {
        "best_score": best,
        "purpose": row.purpose if row else None,
        "round": row.number if row else None,
        "running": states.get(TrialState.RUNNING, 0),
        "search_done": done,
        "trained": done + sum(others),
        "repeats": repeats,
        "control": control,
    }


# ----------------------------------------------- trials, for everybody who reads them

Curve = list[tuple[int, dict[str, float | None]]]


def trial_rows(connection: Connection, which: ColumnElement[bool]) -> list[JSON]:
    """Rows of trials with the name of their worker and the number of their round.

    Args:
        connection: The caller's transaction.
        which: A condition on `tables.trial`.

    Returns:
        By purpose and number, with values decoded; {} where the sampler has not spoken yet.
    """
    trial, worker, round_ = tables.trial.c, tables.worker.c, tables.round_.c
    rows = connection.execute(
        select(tables.trial, worker.name.label("worker"), round_.number.label("round"))
        .select_from(
            tables.trial.join(tables.round_, round_.id == trial.round_id).outerjoin(
                tables.worker, worker.id == trial.worker_id
            )
        )
        .where(which)
        .order_by(trial.purpose, trial.number)
    ).mappings()
    return [{**row, "values": json.loads(row["values"] or "{}")} for row in rows]


def curves(connection: Connection, which: ColumnElement[bool]) -> dict[int, Curve]:
    """(epoch, metrics) of trials by their row; a metric that was not finite is None.

    Args:
        connection: The caller's transaction.
        which: A condition on `tables.trial`.
    """
    found: dict[int, Curve] = defaultdict(list)
    epoch = tables.epoch.c
    rows = connection.execute(
        select(epoch.trial_id, epoch.epoch, epoch.metrics)
        .join(tables.trial, tables.trial.c.id == epoch.trial_id)
        .where(which)
        .order_by(epoch.trial_id, epoch.epoch)
    )
    for trial_id, number, metrics in rows:
        found[trial_id].append((number, json.loads(metrics)))
    return found


def diagnoses(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[JSON]]:
    """`{"step", "layers"}` of trials that have any, by their row and in order of the steps.

    Args:
        connection: The caller's transaction.
        which: A condition on `tables.trial`.
    """
    found: dict[int, list[JSON]] = defaultdict(list)
    diagnosis = tables.diagnosis.c
    rows = connection.execute(
        select(diagnosis.trial_id, diagnosis.step, diagnosis.layers)
        .join(tables.trial, tables.trial.c.id == diagnosis.trial_id)
        .where(which)
        .order_by(diagnosis.trial_id, diagnosis.step)
    )
    for trial_id, step, layers in rows:
        found[trial_id].append({"step": step, "layers": json.loads(layers)})
    return found


# ------------------------------------------------------------------------ parts


def _state(study: StoredStudy, workers: int) -> str:
    if study.state == "complete":
        return "complete"
    return "running" if workers else "interrupted"


def _states(connection: Connection, study_id: int, purpose: Purpose) -> dict[str, int]:
    """How many trials of a purpose stand where."""
    trial = tables.trial.c
    return _counted(connection, (trial.study_id == study_id) & (trial.purpose == purpose))


def _counted(connection: Connection, which: ColumnElement[bool]) -> dict[str, int]:
    state = tables.trial.c.state
    rows = connection.execute(select(state, func.count()).where(which).group_by(state))
    return {name: int(count) for name, count in rows}


def newest_round(connection: Connection, study_id: int) -> int:
    """The number of the newest search round."""
    round_ = tables.round_.c
    mine = (round_.study_id == study_id) & (round_.purpose == Purpose.SEARCH)
    return int(connection.scalar(select(func.max(round_.number)).where(mine)) or 0)


def _control_work(
    connection: Connection, study: StoredStudy, row: Row[Any] | None, finished: int
) -> JSON | None:
    """Trials of the control arm, with the repeats of its best that are known, and those done.

    Args:
        connection: The caller's transaction.
        study: The study.
        row: The open round.
        finished: How many of its trials are.
    """
    planned = study.spec.control_trials
    if not planned:
        return None
    if row is None or row.purpose == Purpose.FINAL:
        return {"planned": planned, "finished": planned}
    if row.purpose != Purpose.CONTROL:
        return {"planned": planned, "finished": 0}
    # All that have a lower number than the round's are done.
    number, round_id = tables.trial.c.number, tables.trial.c.round_id
    first = connection.scalar(select(func.min(number)).where(round_id == row.id)) or 0
    return {"planned": first + row.planned, "finished": first + finished}


def _best_score(connection: Connection, study_id: int) -> float | None:
    """Of the search; only complete trials have one, and by that the index is entered."""
    trial = tables.trial.c
    best: float | None = connection.scalar(
        select(func.max(trial.score)).where(
            trial.study_id == study_id,
            trial.purpose == Purpose.SEARCH,
            trial.state == TrialState.COMPLETE,
        )
    )
    return best


def _winner(study: StoredStudy) -> JSON | None:
    """Without what stands beside it."""
    return study.winner and {key: study.winner[key] for key in study.winner if key != "control"}


def _control(connection: Connection, study: StoredStudy) -> JSON | None:
    """How far the control arm is and what it came to; None where the study has none."""
    if study.spec.search.control is None:
        return None
    trial, planned = tables.trial.c, study.spec.control_trials
    mine = (trial.study_id == study.id) & (trial.purpose == Purpose.CONTROL)
    states = _counted(connection, mine & (trial.number < planned))
    found = (study.winner or {}).get("control") or {}
    best = {
        str(arm): _best_so_far(connection, study.id, arm, planned)
        for arm in (Purpose.SEARCH, Purpose.CONTROL)
    }
    return {
        "sampler": study.spec.search.control,
        "planned": planned,
        **{state: states.get(state, 0) for state in FINISHED},
        "repeats": _repeats(_counted(connection, mine & (trial.number >= planned))),
        "winner": found.get("winner"),
        "difference": found.get("difference"),
        "best_so_far": best,
    }


def _discarding(connection: Connection, study: StoredStudy) -> JSON | None:
    """What early discarding saved and how often it was wrong; None where nothing is discarded."""
    if study.spec.search.discard == "off":
        return None
    trial = tables.trial.c
    mine = (trial.study_id == study.id) & (trial.purpose == Purpose.SEARCH)
    made, saved = connection.execute(
        select(func.sum(trial.updates), func.sum(trial.updates_saved)).where(mine)
    ).one()
    whole = (made or 0) + (saved or 0)
    return {
        "rule": study.spec.search.discard,
        "updates_saved": (saved or 0) / whole if whole else None,
        "spared": _spared(connection, study, mine),
    }


def _spared(connection: Connection, study: StoredStudy, mine: ColumnElement[bool]) -> JSON:
    """Trials that ran on all the same, of rounds whose elites are known, and who was right."""
    trial, round_ = tables.trial.c, tables.round_.c
    by_round: dict[int, set[int]] = defaultdict(set)
    for number, trial_number in connection.execute(
        select(round_.number, trial.number)
        .select_from(tables.trial.join(tables.round_, round_.id == trial.round_id))
        .where(mine, trial.below_at.is_not(None), trial.state != TrialState.DISCARDED)
    ):
        by_round[number].add(trial_number)
    found = {number: _elite_numbers(connection, study, number) for number in by_round}
    judged = {number: best for number, best in found.items() if best is not None}
    count = sum(len(by_round[number]) for number in judged)
    wrong = sum(len(by_round[number] & best) for number, best in judged.items())
    interval = list(wilson_interval(wrong, count)) if count else None
    return {"trials": count, "elites": wrong, "interval": interval}


def _best_so_far(
    connection: Connection, study_id: int, purpose: Purpose, planned: int
) -> list[list[float]]:
    """[trials, best score of so many] wherever it rose, in the order of the trials' numbers."""
    trial = tables.trial.c
    rows = connection.execute(
        select(trial.number, trial.score)
        .where(
            trial.study_id == study_id,
            trial.purpose == purpose,
            trial.state == TrialState.COMPLETE,
            trial.number < planned,
        )
        .order_by(trial.number)
    )
    steps: list[list[float]] = []
    for number, score in rows:
        if not steps or score > steps[-1][1]:
            steps.append([number + 1, score])
    return steps


def _rounds(connection: Connection, study_id: int) -> list[JSON]:
    trial, round_ = tables.trial.c, tables.round_.c
    finished = case((trial.state.in_(FINISHED), 1), else_=0)
    rows = connection.execute(
        select(
            round_.number,
            round_.planned,
            round_.box,
            round_.state,
            func.sum(case((trial.state == TrialState.COMPLETE, 1), else_=0)).label("complete"),
            func.sum(finished).label("finished"),
            func.max(trial.score).label("best_score"),
        )
        .select_from(tables.round_.join(tables.trial))
        .where(round_.study_id == study_id, round_.purpose == Purpose.SEARCH)
        .group_by(round_.id, round_.number, round_.planned, round_.box, round_.state)
        .order_by(round_.number)
    )
    return [
        {
            "round": row.number,
            "state": row.state,
            "planned": row.planned,
            "complete": int(row.complete),
            "finished": int(row.finished),
            "best_score": row.best_score,
            "ranges": json.loads(row.box),
        }
        for row in rows
    ]


def _failures(connection: Connection, study_id: int) -> list[JSON]:
    """Why trials of any purpose failed, the commonest reason first."""
    trial, count = tables.trial.c, func.count().label("count")
    rows = connection.execute(
        select(trial.message, count)
        .where(trial.study_id == study_id, trial.state == TrialState.FAILED)
        .group_by(trial.message)
        .order_by(count.desc(), trial.message)
    )
    return [{"message": message, "count": number} for message, number in rows]


def _amendment(amendment: Amendment) -> JSON:
    change = amendment.change
    return {
        "after_round": amendment.place.round,
        "rounds": change.rounds,
        "limits": {name: list(ends) for name, ends in change.limits.items()},
        "undo": change.undo,
        "converged": None if change.converged is None else _expected(change.converged),
        "made": _moment(amendment.made),
    }


def _expected(prospect: Prospect) -> JSON:
    return {"expected_gain": prospect.gain, "noise": prospect.noise}


def _repeats(states: dict[str, int]) -> JSON | None:
    planned = sum(states.values())
    if not planned:
        return None
    return {"planned": planned, "finished": sum(states.get(s, 0) for s in FINISHED)}


def _trial(row: JSON, curve: Curve) -> JSON:
    return {
        "number": row["number"],
        "purpose": row["purpose"],
        "round": row["round"],
        "state": row["state"],
        "values": row["values"],
        "score": row["score"],
        "loss": row["loss"],
        **({} if row["scored_at"] is None else {"scored_at": row["scored_at"]}),
        **_below(row),
        "seed": row["seed"],
        "replicate": row["replicate"],
        "message": row["message"],
        "worker": row["worker"],
        "attempts": row["attempts"],
        "epochs": [{"epoch": epoch, "metrics": metrics} for epoch, metrics in curve],
        "started": _moment(row["started"]),
        "finished": _moment(row["finished"]),
    }


def _elite(row: JSON, best: dict[int, set[int]]) -> JSON:
    """Whether a search trial is one of its round's elites; None until they are known."""
    if row["purpose"] != Purpose.SEARCH:
        return {}
    return {"elite": row["number"] in best[row["round"]] if row["round"] in best else None}


def _below(row: JSON) -> JSON:
    """Where it fell below what it was judged by; spared is who ran on all the same."""
    if row["below_at"] is None:
        return {}
    spared = row["state"] != TrialState.DISCARDED
    return {
        "below": {"epoch": row["below_at"], "threshold": row["threshold"], "spared": spared},
    }


def _diagnosed(found: list[JSON]) -> JSON:
    return {"diagnoses": found} if found else {}


def _ledger_row(row: JSON) -> JSON:
    previous = json.loads(row["previous"]) if row["previous"] else None
    return {
        "round": row["round"],
        "dimension": row["dimension"],
        **range_from(row["range"]).document(),
        "previous": previous and (previous.get("choices") or [previous["low"], previous["high"]]),
        "elites": row["elites"],
        "rule": row["rule"],
        "decision": row["decision"],
        "edge": row["edge"],
        "reason": row["reason"],
    }


def _moment(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
