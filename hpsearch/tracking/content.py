"""What each run in MLflow says, computed from the study alone: no MLflow, no SQL.

Every run has a key, such as `digits/search/17`, by which it is found again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hpsearch.seeds import Purpose
from hpsearch.space import frozen, label
from hpsearch.states import TrialState
from hpsearch.store.mirroring import MirroredTrial, RoundRow
from hpsearch.store.studies import StoredStudy

KEY_TAG = "hpsearch.key"
KIND_TAG = "hpsearch.kind"
ORIGIN_TAG = "hpsearch.origin"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
ELITE_TAG = "elite"

# "Finished child runs" are then exactly the completed trials: a diverged or discarded trial
# ended before its last epoch and has no score, which is what KILLED says and FINISHED denies.
STATUS = {"complete": "FINISHED", "diverged": "KILLED", "discarded": "KILLED", "failed": "FAILED"}

# MLflow takes 8000 characters in a tag; a worker's traceback may be longer.
_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Measurement:
    """One point of a metric; `timestamp` in ms since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class RunContent:
    """A run as it shall stand in MLflow; times in ms since 1970.

    Attributes:
        status: MLflow's word for how it ended, "RUNNING" while it has not.
    """

    key: str
    name: str
    kind: str
    start: int
    status: str = "RUNNING"
    end: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    metrics: tuple[Measurement, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


def origin(study: StoredStudy) -> str:
    """Tells this study from another of the same name, of which MLflow may hold a copy too."""
    identity = f"{study.name} {study.created!r} {study.data_fingerprint}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def trial_key(study: str, purpose: Purpose, number: int) -> str:
    """Key of a trial's run."""
    return f"{study}/{purpose}/{number}"


def round_key(study: str, purpose: Purpose, number: int) -> str:
    """Key of the run above a round's trials; only search rounds are told apart."""
    return f"{study}/round/{number}" if purpose == Purpose.SEARCH else f"{study}/{purpose}"


def study_keys(
    study: str, rounds: Iterable[RoundRow], finished: Iterable[tuple[Purpose, int]]
) -> set[str]:
    """Keys of all runs of a study.

    Args:
        study: The study's name.
        rounds: Its rounds.
        finished: (purpose, number) of its finished trials.
    """
    above = {round_key(study, row.purpose, row.number) for row in rounds}
    return {study} | above | {trial_key(study, *trial) for trial in finished}


# ------------------------------------------------------------------- the three kinds


def study_content(study: StoredStudy) -> RunContent:
    """The study's own run, above all others."""
    return RunContent(
        key=study.name,
        name=study.name,
        kind="study",
        start=milliseconds(study.created),
        params=_study_params(study),
        tags={"data_fingerprint": study.data_fingerprint},
    )


def round_content(study: str, row: RoundRow) -> RunContent:
    """The run above a round's trials."""
    search = row.purpose == Purpose.SEARCH
    return RunContent(
        key=round_key(study, row.purpose, row.number),
        name=f"round {row.number}" if search else str(row.purpose),
        kind="round",
        start=milliseconds(row.opened),
        tags={"purpose": str(row.purpose)} | ({"round": str(row.number)} if search else {}),
    )


def trial_content(
    study: str, trial: MirroredTrial, *, elite: bool, test: dict[str, Any] | None
) -> RunContent:
    """A finished trial's run, whole.

    Args:
        study: The study's name.
        trial: The trial.
        elite: Whether it is one of its round's elites; False until the round is closed.
        test: The test figure, for a final trial.
    """
    start, end = trial_times(trial.started, trial.finished)
    return RunContent(
        key=trial_key(study, trial.purpose, trial.number),
        name=_trial_name(trial),
        kind="trial",
        start=start,
        end=end,
        status=STATUS[trial.state],
        params={name: label(frozen(value)) for name, value in trial.values.items()},
        metrics=tuple(_curve(trial, start, end)) + tuple(_scores(trial, end, test)),
        tags=_trial_tags(trial, elite=elite, test=test),
    )


def trial_times(started: float | None, finished: float) -> tuple[int, int]:
    """When a trial's run starts and ends; `started` is None where nobody knows it."""
    start = milliseconds(finished if started is None else started)
    return start, max(start, milliseconds(finished))


def _trial_name(trial: MirroredTrial) -> str:
    if trial.purpose == Purpose.SEARCH:
        return f"trial {trial.number}"
    if trial.purpose == Purpose.FINAL:
        return f"test {trial.number + 1}"
    return f"{trial.purpose} {trial.number}"


def _trial_tags(
    trial: MirroredTrial, *, elite: bool, test: dict[str, Any] | None
) -> dict[str, str]:
    tags = {
        "purpose": str(trial.purpose),
        "round": str(trial.round),
        "number": str(trial.number),
        "state": trial.state,
        "seed": str(trial.seed),
        "attempts": str(trial.attempts),
    }
    if trial.worker:
        tags["worker"] = trial.worker
    if trial.purpose == Purpose.SEARCH:
        tags[ELITE_TAG] = str(elite).lower()
    if trial.message:
        tags["message"] = trial.message[:_LONGEST_TEXT]
    if trial.below_at is not None:
        tags["below_at"] = str(trial.below_at)
        tags["spared"] = str(trial.state != TrialState.DISCARDED).lower()
        if trial.threshold is not None:
            tags["threshold"] = text(trial.threshold)
    if test is not None:
        tags["opening"] = str(test["opening"])
    return tags


def _curve(trial: MirroredTrial, start: int, end: int) -> Iterator[Measurement]:
    """Every finite metric of every epoch; the epochs share the trial's time evenly."""
    # Epoch 0 alone is the first measurement of a network that was not trained.
    last = max((epoch for epoch, _ in trial.epochs), default=0) or 1
    for epoch, metrics in trial.epochs:
        when = start + (end - start) * epoch // last
        for name, value in metrics.items():
            if value is not None:
                yield Measurement(name, value, when, epoch)


def _scores(trial: MirroredTrial, end: int, test: dict[str, Any] | None) -> Iterator[Measurement]:
    last = max((epoch for epoch, _ in trial.epochs), default=0)
    if trial.purpose == Purpose.FINAL:
        yield from figure_measurements(test, end, 0)
    elif trial.score is not None:
        step = last if trial.scored_at is None else trial.scored_at
        yield Measurement("score", trial.score, end, step)


def figure_measurements(
    test: dict[str, Any] | None, when: int, step: int | None
) -> Iterator[Measurement]:
    """The test figure and the ends of its interval.

    Args:
        test: {"metric", "score", "interval", "opening", ...}.
        when: ms since 1970.
        step: None for the number of the opening.
    """
    if test is None or test["score"] is None:
        return
    step = test["opening"] if step is None else step
    low, high = test["interval"]
    for name, value in (("", test["score"]), ("_low", low), ("_high", high)):
        yield Measurement(f"{test['metric']}{name}", value, when, int(step or 0))


def _study_params(study: StoredStudy) -> dict[str, str]:
    """The study file's values, `[training] epochs` as `training.epochs`.

    Without [report] and without amendments, which may change, as MLflow's params may not.
    """
    document = study.begun.written_out()
    document.pop("name")
    document["space"] = {name: text(range_) for name, range_ in document["space"].items()}
    params: dict[str, str] = {}
    for key, value in document.items():
        entries = value.items() if isinstance(value, dict) else ()
        params |= {f"{key}.{name}": text(entry) for name, entry in entries if entry is not None}
        if not isinstance(value, dict):
            params[key] = text(value)
    return params


def text(value: Any) -> str:
    """A value as MLflow stores it; numbers read back exactly."""
    return value if isinstance(value, str) else json.dumps(value)


def milliseconds(seconds: float) -> int:
    """Ms since 1970, as MLflow counts."""
    return round(seconds * 1000)
