"""A finished study, and MLflow itself to copy it to: an SQLite file, a real server over HTTP."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from hpsearch.data.prepared import prepare
from hpsearch.final import open_sealed_test
from hpsearch.store.database import open_database
from hpsearch.store.mirroring import read_mirror
from hpsearch.store.reading import ranges_document, study_document, trials_document
from hpsearch.store.studies import create_study, load_study, refresh_report
from hpsearch.study_file import parse_study
from hpsearch.tracking.client import connect
from hpsearch.tracking.ui import start_ui
from hpsearch.worker import WorkerOptions, run_worker

PICTURED = """
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
sampler = "sobol"
narrowing = "elites"
rounds = 2
trials = 8
[confirmation]
finalists = 2
seeds = 2
most_seeds = 2
winner_seeds = 0
"""
# To draw takes longer than all else that is copied.
TOML = f'{PICTURED}[report]\nfigures = ["table"]\n'


def begun(url, toml=TOML):
    """A study whose first round waits to be trained."""
    spec = parse_study(toml, "small.toml")
    database = open_database(url, create=True)
    prepared = prepare(spec, None)
    create_study(database, spec, toml, prepared.fingerprint, len(prepared.validation()))
    return database


def train(url):
    run_worker(WorkerOptions(url, "small"), threading.Event())


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """A complete study: two rounds, the confirmation, one opening of the test split."""
    url = f"sqlite:///{tmp_path_factory.mktemp('study')}/hpsearch.db"
    database = begun(url)
    train(url)
    open_sealed_test(url, "small", None)
    yield database
    database.close()


@pytest.fixture
def pictured(searched):
    """The same, with the figure that is drawn where the study file names none."""
    study = load_study(searched, "small")
    yield refresh_report(searched, study, parse_study(PICTURED, "small.toml"), PICTURED)
    refresh_report(searched, load_study(searched, "small"), study.spec, study.source)


@pytest.fixture(scope="session")
def server(mlflow_tables, tmp_path_factory):
    """A real MLflow server with a database and artifacts of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_tables, folder / "server.db")
    before = Path.cwd()
    os.chdir(folder)  # a server keeps uploaded artifacts in the folder it was started in
    try:
        dashboard = start_ui(f"sqlite:///{folder}/server.db", None, 0)
    finally:
        os.chdir(before)
    yield dashboard.url.split("/#")[0]
    dashboard.stop()


@pytest.fixture
def mlflow_copy(mlflow_tables, tmp_path):
    """Address of an SQLite file of MLflow's without any run."""
    return f"sqlite:///{shutil.copy(mlflow_tables, tmp_path / 'mlflow.db')}"


# Where the other kind of store is met by other tests, and HTTP takes long.
SLOW_OVER_HTTP = pytest.mark.parametrize(
    "tracking", ["sqlite", pytest.param("http", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture(params=["sqlite", "http", pytest.param("folder", marks=pytest.mark.slow)])
def tracking(request, mlflow_copy, tmp_path):
    """An empty tracking store, of each kind."""
    if request.param == "sqlite":
        yield mlflow_copy
        return
    if request.param == "folder":
        yield f"{tmp_path}/mlruns"
        return
    uri = request.getfixturevalue("server")
    yield uri
    client = connect(uri)
    found = client.get_experiment_by_name("small")
    client.rename_experiment(found.experiment_id, f"small, {request.node.name}")


def runs_in(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("small")
    return client.search_runs([experiment.experiment_id], max_results=1000)


def by_key(runs):
    return {run.data.tags["hpsearch.key"]: run for run in runs}


def content_of(runs):
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
        for key, run in by_key(runs).items()
    }


def documents(database):
    study = load_study(database, "small")
    return (
        trials_document(database, study),
        ranges_document(database, study),
        study_document(database, study),
    )


def check_whole(database, uri):
    """Exactly the study's runs are there: none missing, none twice, none RUNNING."""
    trials, _, document = documents(database)
    runs = runs_in(uri)
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


@pytest.fixture
def mirror_process():
    """Starts mirrors and leaves none behind, which would keep the lock of the shared study."""
    started = []

    def start(database, uri, **options):
        command = [sys.executable, "-m", "hpsearch.tracking.mirror", "--database", database.url]
        command += ["--study", "small", "--tracking", uri]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(condition, seconds=30):
    """Wait for a condition, and fail when it does not come."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come in time"
        threading.Event().wait(0.02)


def row_of(database, uri):
    """The mirror's row, once it is about this destination."""
    row = read_mirror(database, 1)
    return row if row is not None and row.destination == uri else None
