"""What `hpsearch doctor` says of healthy studies, damaged ones, and one that runs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

from tests.acceptance.conftest import SLOW_STUDY, SMALL_STUDY, Command, kill_session, until


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


def test_a_healthy_study_is_well_with_its_copy(hpsearch: Command):
    """After `start` every line is ok, and no file of the folder is another afterwards."""
    assert hpsearch("start", hpsearch.write("small.toml", SMALL_STUDY)).returncode == 0
    before = written(hpsearch)
    done = hpsearch("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    assert "MLflow: sqlite:///mlflow.db answers" in done.stdout
    assert written(hpsearch) == before


def test_a_damaged_study_is_named_with_what_mends_it(small: Command):
    """A finding is one line with study, trial and command, and the exit code is 1."""
    change(small, "UPDATE trials SET state = 'FAIL' WHERE trial_id = 3")
    done = small("doctor", "--tracking", "none")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    assert line.startswith("wrong")
    assert "rows of small: search 2: finished, but Optuna's state says otherwise" in line
    mended = line.split("`hpsearch ")[1].rstrip("`").split()
    assert small(*mended, "--tracking", "none").returncode == 0
    assert "small-again" in small("list").stdout


def test_nothing_is_wrong_while_a_search_runs(hpsearch: Command, started):
    """Asked again and again during a search, the doctor finds nothing wrong."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    process = started("start", file, "--no-test", "--tracking", "none")
    until((hpsearch.folder / "hpsearch.db").exists, "the study")
    asked = 0
    while process.poll() is None:
        done = hpsearch("doctor", "--json", "--tracking", "none")
        if done.returncode == 2:  # in the moment before the study is stored
            assert asked == 0, done.stderr
            continue
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["verdict"] != "wrong"
        asked += 1
    assert asked > 0
    assert process.returncode == 0


def test_a_killed_search_is_a_warning_that_start_mends(hpsearch: Command, started):
    """Workers that were killed are named; after the command that is given all is well."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    process = started("start", file, "--tracking", "none", "--no-test")
    until(lambda: "running" in hpsearch("trials", "slow").stdout, "a trial in training")
    kill_session(process)
    code, found = examined(hpsearch, "--tracking", "none")
    assert code == 0
    assert {(f["check"], f["verdict"]) for f in found} == {("workers", "warning")}
    assert {f["command"] for f in found} == {"hpsearch start slow"}
    hpsearch("start", "slow", "--tracking", "none", "--no-test")
    assert examined(hpsearch, "--tracking", "none") == (0, [])


def test_an_mlflow_that_is_away_is_a_warning(hpsearch: Command):
    """A search whose MLflow is down has lost nothing, and the copy's command is given."""
    away = ("--tracking", "http://127.0.0.1:1")
    hpsearch("start", hpsearch.write("small.toml", SMALL_STUDY), *away)
    code, found = examined(hpsearch, *away)
    assert code == 0
    assert {f["check"] for f in found} == {"mirror", "MLflow"}
    assert {f["command"] for f in found} == {"hpsearch sync small --tracking http://127.0.0.1:1"}


def test_what_was_typed_wrongly_is_one_line(hpsearch: Command):
    """No database, or one for both: exit code 2, one line, nothing made."""
    both = ("--database", "sqlite:///a.db", "--tracking", "sqlite:///a.db")
    for arguments, word in (((), "no database here"), (both, "is the --database too")):
        assert word in hpsearch.refusal("doctor", *arguments)
    assert not list(hpsearch.folder.iterdir())
