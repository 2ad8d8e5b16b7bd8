"""A disk that is full: one clear line, nothing lost, and with space made the same table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import SMALL_STUDY, Command, comparable
from tests.faults.outages import Disk

pytestmark = pytest.mark.slow

# Enough commits to fill a small disk: one a trial, with --population 1.
STUDY = SMALL_STUDY.replace("trials = 8", "trials = 60")
ALONE = ("--population", "1", "--tracking", "none")


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk of 1.5 MB."""
    try:
        small = Disk(tmp_path_factory.mktemp("disk"), "1500k")
    except PermissionError:
        pytest.skip("only root may mount a disk; a limit on files is tried all the same")
    yield small
    small.remove()


def limited(hpsearch: Command, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command none of whose files may grow beyond a megabyte."""
    limit = 'ulimit -f 2048; exec "$@"'
    return subprocess.run(
        ["sh", "-c", limit, "sh", sys.executable, "-m", "hpsearch", *arguments],
        cwd=hpsearch.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check_refusal(done: subprocess.CompletedProcess[str], word: str) -> None:
    """One line on standard error that names the disk, and exit code 2."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert word in line


def check_same_table(hpsearch: Command, file: str, database: str) -> None:
    """The same command, now with space, ends with the table of an undisturbed run."""
    begun = hpsearch.json("trials", "small", "--database", database)
    done = [trial for trial in begun if trial["state"] == "complete"]
    assert 0 < len(done) < 120, "the disk was full too early or too late"
    again = hpsearch.apart("start", file, "--database", database, *ALONE)
    assert again.returncode == 0, again.stderr
    assert hpsearch.apart("start", file, *ALONE).returncode == 0
    ours = hpsearch.json("trials", "small", "--database", database)
    assert comparable(ours) == comparable(hpsearch.json("trials", "small"))
    kept = {(t["purpose"], t["number"], t["finished"]) for t in done}
    assert kept <= {(t["purpose"], t["number"], t["finished"]) for t in ours}


def test_a_full_disk_costs_nothing_but_time(hpsearch: Command, disk: Disk):
    """`start` says that the disk is full; with space it goes on, and trains nothing twice."""
    file, database = hpsearch.write("small.toml", STUDY), f"sqlite:///{disk.folder / 'a.db'}"
    check_refusal(hpsearch.apart("start", file, "--database", database, *ALONE), "the disk is full")
    disk.resize("60m")
    check_same_table(hpsearch, file, database)


def test_a_limit_on_files_costs_nothing_but_time(hpsearch: Command):
    """The same where a quota or a limit, not the disk, keeps the file from growing."""
    file, database = hpsearch.write("small.toml", STUDY), "sqlite:///a.db"
    check_refusal(limited(hpsearch, "start", file, "--database", database, *ALONE), "disk")
    check_same_table(hpsearch, file, database)


def test_no_study_begins_on_a_full_disk(hpsearch: Command, disk: Disk):
    """Where not even the tables fit the line is the same, and later the study begins."""
    disk.resize("100k")
    file, database = hpsearch.write("small.toml", SMALL_STUDY), f"sqlite:///{disk.folder / 'a.db'}"
    check_refusal(hpsearch.apart("start", file, "--database", database, *ALONE), "the disk is full")
    disk.resize("60m")
    assert hpsearch.apart("start", file, "--database", database, *ALONE).returncode == 0


def test_a_full_disk_under_mlflow_costs_only_the_copy(hpsearch: Command, disk: Disk):
    """The search ends as ever and says what MLflow lacks; `sync` copies it once there is space."""
    disk.resize("60m")
    file, tracking = (
        hpsearch.write("small.toml", SMALL_STUDY),
        f"sqlite:///{disk.folder / 'mlflow.db'}",
    )
    assert hpsearch.apart("start", file, "--tracking", tracking).returncode == 0
    disk.fill()
    done = hpsearch.apart("start", file, "--tracking", tracking, "--name", "second")
    assert done.returncode == 0, done.stderr
    assert "its disk is full" in " ".join(done.stdout.split())
    disk.free()
    synced = hpsearch.apart("sync", "second", "--tracking", tracking)
    assert synced.returncode == 0, synced.stderr
    states = [trial["state"] for trial in hpsearch.json("trials", "second")]
    assert states == ["complete"] * 21
    assert f"{len(states)} trials" in synced.stdout
