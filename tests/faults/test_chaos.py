"""Chaos: for a while all dies and runs out at random, and then nothing is missing.

The short form is among the slow tests. The long one, ten seeds on both databases, a minute each, is
`pytest -m chaos`; with HPSEARCH_CHAOS=FILE every run adds a line of JSON to a file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hpsearch.final import open_sealed_test
from hpsearch.search.noise import CONFIGURATIONS, SEEDS
from hpsearch.worker import WorkerOptions, run_worker
from tests.acceptance.conftest import Command, begin, comparable, until
from tests.faults.chaos import Chaos
from tests.faults.outages import (
    Disk,
    DiskFull,
    MlflowAway,
    MlflowLocked,
    MlflowServer,
    Outage,
    ServerAway,
)

STUDY = """
name = "chaos"
[data]
source = "digits"
[model]
hidden = [100]
[training]
epochs = {epochs}
[space]
learning_rate = {{ low = 1e-4, high = 1e-2, scale = "log" }}
weight_decay = {{ low = 1e-8, high = 1e-4, scale = "log" }}
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 3
trials = {trials}
[confirmation]
finalists = 2
seeds = 3
most_seeds = 3
winner_seeds = 0
[report]
figures = ["table"]
"""
# What only root can do, and the report says if it was not done.
DISK_FILLED = "disk filled"
# Address of a database, and what may happen to it and to the folder of the search.
Place = tuple[str, list[Outage]]
Undisturbed = Callable[[str], tuple[str, Any]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk | None]:
    """The disk of the search's folder, where one may be mounted."""
    yield from mounted(tmp_path)


@pytest.fixture
def server_disk(server_folder: Path) -> Iterator[Disk | None]:
    """The disk of PostgreSQL's data, where one may be mounted."""
    yield from mounted(server_folder)


def mounted(folder: Path) -> Iterator[Disk | None]:
    try:
        small = Disk(folder, "500m")
    except PermissionError:
        yield None
        return
    yield small
    small.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, disk: Disk | None) -> Place:
    """A database of either kind, and its outages."""
    outages: list[Outage] = [DiskFull(disk, DISK_FILLED)] if disk else []
    if request.param == "sqlite":
        return "sqlite:///hpsearch.db", outages
    under = request.getfixturevalue("server_disk")
    server = request.getfixturevalue("server")
    outages += [DiskFull(under, "server's disk filled")] if under else []
    return server.get_uri(), [*outages, ServerAway(server, under)]


@pytest.fixture
def mlflow(tmp_path: Path, disk: Disk | None) -> Iterator[MlflowServer]:  # noqa: ARG001 - mounted first
    """A server of MLflow's that answers."""
    server = MlflowServer(tmp_path)
    server.start()
    until(server.answers, "an answer of MLflow's", seconds=120)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What an undisturbed search of a study gives, its trials and its ledger; searched once."""

    @cache
    def result(study: str) -> tuple[str, Any]:
        alone = Command(tmp_path_factory.mktemp("undisturbed"))
        url = f"sqlite:///{alone.folder}/hpsearch.db"
        begin(url, study)
        run_worker(WorkerOptions(url, "chaos"), threading.Event())
        open_sealed_test(url, "chaos", None)
        return comparable(alone.json("trials", "chaos")), alone.json("ranges", "chaos")

    return result


@pytest.fixture
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that always has space."""
    return tmp_path_factory.mktemp("said")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_short_chaos_changes_nothing(
    hpsearch: Command,
    place: Place,
    undisturbed: Undisturbed,
    said: Path,
    mlflow_tables: Path,
    seed: int,
):
    """Some seconds of deaths and outages end with the table of an undisturbed search."""
    url, outages = place
    outages.append(MlflowLocked(shutil.copy(mlflow_tables, hpsearch.folder / "mlflow.db")))
    study = STUDY.format(epochs=20, trials=40)
    hpsearch.write("chaos.toml", study)
    addresses = ("--database", url, "--tracking", "sqlite:///mlflow.db")
    chaos = Chaos(hpsearch, ("start", "chaos.toml", *addresses), outages, seed, said)
    with reported(chaos, seed, url, seconds=6):
        chaos.rage(seconds=6, times=1)
        check_nothing_is_missing(hpsearch, undisturbed(study), *addresses)
        until(lambda: not chaos.processes(), "the end of every process")


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(1, 11))
def test_chaos_changes_nothing(
    hpsearch: Command,
    place: Place,
    mlflow: MlflowServer,
    undisturbed: Undisturbed,
    said: Path,
    seed: int,
):
    """A minute of deaths and outages ends with the table of an undisturbed search."""
    url, outages = place
    outages.append(MlflowAway(mlflow))
    study = STUDY.format(epochs=60, trials=200)
    hpsearch.write("chaos.toml", study)
    addresses = ("--database", url, "--tracking", mlflow.url)
    chaos = Chaos(hpsearch, ("start", "chaos.toml", *addresses), outages, seed, said)
    with reported(chaos, seed, url, seconds=60):
        chaos.rage(seconds=60, times=2)
        until(mlflow.answers, "an answer of MLflow's", seconds=120)
        check_nothing_is_missing(hpsearch, undisturbed(study), *addresses)
        until(lambda: not chaos.processes(), "the end of every process")


