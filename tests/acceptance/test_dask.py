"""`start --launcher dask`: workers on a Dask cluster, of real processes, that may die."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.conftest import (
    SLOW_STUDY,
    SMALL_STUDY,
    Command,
    comparable,
    until,
)

LOCAL = ("--tracking", "none")


class Cluster:
    """A Dask scheduler and its workers, each a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until(lambda: self._file.exists() and self._file.stat().st_size > 0, "a scheduler's start")
        self.address = json.loads(self._file.read_text())["address"]

    def worker(self) -> subprocess.Popen[bytes]:
        """Another Dask worker of one thread."""
        return self._run("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")

    def _run(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}"]
        process = subprocess.Popen(
            [*command, "--scheduler-file", str(self._file), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._file.parent,
        )
        self._processes.append(process)
        return process

    def trains(self) -> bool:
        """Whether any process trains beside a Dask worker, or beside one that was killed."""
        folder = str(self._file.parent)
        for process in psutil.process_iter(["cmdline"]):
            if "hpsearch.launch.leashed" in (process.info["cmdline"] or []):
                with suppress(psutil.NoSuchProcess):
                    if process.cwd() == folder:
                        return True
        return False

    def end(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.end()


def has_begun(hpsearch: Command) -> bool:
    """Whether some trials of the slow study are done."""
    shown = hpsearch("show", "slow", "--json")
    return shown.returncode == 0 and json.loads(shown.stdout)["complete"] > 4


def on(cluster: Cluster, *options: str) -> tuple[str, ...]:
    return ("--launcher", "dask", "--scheduler", cluster.address, *options, *LOCAL)


def test_a_cluster_gives_the_table_that_one_process_gives(hpsearch: Command, cluster):
    """Two Dask workers; the study's file, its data and its database have relative addresses."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    for _ in range(2):
        cluster.worker()
    options = on(cluster, "--workers", "2")
    done = hpsearch.apart("start", file, *options)
    assert done.returncode == 0, done.stderr
    assert "Test" in done.stdout
    alone = ("--database", "sqlite:///alone.db")
    assert hpsearch("start", file, "--launcher", "inline", *alone, *LOCAL).returncode == 0
    tables = [comparable(hpsearch.json("trials", "small", *where)) for where in ((), alone)]
    assert tables[0] == tables[1]
    assert not cluster.trains()


def test_a_dask_worker_that_is_killed_costs_nothing(
    hpsearch: Command, cluster, undisturbed_slow: str
):
    """What it held is trained by the other one, to which Dask has given its task."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    victim, _ = cluster.worker(), cluster.worker()
    search = hpsearch.background("start", file, *on(cluster, "--workers", "2"))
    until(lambda: has_begun(hpsearch), "a trial")
    victim.kill()
    assert search.wait(120) == 0
    assert comparable(hpsearch.json("trials", "slow")) == undisturbed_slow
    assert hpsearch("verify", "slow", *LOCAL).returncode == 0


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_nobody_trains_for_a_search_that_is_gone(hpsearch: Command, cluster, how):
    """After Ctrl-C, and after `kill -9`, the workers beside the Dask workers leave."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    cluster.worker()
    search = hpsearch.background("start", file, *on(cluster, "--workers", "1"))
    until(lambda: has_begun(hpsearch), "a trial")
    os.kill(search.pid, how)
    assert search.wait(20) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    until(lambda: not cluster.trains(), "the end of the workers")
    assert hpsearch.json("show", "slow")["running"] == 0


def test_a_cluster_that_cannot_be_used_begins_no_study(hpsearch: Command, cluster):
    """No scheduler, or no worker and no number of workers: one line, and no database."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    nowhere = ("--launcher", "dask", "--scheduler", "tcp://127.0.0.1:1", *LOCAL)
    for further in ((), ("--workers", "2")):
        said = hpsearch.refusal("start", file, *nowhere, *further)
        assert "no Dask scheduler answers there" in said
    assert "say how many are wanted: --workers N" in hpsearch.refusal("start", file, *on(cluster))
    assert [path.name for path in hpsearch.folder.iterdir()] == ["small.toml"]
