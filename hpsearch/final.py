"""The one honest figure: the winner trained anew on all but the test rows, then scored on them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.data.prepared import Prepared
from hpsearch.data.sealed import open_test_rows
from hpsearch.data.sources import check_test_rows
from hpsearch.errors import DatabaseUnavailableError, LeaseLostError, UserError
from hpsearch.model import TrainedModel
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, TrainedMember, evaluate, train
from hpsearch.search.selection import mean_interval
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.settings import TrialSettings
from hpsearch.states import TrialState
from hpsearch.store.database import Database, open_database
from hpsearch.store.leases import LEASE_SECONDS
from hpsearch.store.openings import Opening, begin_opening, finish_opening, test_figure
from hpsearch.store.patience import Patience
from hpsearch.store.results import TrialResult
from hpsearch.store.studies import StoredStudy, load_study
from hpsearch.store.workers import register_worker, worker_stopped
from hpsearch.study import SOURCES_WITH_TEST_ROWS
from hpsearch.worker import checked_data, machine_fingerprint

TEST_METRIC = "test_accuracy"
# The figure is their mean: a single training is partly the luck of its seed.
TRAININGS = 5
# How often it is looked whether another process has the figure.
_LOOK_SECONDS = 0.2
_pause = time.sleep
# Training rows that are kept with its network, to show what one looks like.
_EXAMPLES = 2


def open_sealed_test(
    database_url: str,
    study_name: str,
    data_dir: Path | None,
    again: bool = False,
    forsaken: Callable[[], bool] = lambda: False,
) -> None:
    """Open the test split once, in this process; its result is in the database afterwards.

    The opening is on the disk before the first test row is read, and a process that dies in
    between leaves an opening that the next call finishes: it is not counted twice.

    Args:
        database_url: Address of the database.
        study_name: A complete study.
        data_dir: Folder with data files, None for the default places.
        again: Whether to open the split once more when its figure is known already.
        forsaken: True when nobody waits for the figure any more; a database that is out of reach
            is then not waited for either.

    Raises:
        DatabaseUnavailableError: If the database is out of reach for longer than patience lasts.
        UserError: If the study is not complete, has no winner, or holds no rows out.
    """
    from threadpoolctl import threadpool_limits

    patience = Patience(threading.Event(), forsaken=forsaken)
    database = open_database(database_url, write=True, patience=patience)
    try:
        study = load_study(database, study_name)
        check_ready(study)
        prepared = checked_data(study, data_dir)
        check_test_rows(study.spec, data_dir)
        worker_id, _ = register_worker(database, study.id, machine_fingerprint())
        try:
            with threadpool_limits(1):
                opening = begin_opening(database, study, worker_id, again=again)
                if opening is not None:
                    _open(database, study, prepared, data_dir, opening)
        except LeaseLostError:
            # Another process has taken the same opening up, and its figure is ours.
            if again or not _is_known_soon(database, study, forsaken):
                raise
        finally:
            with suppress(DatabaseUnavailableError):  # as a worker that cannot say good-bye
                worker_stopped(database, worker_id)
    finally:
        database.close()


def check_ready(study: StoredStudy) -> None:
    """Make sure that there is a winner and that there are rows to test it on.

    Raises:
        UserError: Saying what is missing.
    """
    if not study.spec.holds_out:
        needs_a_share = study.spec.data.source not in SOURCES_WITH_TEST_ROWS
        shares = "train = ..., validation = ..." + (", test = ..." if needs_a_share else "")
        raise UserError(
            f'{study.name}: [data] split = "all" holds no rows out, so there is no test split; '
            f"start it under a new name with split = {{ {shares} }}"
        )
    if study.state != "complete":
        raise UserError(
            f"{study.name}: the search is not finished, so there is no winner to test; "
            f"`hpsearch start {study.name}` goes on with it"
        )
    if study.winner is None:
        raise UserError(
            f"{study.name}: no trial, or no repeat of a finalist, has a score, so there is no "
            "winner to test"
        )


def _open(
    database: Database,
    study: StoredStudy,
    prepared: Prepared,
    data_dir: Path | None,
    opening: Opening,
) -> None:
    settings = study.spec.settings(opening.values)
    (trial,) = opening.claim.trials
    further = [trial_seed(study.spec.seed, Purpose.FINAL, 1, r) for r in range(1, TRAININGS)]
    members = train_final(settings, [trial.seed, *further], prepared)
    scores: list[float | None] = [None] * TRAININGS
    rows = 0
    if not all(member.diverged for member in members):
        test = open_test_rows(study.spec, data_dir, prepared)
        scores, rows = [_score(settings, member, test) for member in members], len(test)
    result, ended = _figure(opening, scores, rows), final_result(members[0], scores[0])
    model = None if members[0].diverged else _model(settings, members[0], prepared)
    try:
        finish_opening(database, opening, result, ended, model)
    except LeaseLostError as error:
        raise LeaseLostError(
            f"{study.name}: {error}; `hpsearch show {study.name}` will have its figure"
        ) from error


def _is_known_soon(database: Database, study: StoredStudy, forsaken: Callable[[], bool]) -> bool:
    """Wait for the figure as long as whoever took the opening up may be at it."""
    until = time.monotonic() + LEASE_SECONDS
    while test_figure(database, study.id) is None:
        if forsaken() or time.monotonic() > until:
            return False
        _pause(_LOOK_SECONDS)
    return True


def _model(settings: TrialSettings, member: TrainedMember, prepared: Prepared) -> bytes:
    """The network with all it takes to use it, as it is kept."""
    scaled = prepared.training().x[:_EXAMPLES]
    trained = TrainedModel(
        settings=settings,
        parameters=member.parameters,
        scaling=prepared.scaling,
        features=prepared.features,
        classes=prepared.classes,
        example=prepared.scaling.undone(scaled),
    )
    return trained.to_bytes()


def train_final(
    settings: TrialSettings, seeds: Sequence[int], prepared: Prepared
) -> list[TrainedMember]:
    """Train the winner, once for each seed, on all rows but the test rows.

    These are not needed for it.
    """
    members = train([Member(settings, seed) for seed in seeds], *_rows(settings, prepared))
    # Without validation rows nothing looks at a network after its very last update.
    return [
        member if np.isfinite(member.parameters).all() else replace(member, diverged=True)
        for member in members
    ]


def final_result(member: TrainedMember, score: float | None) -> TrialResult:
    """The final trial's end; its score is that of the test rows."""
    state = TrialState.DIVERGED if member.diverged else TrialState.COMPLETE
    return TrialResult(state, member.curve, score=score)


def _rows(settings: TrialSettings, prepared: Prepared) -> tuple[Examples, Examples | None]:
    """Rows to learn from: all but the test rows, unless some must say when to stop early."""
    if settings.training.patience is not None:
        return prepared.training(), prepared.validation()
    return prepared.training().joined(prepared.validation()), None


def _score(settings: TrialSettings, member: TrainedMember, test: Examples) -> float | None:
    return None if member.diverged else evaluate(settings, member.parameters, test)["accuracy"]


def _figure(opening: Opening, scores: Sequence[float | None], rows: int) -> dict[str, Any]:
    """The mean over all trainings; one that diverged has earned nothing."""
    figure: dict[str, Any] = {"metric": TEST_METRIC, "score": None, "interval": None}
    if rows:
        counted = [score or 0.0 for score in scores]
        figure["score"] = statistics.fmean(counted)
        figure["interval"] = list(mean_interval(counted, rows))
    trainings = {"trainings": len(scores), "scores": list(scores)}
    return figure | {"rows": rows, "opening": opening.number} | trainings
