"""The mirror against MLflow itself: an SQLite file, and a real server over HTTP."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.data.prepared import prepare
from hpsearch.errors import TrackingError
from hpsearch.final import open_sealed_test
from hpsearch.store.database import open_database
from hpsearch.store.mirroring import mirror_progress, only_mirror, read_mirror
from hpsearch.store.reading import (
    elite_numbers,
    ranges_document,
    study_document,
    trials_document,
)
from hpsearch.store.studies import create_study
from hpsearch.store.studies import load_study as stored_study
from hpsearch.study_file import parse_study
from hpsearch.tracking import copying
from hpsearch.tracking.client import connect
from hpsearch.tracking.mirror import sync
from hpsearch.tracking.ui import start_ui
from hpsearch.worker import WorkerOptions, run_worker

TOML = """
name = "small"
[data]
source = "moons"
samples = 200
[model]
hidden = [4]
[training]
epochs = 2
[space]
learning_rate = { low = 1e-3, high = 1e-1, scale = "log" }
beta1 = { low = 0.5, high = 0.95 }
activation = { choices = ["relu", "tanh"] }
[search]
rounds = 2
trials = 8
[confirmation]
finalists = 2
seeds = 2
"""
WRITES = {
    "create_experiment",
    "create_run",
    "delete_run",
    "log_batch",
    "log_text",
    "restore_experiment",
    "set_experiment_tag",
    "set_terminated",
    "update_run",
}


def _begun(url):
    """A study whose first round waits to be trained."""
    spec = parse_study(TOML, "small.toml")
    database = open_database(url, create=True)
    prepared = prepare(spec, None)
    create_study(database, spec, TOML, prepared.fingerprint, len(prepared.validation()))
    return database


def _train(url):
    run_worker(WorkerOptions(url, "small"), threading.Event())


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A complete study: two rounds, the confirmation, one opening of the test split."""
    url = f"sqlite:///{tmp_path_factory.mktemp('study')}/hpsearch.db"
    database = _begun(url)
    _train(url)
    open_sealed_test(url, "small", None)
    yield database
    database.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server with a database and artifacts of its own."""
    folder = tmp_path_factory.mktemp("server")
    before = Path.cwd()
    os.chdir(folder)  # a server keeps uploaded artifacts in the folder it was started in
    try:
        dashboard = start_ui(f"sqlite:///{folder}/server.db", None, 0)
    finally:
        os.chdir(before)
    yield dashboard.url.split("/#")[0]
    dashboard.stop()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """An SQLite file with MLflow's tables and nothing in them; MLflow needs 2 s to make one."""
    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    connect(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


@pytest.fixture(params=["sqlite", "http"])
def tracking(request, tables, tmp_path):
    """An empty tracking store, of either kind."""
    if request.param == "sqlite":
        shutil.copy(tables, tmp_path / "mlflow.db")
        yield f"sqlite:///{tmp_path}/mlflow.db"
        return
    uri = request.getfixturevalue("server")
    yield uri
    client = connect(uri)
    found = client.get_experiment_by_name("small")
    client.rename_experiment(found.experiment_id, f"small, {request.node.name}")


def _runs(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("small")
    return client.search_runs([experiment.experiment_id], max_results=1000)


def _by_key(runs):
    return {run.data.tags["hpsearch.key"]: run for run in runs}


def _content(runs):
    """Everything about the runs but their ids, which are new for every run made."""
    names = {run.info.run_id: run.info.run_name for run in runs}
    return {
        key: (
            run.info.run_name,
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
            run.data.metrics,
            {k: names.get(v, v) for k, v in run.data.tags.items()},
        )
        for key, run in _by_key(runs).items()
    }


def _documents(database):
    study = stored_study(database, "small")
    return (
        trials_document(database, study),
        ranges_document(database, study),
        study_document(database, study),
    )


def _check_whole(database, uri):
    """Exactly the study's runs are there: none missing, none twice, none RUNNING."""
    trials, _, document = _documents(database)
    runs = _runs(uri)
    keys = Counter(run.data.tags["hpsearch.key"] for run in runs)
    wanted = {f"small/{trial['purpose']}/{trial['number']}" for trial in trials}
    wanted |= {"small", "small/round/1", "small/round/2", "small/confirmation", "small/final"}
    assert keys == Counter(wanted)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    finished = [r for r in runs if r.data.tags["hpsearch.kind"] == "trial"]
    finished = [r for r in finished if r.info.status == "FINISHED"]
    assert len(finished) == sum(trial["state"] == "complete" for trial in trials)
    assert document["planned"] == 16
    return runs


def _mirror(database, uri, **options):
    command = [sys.executable, "-m", "hpsearch.tracking.mirror", "--database", database.url]
    command += ["--study", "small", "--tracking", uri]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def _until(condition, seconds=30):
    """Wait for a condition, and fail when it does not come."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come in time"
        threading.Event().wait(0.02)


def _row(database, uri):
    """The mirror's row, once it is about this destination."""
    row = read_mirror(database, 1)
    return row if row is not None and row.destination == uri else None


# ------------------------------------------------------------------- what is copied


def test_every_epoch_reads_back_equal(database, tracking):
    """Every finite metric of every epoch, and every value, is in MLflow as it is in SQL."""
    sync(database.url, "small", tracking)
    runs = _by_key(_check_whole(database, tracking))
    client = connect(tracking)
    for trial in _documents(database)[0]:
        run = runs[f"small/{trial['purpose']}/{trial['number']}"]
        values = trial["values"]
        assert run.data.params == {
            k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()
        }
        told = {(e["epoch"], k): v for e in trial["epochs"] for k, v in e["metrics"].items()}
        names = {name for _, name in told}
        read = [m for name in names for m in client.get_metric_history(run.info.run_id, name)]
        assert {(m.step, m.key): m.value for m in read} == {
            k: v for k, v in told.items() if v is not None
        }
        assert len(read) == len(told)
        assert all(run.info.start_time <= m.timestamp <= run.info.end_time for m in read)
        assert run.data.tags["state"] == trial["state"]
        assert run.data.tags["worker"] == trial["worker"]


def test_runs_are_nested_and_elites_marked(database, tracking):
    """Trials hang below their round, rounds below the study, and elites are known."""
    sync(database.url, "small", tracking)
    runs = _by_key(_runs(tracking))
    study = stored_study(database, "small")
    for trial in _documents(database)[0]:
        run = runs[f"small/{trial['purpose']}/{trial['number']}"]
        above = f"round/{trial['round']}" if trial["purpose"] == "search" else trial["purpose"]
        above = runs[f"small/{above}"]
        assert run.data.tags["mlflow.parentRunId"] == above.info.run_id
        assert above.data.tags["mlflow.parentRunId"] == runs["small"].info.run_id
        if trial["purpose"] == "search":
            elite = trial["number"] in elite_numbers(database, study, trial["round"])
            assert run.data.tags["elite"] == str(elite).lower()


def test_study_run_tells_ranges_winner_and_test(database, tracking):
    """Ranges over the rounds, best scores, winner, test figure, note and files are there."""
    report = sync(database.url, "small", tracking)
    client, (_, ledger, document) = connect(tracking), _documents(database)
    run = client.get_run(report.run_id)
    for row in (row for row in ledger if "low" in row):
        for end in ("low", "high"):
            history = client.get_metric_history(run.info.run_id, f"range/{row['dimension']}/{end}")
            assert {m.step: m.value for m in history}[row["round"]] == row[end]
            assert sorted(m.step for m in history) == [1, 2, 3]
    assert "range/learning_rate/log10_low" in run.data.metrics
    assert "range/beta1/log10_low" not in run.data.metrics
    best = client.get_metric_history(run.info.run_id, "best_validation_accuracy")
    assert {m.step: m.value for m in best} == {
        r["round"]: r["best_score"] for r in document["rounds"]
    }
    assert run.data.metrics["winner_score"] == document["winner"]["score"]
    assert run.data.metrics["test_accuracy"] == document["test"]["score"]
    assert run.data.tags["test_openings"] == "1"
    assert "**Winner**" in run.data.tags["mlflow.note.content"]
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
        "study.toml",
        "ledger.json",
        "ledger.md",
    }
    experiment = client.get_experiment(report.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


# ----------------------------------------------------------------------- idempotence


def test_sync_twice_adds_nothing(database, tracking):
    """A second sync makes no run, removes none and changes none."""
    sync(database.url, "small", tracking)
    before = _content(_runs(tracking))
    again = sync(database.url, "small", tracking)
    assert (again.added, again.removed) == (0, 0)
    assert _content(_runs(tracking)) == before


class Killed(BaseException):
    """Ends a mirror as SIGKILL does: nothing catches it."""


class DyingClient:
    """MLflow's client, which dies with its nth write; that write has still happened."""

    def __init__(self, client, writes):
        self._client = client
        self._left = writes

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if name not in WRITES:
            return method

        def write(*args, **kwargs):
            result = method(*args, **kwargs)
            self._left -= 1
            if self._left == 0:
                raise Killed
            return result

        return write


def test_dying_after_any_write_leaves_nothing_twice(database, tracking, monkeypatch):
    """Killed after its 1st, then 2nd, then 3rd ... write, a mirror still makes every run once."""
    deaths = 0
    for writes in range(1, 100):
        monkeypatch.setattr(copying, "connect", lambda uri, n=writes: DyingClient(connect(uri), n))
        try:
            sync(database.url, "small", tracking)
            break
        except Killed:
            deaths += 1
    assert deaths > 5
    runs = _by_key(_check_whole(database, tracking))
    client = connect(tracking)
    for run in runs.values():
        for name in run.data.metrics:
            steps = Counter(m.step for m in client.get_metric_history(run.info.run_id, name))
            assert set(steps.values()) == {1}, (run.info.run_name, name, steps)


def test_killed_process_is_taken_up(database, tracking):
    """A mirror killed with SIGKILL between two trials is finished by the next one."""
    process = _mirror(database, tracking, stdin=subprocess.PIPE)
    client = connect(tracking)

    def copied():
        found = client.get_experiment_by_name("small")
        return found is not None and len(client.search_runs([found.experiment_id])) > 5

    _until(copied)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sync(database.url, "small", tracking)
    _check_whole(database, tracking)


def test_deleted_tracking_file_is_rebuilt(database, tables, tmp_path):
    """Where no mlflow.db is, a mirror of a finished study makes one with the same runs."""
    uri = f"sqlite:///{shutil.copy(tables, tmp_path / 'first.db')}"
    sync(database.url, "small", uri)
    before = _content(_runs(uri))
    again = f"sqlite:///{tmp_path}/second.db"
    assert _mirror(database, again, stdin=subprocess.DEVNULL).wait(60) == 0
    assert _content(_runs(again)) == before


def test_runs_the_study_does_not_have_are_removed(database, tracking):
    """A run whose trial is not in SQL goes; a run deleted by hand comes back."""
    report = sync(database.url, "small", tracking)
    client, runs = connect(tracking), _by_key(_runs(tracking))
    origin = runs["small"].data.tags["hpsearch.origin"]
    tags = {"hpsearch.key": "small/search/99", "hpsearch.origin": origin}
    client.create_run(report.experiment_id, tags=tags)
    client.delete_run(runs["small/search/3"].info.run_id)
    client.delete_run(runs["small/round/2"].info.run_id)
    report = sync(database.url, "small", tracking)
    assert (report.added, report.removed) == (1, 1)
    runs = _by_key(_check_whole(database, tracking))
    parent = runs["small/search/12"].data.tags["mlflow.parentRunId"]
    assert parent == runs["small/round/2"].info.run_id


def test_deleted_experiment_is_restored(database, tracking):
    """A study whose experiment lies in MLflow's bin is taken out of it, with its runs."""
    report = sync(database.url, "small", tracking)
    connect(tracking).delete_experiment(report.experiment_id)
    again = sync(database.url, "small", tracking)
    assert (again.experiment_id, again.added) == (report.experiment_id, 0)
    _check_whole(database, tracking)


def test_another_study_of_the_same_name_is_left_alone(database, tracking, tmp_path):
    """Two databases may copy a study of one name to one place; neither removes the other's."""
    sync(database.url, "small", tracking)
    mine = len(_runs(tracking))
    other = _begun(f"sqlite:///{tmp_path}/other.db")
    sync(other.url, "small", tracking)
    assert len(_runs(tracking)) == mine + 2  # its study run and its first round
    other.close()


# ------------------------------------------------------------------------- following


def test_follows_a_study_while_it_runs(tracking, tmp_path):
    """A mirror started with the search has everything when its input ends."""
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    database = _begun(url)
    process = _mirror(database, tracking, stdin=subprocess.PIPE)
    _until(lambda: (row := _row(database, tracking)) and row.run_id)
    _train(url)
    open_sealed_test(url, "small", None)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    _check_whole(database, tracking)
    copied, finished = mirror_progress(database, "small")
    assert copied == finished == 21
    assert read_mirror(database, 1).message is None
    before = _content(_runs(tracking))
    sync(url, "small", tracking)
    assert _content(_runs(tracking)) == before
    database.close()


def test_terminated_mirror_leaves_nothing_running(tmp_path):
    """SIGTERM ends the mirror within five seconds, and the unfinished study does not look busy."""
    database, uri = _begun(f"sqlite:///{tmp_path}/hpsearch.db"), f"sqlite:///{tmp_path}/mlflow.db"
    process = _mirror(database, uri, stdin=subprocess.PIPE)
    _until(lambda: (row := _row(database, uri)) and row.run_id)
    process.terminate()
    assert process.wait(5) == 0
    _until(lambda: {run.info.status for run in _runs(uri)} == {"KILLED"}, 1)
    database.close()


def test_unreachable_server_is_one_line_and_exit_code_3(database):
    """Without MLflow the mirror gives up soon after the search, and the study is untouched."""
    before = _documents(database)[0]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers here
        uri = f"http://127.0.0.1:{held.getsockname()[1]}"
        process = _mirror(database, uri, stdin=subprocess.DEVNULL)
        _, said = process.communicate(timeout=30)
        with pytest.raises(TrackingError, match="no server answers"):
            sync(database.url, "small", uri)
    assert process.returncode == 3
    assert len(said.splitlines()) == 1
    assert "`hpsearch sync small` catches up later" in said
    assert "no server answers" in read_mirror(database, 1).message
    assert _documents(database)[0] == before


class Gate:
    """A port that leads to the real server, but only while it is open."""

    def __init__(self, server):
        host, port = server.removeprefix("http://").split(":")
        self._behind = (host, int(port))
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def open(self):
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            inside, _ = self._socket.accept()
            outside = socket.create_connection(self._behind)
            for pair in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source, target):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_server_that_comes_late_gets_everything(database, server):
    """A mirror waits out an outage, says why meanwhile, and then copies all of it."""
    gate = Gate(server)
    process = _mirror(database, gate.uri, stdin=subprocess.PIPE)
    _until(lambda: (row := _row(database, gate.uri)) and row.message)
    gate.open()
    _until(lambda: read_mirror(database, 1).message is None)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    runs = _check_whole(database, server)
    connect(server).rename_experiment(runs[0].info.experiment_id, "small, after an outage")


def test_tracking_file_deleted_under_a_running_mirror(database, tmp_path):
    """A mirror whose file is deleted while it runs writes a new one, not into the old."""
    file = tmp_path / "mlflow.db"
    process = _mirror(database, f"sqlite:///{file}", stdin=subprocess.PIPE)
    _until(lambda: _row(database, f"sqlite:///{file}"))
    for path in tmp_path.glob("mlflow.db*"):
        path.unlink()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    _check_whole(database, f"sqlite:///{file}")


def test_two_mirrors_do_not_work_at_once(database, tmp_path):
    """While one process copies a study, `sync` says so instead of making runs twice."""
    with only_mirror(database, 1) as alone, only_mirror(database, 1) as second:
        assert alone
        assert not second
        with pytest.raises(TrackingError, match="is copying it already"):
            sync(database.url, "small", f"sqlite:///{tmp_path}/mlflow.db")