def check_nothing_is_missing(
    hpsearch: Command, undisturbed: tuple[str, Any], *addresses: str
) -> None:
    """Let the search end, and compare all it left behind with an undisturbed one."""
    _, url, _, tracking = addresses
    # Whatever is left of the workers finishes its claim and leaves; nobody disturbs any more.
    ended = hpsearch.apart("start", "chaos.toml", *addresses, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "MLflow has everything." in ended.stdout, ended.stdout

    trials = hpsearch.json("trials", "chaos", "--database", url)
    assert Counter((t["purpose"], t["state"]) for t in trials) == planned(hpsearch.folder)
    ledger = hpsearch.json("ranges", "chaos", "--database", url)
    assert (comparable(trials), ledger) == undisturbed
    shown = hpsearch.json("show", "chaos", "--database", url)
    assert (shown["state"], shown["running"], shown["test"]["openings"]) == ("complete", 0, 1)
    assert mirrored(hpsearch.folder, tracking) == Counter(t["purpose"] for t in trials)


def planned(folder: Path) -> Counter[tuple[str, str]]:
    """How many trials of each purpose the study file plans, all complete."""
    document = tomllib.loads((folder / "chaos.toml").read_text())
    search, confirmation = document["search"], document["confirmation"]
    return Counter(
        {
            ("search", "complete"): search["rounds"] * search["trials"],
            ("repeat", "complete"): CONFIGURATIONS * SEEDS,
            ("confirmation", "complete"): confirmation["finalists"] * confirmation["seeds"],
            ("final", "complete"): 1,
        }
    )


def mirrored(folder: Path, tracking: str) -> Counter[str]:
    """Finished trial runs in MLflow by purpose, asked of MLflow itself."""
    code = (
        "import json, sys, mlflow; from mlflow import MlflowClient; "
        "client = MlflowClient(sys.argv[1]); "
        "found = client.get_experiment_by_name('chaos'); "
        "runs, token = [], None\n"
        "while True:\n"
        "    page = client.search_runs([found.experiment_id], max_results=1000, page_token=token)\n"
        "    runs += page; token = page.token\n"
        "    if not token: break\n"
        "assert all(run.info.status != 'RUNNING' for run in runs)\n"
        "print(json.dumps([r.data.tags['hpsearch.key'] for r in runs "
        "if r.data.tags['hpsearch.kind'] == 'trial']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tracking],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    keys = json.loads(done.stdout.splitlines()[-1])
    assert len(set(keys)) == len(keys)
    return Counter(key.split("/")[1] for key in keys)


@contextmanager
def reported(chaos: Chaos, seed: int, url: str, seconds: float) -> Iterator[None]:
    """Add what happened, and whether everything held, to the file that HPSEARCH_CHAOS names."""
    began, held = time.monotonic(), False
    try:
        yield
        held = True
    finally:
        file = os.environ.get("HPSEARCH_CHAOS")
        if file:
            line = {
                "database": url.split(":", maxsplit=1)[0],
                "seed": seed,
                "disturbed_seconds": seconds,
                "seconds": round(time.monotonic() - began, 1),
                "held": held,
                "did": dict(sorted(chaos.did.items())),
                "refusals": dict(chaos.refusals),
                "skipped": sorted({DISK_FILLED} - chaos.possible),
            }
            with Path(file).open("a") as lines:
                lines.write(json.dumps(line) + "\n")
