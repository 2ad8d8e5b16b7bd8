"""Whether Optuna's rows say what ours say; read through Optuna's own interface."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice

from optuna.trial import FrozenTrial
from sqlalchemy import select

from hpsearch.search.sampling import encoded
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED
from hpsearch.store import tables
from hpsearch.store.database import Database
from hpsearch.store.reading import Curve, curves
from hpsearch.store.record import RecordedTrial, StudyRecord
from hpsearch.store.results import OPTUNA_STATE, SCORE_METRIC
from hpsearch.store.rounds import optuna_name


def disagreements(database: Database, record: StudyRecord) -> Iterator[str]:
    """One line for each trial whose rows differ, and for each study with other trials.

    Trials that are not finished may have gone on since the record was read; of those only their
    place is compared.
    """
    with database.reading() as connection:
        measured = curves(connection, tables.trial.c.study_id == record.study.id)
    ours: dict[Purpose, list[RecordedTrial]] = {}
    for trial in record.trials:
        ours.setdefault(trial.purpose, []).append(trial)
    names = {purpose: optuna_name(record.study.name, purpose) for purpose in ours}
    theirs = {purpose: _frozen(database, name) for purpose, name in names.items()}
    known = _known_ids(database, record.study.id)
    for purpose, trials in ours.items():
        for trial in trials:
            differences = _differences(trial, measured.get(trial.id, []), theirs[purpose])
            yield from (f"{trial.name}: {first}" for first in islice(differences, 1))
        foreign = len(set(theirs[purpose]) - known)
        if foreign:
            yield f"{names[purpose]}: {foreign} of its trials are not ours"


def _known_ids(database: Database, study_id: int) -> set[int]:
    """Optuna's ids of all our trials; read after Optuna's, since a round may just have opened."""
    columns = tables.trial.c
    with database.reading() as connection:
        return set(
            connection.scalars(select(columns.optuna_trial_id).where(columns.study_id == study_id))
        )


def _frozen(database: Database, study_name: str) -> Mapping[int, FrozenTrial]:
    """Optuna's trials by their id; none where the study is not there."""
    storage = database.storage
    try:
        study_id = database.call(lambda: storage.get_study_id_from_name(study_name))
    except KeyError:
        return {}
    trials = database.call(lambda: storage.get_all_trials(study_id, deepcopy=False))
    return {trial._trial_id: trial for trial in trials}  # noqa: SLF001 - its only name


def _differences(
    trial: RecordedTrial, curve: Curve, theirs: Mapping[int, FrozenTrial]
) -> Iterator[str]:
    """How Optuna's trial differs from ours, the gravest first."""
    frozen = theirs.get(trial.optuna_id)
    if frozen is None:
        yield "is not among Optuna's trials"
        return
    if trial.state not in FINISHED:
        return
    if frozen.state != OPTUNA_STATE[trial.state]:
        yield f"{trial.state}, {frozen.state.name} in Optuna"
    if frozen.value != trial.score:
        yield f"score {trial.score!r}, {frozen.value!r} in Optuna"
    params = {name: encoded(value) for name, value in (trial.values or {}).items()}
    if frozen.params != params:
        yield f"values {params}, {frozen.params} in Optuna"
    steps = {epoch: _step(metrics) for epoch, metrics in curve if SCORE_METRIC in metrics}
    found = sorted(frozen.intermediate_values.items())  # a server gives rows in any order
    if repr(found) != repr(sorted(steps.items())):  # NaN equals itself as text
        yield "other scores of its epochs in Optuna"


def _step(metrics: Mapping[str, float | None]) -> float:
    """As `results` writes it: NaN where the network had already diverged."""
    values = [math.nan if value is None else value for value in metrics.values()]
    score = metrics[SCORE_METRIC]
    return score if score is not None and all(map(math.isfinite, values)) else math.nan
