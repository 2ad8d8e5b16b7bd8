"""One study's experiment in MLflow: its runs by key, each made at most once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hpsearch.tracking.content import (
    KEY_TAG,
    KIND_TAG,
    ORIGIN_TAG,
    PARENT_TAG,
    Measurement,
    RunContent,
)
from hpsearch.tracking.destination import sqlite_file
from hpsearch.tracking.registry import register

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Without it MLflow 3 shows a search in its GenAI view, where it looks empty.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_PAGE = 500


@dataclass
class KnownRun:
    """A run that is in MLflow.

    Attributes:
        logged: Values by (metric, step), of what its history holds; read when first needed.
        files: Artifacts written by this process, by name: a text, or the digest of bytes.
    """

    run_id: str
    kind: str
    status: str
    tags: dict[str, str]
    params: set[str]
    metrics: set[str]
    logged: dict[tuple[str, int], float] | None = None
    files: dict[str, str] = field(default_factory=dict)


class Experiment:
    """The runs of one study in its experiment.

    Runs of another study of the same name (another origin) are neither seen nor touched.

    Args:
        client: MLflow's client.
        experiment_id: The experiment.
        origin: Tag that all runs of this study carry.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, origin: str) -> None:
        self.id = experiment_id
        self._client = client
        self._origin = origin
        self._runs: dict[str, KnownRun] = {}

    @classmethod
    def open(cls, client: MlflowClient, name: str, tracking_uri: str, origin: str) -> Experiment:
        """Find the experiment, restore it if it was deleted, or make it."""
        found = client.get_experiment_by_name(name)
        if found is None:
            location = _artifact_location(tracking_uri, name)
            return cls(client, client.create_experiment(name, location, dict(_KIND)), origin)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        for key, value in _KIND.items():
            if found.tags.get(key) != value:
                client.set_experiment_tag(found.experiment_id, key, value)
        return cls(client, found.experiment_id, origin)

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    def __getitem__(self, key: str) -> KnownRun:
        return self._runs[key]

    def trials(self) -> int:
        """How many trial runs there are."""
        return sum(run.kind == "trial" for run in self._runs.values())

    def unfinished(self) -> list[KnownRun]:
        """Runs that say they are going on."""
        return [run for run in self._runs.values() if run.status == "RUNNING"]

    # ---------------------------------------------------------------------- looking

    def refresh(self, expected: Mapping[str, int | None]) -> int:
        """List what MLflow has, and delete what does not belong there.

        That is: runs whose key the study no longer has, second runs of one key, and trial
        runs that a killed mirror left half-written or that tell of an attempt which a power
        cut took from the database; those are made anew.

        Args:
            expected: Keys that the study has now; for a trial's, when its run ended, in ms
                since 1970.

        Returns:
            How many runs were deleted.
        """
        runs: dict[str, KnownRun] = {}
        removed = 0
        # What ended comes first and, among equals, the older run: every mirror keeps the same.
        for run in sorted(runs_of(self._client, self.id, self._origin), key=_precedence):
            key = run.data.tags.get(KEY_TAG, "")
            known = _known(run)
            half_written = known.kind == "trial" and known.status == "RUNNING"
            overtaken = expected.get(key) not in {None, run.info.end_time}
            if key not in expected or key in runs or half_written or overtaken:
                self._client.delete_run(known.run_id)
                removed += 1
            else:
                runs[key] = known
        self._runs = runs
        return removed

    # ---------------------------------------------------------------------- writing

    def add(self, content: RunContent, parent: KnownRun) -> None:
        """Write a finished run, whole: three calls, whatever it measured."""
        run = self._create(content, parent)
        self._client.log_batch(
            run.run_id, metrics=_metrics(content.metrics), params=_params(content.params)
        )
        self._client.set_terminated(run.run_id, content.status, content.end)
        run.status = content.status
        self._runs[content.key] = run

    def ensure(self, content: RunContent, parent: KnownRun | None) -> KnownRun:
        """The run of this key, made if need be, under its parent, with all its params."""
        run = self._runs.get(content.key)
        if run is None:
            run = self._runs[content.key] = self._create(content, parent)
        missing = {key: value for key, value in content.params.items() if key not in run.params}
        if missing:
            self._client.log_batch(run.run_id, params=_params(missing))
            run.params |= set(missing)
        if parent is not None:
            self.set_tags(run, {PARENT_TAG: parent.run_id})
        return run

    def set_tags(self, run: KnownRun, tags: dict[str, str]) -> None:
        """Set tags that differ from what the run has."""
        changed = {key: value for key, value in tags.items() if run.tags.get(key) != value}
        if not changed:
            return
        from mlflow.entities import RunTag

        self._client.log_batch(run.run_id, tags=[RunTag(k, v) for k, v in changed.items()])
        run.tags |= changed

    def log(self, run: KnownRun, measurements: Iterable[Measurement]) -> None:
        """Add points that the run's history does not have yet, or has with another value."""
        logged = self._history(run)
        new = [m for m in measurements if logged.get((m.key, m.step)) != m.value]
        if new:
            self._client.log_batch(run.run_id, metrics=_metrics(new))
            logged |= {(m.key, m.step): m.value for m in new}

    def set_status(self, run: KnownRun, status: str, end: int | None = None) -> None:
        """End a run, or let it go on."""
        if run.status == status:
            return
        if status == "RUNNING":
            self._client.update_run(run.run_id, status)
        else:
            self._client.set_terminated(run.run_id, status, end)
        run.status = status

    def write_file(self, run: KnownRun, name: str, content: str) -> None:
        """Store a text file among the run's artifacts, unless it is there as it is."""
        if run.files.get(name) != content:
            self._client.log_text(run.run_id, content, name)
            run.files[name] = content

    def write_bytes(self, run: KnownRun, name: str, content: bytes) -> None:
        """Store a file below a folder of artifacts, unless this process has stored it so."""
        digest = hashlib.sha256(content).hexdigest()
        if run.files.get(name) == digest:
            return
        with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
            path = Path(folder) / PurePosixPath(name).name
            path.write_bytes(content)
            self._client.log_artifact(run.run_id, str(path), str(PurePosixPath(name).parent))
        run.files[name] = digest

    def register(self, run: KnownRun, study: dict[str, Any], opening: int, model: bytes) -> None:
        """A version of the study's model, with the network that was tested; see `register`."""
        register(self._client, run.run_id, self._origin, study, opening, model)

    def _create(self, content: RunContent, parent: KnownRun | None) -> KnownRun:
        tags = {KEY_TAG: content.key, KIND_TAG: content.kind, ORIGIN_TAG: self._origin}
        tags |= content.tags | ({} if parent is None else {PARENT_TAG: parent.run_id})
        run = self._client.create_run(self.id, content.start, tags, content.name)
        return KnownRun(run.info.run_id, content.kind, "RUNNING", tags, set(), set(), {})

    def _history(self, run: KnownRun) -> dict[tuple[str, int], float]:
        if run.logged is None:
            histories = (self._client.get_metric_history(run.run_id, k) for k in run.metrics)
            points = [m for history in histories for m in history]
            points.sort(key=lambda point: point.timestamp)
            run.logged = {(m.key, m.step): m.value for m in points}
        return run.logged


def runs_of(client: MlflowClient, experiment_id: str, origin: str) -> Iterator[Run]:
    """Every run of one study in an experiment, the oldest first."""
    query, token = f"tags.`{ORIGIN_TAG}` = '{origin}'", None
    while True:
        page = client.search_runs(
            [experiment_id],
            query,
            max_results=_PAGE,
            order_by=["start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _precedence(run: Run) -> tuple[bool, int, str]:
    return run.info.status == "RUNNING", run.info.start_time, run.info.run_id


def _known(run: Run) -> KnownRun:
    data = run.data
    return KnownRun(
        run_id=run.info.run_id,
        kind=data.tags.get(KIND_TAG, ""),
        status=run.info.status,
        tags=dict(data.tags),
        params=set(data.params),
        metrics=set(data.metrics),
    )


def _metrics(measurements: Iterable[Measurement]) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(m.key, m.value, m.timestamp, m.step) for m in measurements]


def _params(params: dict[str, str]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, value) for key, value in params.items()]


def _artifact_location(tracking_uri: str, name: str) -> str | None:
    """`mlruns` beside an SQLite file, wherever it lies; a server knows its own place."""
    path = sqlite_file(tracking_uri)
    return None if path is None else (path.parent / "mlruns" / name).as_uri()
