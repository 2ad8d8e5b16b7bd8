"""What `hpsearch doctor` says of healthy studies, damaged ones, and one that runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from typing import Any

import pytest

from hpsearch.diagnosis import diagnose
from hpsearch.findings import Commands, Verdict
from tests.acceptance.conftest import SLOW_STUDY, Command, until
from tests.faults.test_kill import kill_amid_training, running


@pytest.fixture(autouse=True)
def _calm_machine(monkeypatch):
    """This machine has space and answers soon, whatever else it does."""
    roomy = shutil.disk_usage("/")._replace(free=1 << 40)
    monkeypatch.setattr("hpsearch.diagnosis._SLOW_SECONDS", 60.0)
    monkeypatch.setattr("hpsearch.diagnosis.disk_usage", lambda _: roomy)


def change(hpsearch: Command, statement: str) -> None:
    with closing(sqlite3.connect(hpsearch.folder / "hpsearch.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def examined(hpsearch: Command, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code, and findings that are not ok."""
    done = hpsearch("doctor", "--json", *arguments)
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, [f for f in findings if f["verdict"] != "ok"]


def written(hpsearch: Command) -> dict[str, int]:
    """When each file was written, but for the index of a log, where readers leave their marks."""
    files = [p for p in hpsearch.folder.iterdir() if not p.match("*-shm")]
    return {p.name: p.stat().st_mtime_ns for p in files}


def test_a_healthy_study_is_well_with_its_copy(copied: Command):
    """After a search every line is ok, and no file of the folder is another afterwards."""
    before = written(copied)
    done = copied("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    assert "MLflow: sqlite:///mlflow.db answers" in done.stdout
    assert written(copied) == before


def test_a_damaged_study_is_named_with_what_mends_it(small: Command):
    """A finding is one line with study, trial and command, and the exit code is 1."""
    change(small, "UPDATE trials SET state = 'FAIL' WHERE trial_id = 3")
    done = small("doctor", "--tracking", "none")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    assert line.startswith("wrong")
    assert "rows of small: search 2: finished, but Optuna's state says otherwise" in line
    mended = line.split("`hpsearch ")[1].rstrip("`").split()
    assert small(*mended, "--no-test", "--launcher", "inline").returncode == 0
    assert {study["study"] for study in small.json("list")} == {"small", "small-again"}


@pytest.mark.slow
def test_nothing_is_wrong_while_a_search_runs(hpsearch: Command, started):
    """Asked again and again during a search, the doctor finds nothing wrong."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    process = started("start", file, "--trials", "30", "--no-test", "--tracking", "none")
    until(lambda: running(hpsearch) > 0, "a trial in training")
    looks = 0
    while process.poll() is None:
        findings = diagnose(f"sqlite:///{hpsearch.folder}/hpsearch.db", "none", Commands())
        assert [f for f in findings if f.verdict == Verdict.WRONG] == []
        looks += 1
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    assert looks > 3
    assert process.returncode == 0


@pytest.mark.slow
def test_a_killed_search_is_a_warning_that_start_mends(hpsearch: Command, started):
    """Workers that were killed are named; after the command that is given all is well."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    process = started("start", file, "--trials", "20", "--tracking", "none", "--no-test")
    kill_amid_training(hpsearch, process)
    code, found = examined(hpsearch, "--tracking", "none")
    assert code == 0
    assert {(f["check"], f["verdict"]) for f in found} == {("workers", "warning")}
    assert {f["command"] for f in found} == {"hpsearch start slow --tracking none"}
    hpsearch("start", "slow", "--tracking", "none", "--no-test")
    assert examined(hpsearch, "--tracking", "none") == (0, [])


def test_what_was_typed_wrongly_is_one_line(hpsearch: Command):
    """No database, or one for both: exit code 2, one line, nothing made."""
    both = ("--database", "sqlite:///a.db", "--tracking", "sqlite:///a.db")
    for arguments, word in (((), "no database here"), (both, "is the --database too")):
        assert word in hpsearch.refusal("doctor", *arguments)
    assert not list(hpsearch.folder.iterdir())
