"""A study's rows as they stand, all from one moment, for whoever checks them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from hpsearch.search.discarding import METRIC, Band, Points, band_for
from hpsearch.search.outcomes import Outcome
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Range, Value
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.database import Database
from hpsearch.store.documents import bands_from, box_from, legible, range_from, values_from
from hpsearch.store.reading import curves, diagnoses
from hpsearch.store.rounds import outcomes, points_of
from hpsearch.store.studies import StoredStudy, study_at


@dataclass(frozen=True)
class RecordedTrial:
    """A trial's row.

    Attributes:
        values: None where the sampler has not suggested any yet.
        fingerprint: What the bits depend on, of the worker that trained it; None without one.
        updates: Of its parameters; None where nobody counted.
        below_at: After which measurement it was below its threshold; None for never.
        threshold: What that was.
        stands_for: What the surrogate takes its score for, where it was discarded.
        band: That of its wave, None where there is none.
    """

    id: int
    optuna_id: int
    purpose: Purpose
    number: int
    replicate: int
    seed: int
    values: dict[str, Value] | None
    state: TrialState
    score: float | None
    loss: float | None
    scored_at: int | None
    fingerprint: dict[str, str] | None
    updates: int | None
    below_at: int | None
    threshold: float | None
    stands_for: float | None
    band: Band | None = None

    @property
    def name(self) -> str:
        """`search 3`."""
        return f"{self.purpose} {self.number}"


@dataclass(frozen=True)
class RecordedRound:
    """A round with its trials, in number order."""

    purpose: Purpose
    number: int
    planned: int
    closed: bool
    box: Box
    trials: tuple[RecordedTrial, ...]
    outcomes: tuple[Outcome, ...]
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class RecordedRange:
    """A row of the ledger, without its sentences."""

    dimension: str
    range: Range
    previous: Range | None
    elites: int
    decision: str
    edge: str | None


@dataclass(frozen=True)
class RecordedOpening:
    """An opening of the test split; `result` is None until its figure is known."""

    number: int
    trial_id: int
    result: dict[str, Any] | None


@dataclass(frozen=True)
class StudyRecord:
    """Everything of a study that was decided or measured, but for curves that decided nothing.

    Attributes:
        study: The study at the same moment.
        rounds: In the order they were opened.
        ledger: Rows by the round whose ranges they are, in the study file's order.
        openings: In order.
        curves: Validation accuracy by step of trials that may have been stopped early, by their
            row; None where a figure was not finite. Empty where no band is.
        points: The same by the number of updates, of search trials by their numbers.
    """

    study: StoredStudy
    rounds: tuple[RecordedRound, ...]
    ledger: dict[int, tuple[RecordedRange, ...]]
    openings: tuple[RecordedOpening, ...]
    curves: dict[int, dict[int, float | None]]
    points: dict[int, Points]

    @property
    def trials(self) -> list[RecordedTrial]:
        """All trials of all rounds."""
        return [trial for round_ in self.rounds for trial in round_.trials]

    @property
    def history(self) -> tuple[Outcome, ...]:
        """All finished search trials, in number order."""
        return self.outcomes(Purpose.SEARCH)

    def outcomes(self, purpose: Purpose, up_to: float = math.inf) -> tuple[Outcome, ...]:
        """All finished trials of a purpose in rounds up to a number, in number order."""
        rounds = [r for r in self.rounds if r.purpose == purpose and r.number <= up_to]
        found = [outcome for round_ in rounds for outcome in round_.outcomes]
        return tuple(sorted(found, key=lambda outcome: outcome.number))


@dataclass(frozen=True)
class Measured:
    """What was measured of a trial; a figure that was not finite is None.

    Attributes:
        curve: Metrics by epoch.
        diagnoses: What was found in each layer, by step.
    """

    curve: dict[int, dict[str, float | None]]
    diagnoses: dict[int, list[dict[str, Any]]]


def read_record(database: Database, study: StoredStudy) -> StudyRecord:
    """The record of a study.

    Raises:
        DatabaseError: If a row holds what no hpsearch has written.
    """
    with legible(study.name), database.reading() as connection:
        return StudyRecord(
            study=study_at(connection, study),
            rounds=_rounds(connection, study.id),
            ledger=_ledger(connection, study.id),
            openings=_openings(connection, study.id),
            **_measured(connection, study),
        )


def read_measured(database: Database, trials: Sequence[RecordedTrial]) -> dict[int, Measured]:
    """What was measured of these trials, by their row."""
    which = tables.trial.c.id.in_([trial.id for trial in trials])
    with database.reading() as connection:
        measured, found = curves(connection, which), diagnoses(connection, which)
    return {
        trial.id: Measured(
            dict(measured.get(trial.id, [])),
            {entry["step"]: entry["layers"] for entry in found.get(trial.id, [])},
        )
        for trial in trials
    }


def _measured(connection: Connection, study: StoredStudy) -> dict[str, Any]:
    """The curves that decided something."""
    if study.spec.search.discard != "auto":
        return {"curves": {}, "points": {}}
    trial = tables.trial.c
    mine = (trial.study_id == study.id) & (trial.purpose == Purpose.SEARCH)
    found = {
        row: {step: metrics[METRIC] if _finite(metrics) else None for step, metrics in curve}
        for row, curve in curves(connection, mine).items()
    }
    return {
        "curves": found,
        "points": points_of(connection, mine),
    }


def _finite(metrics: dict[str, float | None]) -> bool:
    return None not in metrics.values()


def _rounds(connection: Connection, study_id: int) -> tuple[RecordedRound, ...]:
    trials = _trials(connection, study_id)
    columns = tables.round_.c
    rows = connection.execute(
        select(tables.round_).where(columns.study_id == study_id).order_by(columns.id)
    ).all()
    return tuple(
        RecordedRound(
            purpose=Purpose(row.purpose),
            number=row.number,
            planned=row.planned,
            closed=row.state == tables.RoundState.CLOSED,
            box=box_from(row.box),
            trials=tuple(
                replace(trial, band=band_for(bands, trial.number))
                for trial in trials.get(row.id, [])
            ),
            outcomes=outcomes(connection, tables.trial.c.round_id == row.id),
            bands=bands,
        )
        for row in rows
        for bands in [bands_from(row.bands)]
    )


def _trials(connection: Connection, study_id: int) -> dict[int, list[RecordedTrial]]:
    """By the row of their round, in number order."""
    columns, worker = tables.trial.c, tables.worker.c
    rows = connection.execute(
        select(tables.trial, worker.fingerprint)
        .select_from(tables.trial.outerjoin(tables.worker, worker.id == columns.worker_id))
        .where(columns.study_id == study_id)
        .order_by(columns.number)
    ).mappings()
    found: dict[int, list[RecordedTrial]] = {}
    for row in rows:
        found.setdefault(row["round_id"], []).append(_trial(dict(row)))
    return found


def _trial(row: dict[str, Any]) -> RecordedTrial:
    return RecordedTrial(
        id=row["id"],
        optuna_id=row["optuna_trial_id"],
        purpose=Purpose(row["purpose"]),
        number=row["number"],
        replicate=row["replicate"],
        seed=row["seed"],
        values=None if row["values"] is None else values_from(row["values"]),
        state=TrialState(row["state"]),
        score=row["score"],
        loss=row["loss"],
        scored_at=row["scored_at"],
        fingerprint=json.loads(row["fingerprint"]) if row["fingerprint"] else None,
        updates=row["updates"],
        below_at=row["below_at"],
        threshold=row["threshold"],
        stands_for=row["stands_for"],
    )


def _ledger(connection: Connection, study_id: int) -> dict[int, tuple[RecordedRange, ...]]:
    columns = tables.ledger.c
    rows = connection.execute(
        select(tables.ledger)
        .where(columns.study_id == study_id)
        .order_by(columns.round, columns.position)
    )
    found: dict[int, tuple[RecordedRange, ...]] = {}
    for row in rows:
        previous = None if row.previous is None else range_from(row.previous)
        entry = RecordedRange(
            row.dimension, range_from(row.range), previous, row.elites, row.decision, row.edge
        )
        found[row.round] = (*found.get(row.round, ()), entry)
    return found


def _openings(connection: Connection, study_id: int) -> tuple[RecordedOpening, ...]:
    columns = tables.opening.c
    rows = connection.execute(
        select(tables.opening).where(columns.study_id == study_id).order_by(columns.number)
    )
    return tuple(
        RecordedOpening(row.number, row.trial_id, json.loads(row.result) if row.result else None)
        for row in rows
    )
