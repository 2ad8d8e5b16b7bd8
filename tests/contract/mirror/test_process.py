"""The mirror as `start` sees it: its process, its last words, and no password anywhere."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import psutil
import pytest

from hpsearch.store.database import open_database
from hpsearch.store.mirroring import read_mirror, write_mirror
from hpsearch.tracking import client, process
from hpsearch.tracking.client import connect
from hpsearch.tracking.process import Mirror
from hpsearch.tracking.ui import find_experiment
from tests.contract.mirror.conftest import check_whole, until

# Nobody listens on port 1.
SECRET = "planted5ecret"  # noqa: S105 - planted, to be searched for
ADDRESSES = [
    pytest.param(f"http://user:{SECRET}@127.0.0.1:1/", id="http", marks=pytest.mark.slow),
    pytest.param(f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/mlflow", id="postgresql"),
]


@pytest.fixture
def folder(searched, tmp_path):
    """A folder with a database of its own that holds the finished study, and nothing else."""
    with (
        closing(sqlite3.connect(searched.engine.url.database)) as source,
        closing(sqlite3.connect(tmp_path / "hpsearch.db")) as copy,
    ):
        source.backup(copy)
    return tmp_path


@pytest.fixture
def mirrors():
    """Starts mirrors and leaves no process behind."""
    started = []

    def start(*arguments):
        started.append(Mirror.start(*arguments))
        return started[-1]

    yield start
    for mirror in started:
        mirror.end()


# Dies at the twentieth table or column that MLflow makes of some three hundred.
_DIES = """
import itertools, os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from hpsearch.tracking.client import connect

made = itertools.count(1)

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.split()[0] in {"CREATE", "ALTER", "DROP"} and next(made) == 20:
        os._exit(9)

connect(sys.argv[1])
"""


def test_a_mirror_killed_while_it_makes_tables_is_no_end(tmp_path):
    """MLflow cannot go on with half of its tables: who comes next finds as little as the first."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    died = subprocess.run([sys.executable, "-c", _DIES, uri], check=False, timeout=180)
    assert died.returncode == 9
    assert list(tmp_path.iterdir()) == []


def test_who_makes_tables_at_the_same_time_finds_them_made(mlflow_copy, tmp_path, monkeypatch):
    """The tables of whoever was faster stay, with what has been written there since."""
    connect(mlflow_copy).create_experiment("faster")
    with monkeypatch.context() as patch:
        patch.setattr(client, "_connected", lambda _uri: None)  # an empty file will do
        client._make(tmp_path / "mlflow.db")
    assert connect(mlflow_copy).get_experiment_by_name("faster") is not None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _progress(_copied, _finished):
    """Nobody looks."""


def _command(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "hpsearch", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def test_no_mirror_without_mlflow(searched):
    """With `--tracking none` no process is started."""
    assert Mirror.start(searched.url, "none", "small") is None


def test_addresses_come_by_the_environment(searched, mirrors, mlflow_copy):
    """What everybody can see of the process is the study's name; it copies all the same."""
    mirror = mirrors(searched.url, mlflow_copy, "small")
    command = " ".join(psutil.Process(mirror._process.pid).cmdline())
    assert "--study small" in command
    assert "sqlite" not in command
    assert mirror.finish(searched, "small", _progress) is None
    assert read_mirror(searched, 1).destination == mlflow_copy


def test_a_mirror_gives_way_to_training(searched, mirrors, mlflow_copy):
    """Out of reach of Ctrl-C, yet in the session of the workers, within which niceness counts."""
    process = mirrors(searched.url, mlflow_copy, "small")._process
    assert os.getsid(process.pid) == os.getsid(0)
    assert os.getpgid(process.pid) != os.getpgid(0)
    until(lambda: psutil.Process(process.pid).nice() >= 10)


def test_a_mirror_that_died_is_started_again(searched, mirrors, mlflow_copy, monkeypatch):
    """Killed at any time: while the search goes on, and when it is told to finish."""
    monkeypatch.setattr(process, "_PAUSE_SECONDS", (0.0, 0.0))
    mirror = mirrors(searched.url, mlflow_copy, "small")
    first = mirror._process
    first.kill()
    first.wait()
    mirror.keep_up()
    assert mirror._process.pid != first.pid
    second = mirror._process
    second.kill()
    assert mirror.finish(searched, "small", _progress) is None
    assert second.returncode == -signal.SIGKILL
    check_whole(searched, mlflow_copy)


def test_a_mirror_that_was_refused_is_not_started_again(searched, mirrors):
    """What the user gave is wrong, so the next one would say the same."""
    mirror = mirrors(searched.url, "sqlite:////nowhere/mlflow.db", "small")
    mirror._process.stdin.close()
    assert mirror._process.wait(60) == 2
    refused = mirror._process
    mirror.keep_up()
    assert mirror._process is refused
    assert "does not exist" in mirror.finish(searched, "small", _progress)


def test_a_talkative_mirror_does_not_hang(searched, mirrors, mlflow_copy, monkeypatch):
    """More words than a pipe holds stop neither the mirror nor whoever waits for it."""
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # a line for every module, some hundred KB in all
    mirror = mirrors(searched.url, mlflow_copy, "small")
    assert mirror.finish(searched, "small", _progress) is None
    assert os.fstat(mirror._said.fileno()).st_size > 2 * 65536


@pytest.mark.slow
@pytest.mark.parametrize("tracking", ADDRESSES)
def test_a_password_is_neither_shown_nor_stored(folder, mirrors, tracking):
    """No output, no row, no file and no command line has the password of the tracking URI."""
    database = open_database(f"sqlite:///{folder}/hpsearch.db")
    mirror = mirrors(database.url, tracking, "small")
    process = psutil.Process(mirror._process.pid)
    family = [process, *process.children(recursive=True)]
    seen = [argument for member in family for argument in member.cmdline()]
    said = mirror.finish(database, "small", _progress)
    assert "`hpsearch sync small` catches up later" in said
    row = read_mirror(database, 1)
    assert "***" in row.destination
    assert "***" in said
    seen += [said, repr(row)]
    for command in ("sync", "ui"):
        done = _command(folder, command, "small", "--tracking", tracking)
        assert done.returncode == 2
        assert "***" in done.stderr
        seen += [done.stdout, done.stderr]
    database.close()
    seen += [path.read_bytes().decode("latin-1") for path in folder.glob("hpsearch.db*")]
    assert not [text for text in seen if SECRET in text]


def test_a_redacted_destination_is_still_recognised(searched):
    """The experiment noted for an address with a password is found by that address."""
    before = read_mirror(searched, 1)
    write_mirror(searched, 1, "http://user:***@host/", 0, experiment_id="7", run_id="r")
    assert find_experiment(searched, "small", f"http://user:{SECRET}@host/") == "7"
    assert find_experiment(searched, "small", f"http://user:{SECRET}@elsewhere/") is None
    if before is not None:
        write_mirror(searched, 1, before.destination, before.trials)


def test_foreign_text_is_not_read_as_markup(folder, mlflow_tables):
    """A folder named like one of rich's tags is printed as it is."""
    (folder / "[/tmp]").mkdir(parents=True)
    shutil.copy(mlflow_tables, folder / "[/tmp]" / "mlflow.db")
    uri = "sqlite:///[/tmp]/mlflow.db"
    done = _command(folder, "sync", "small", "--tracking", uri)
    assert done.returncode == 0, done.stderr
    assert uri in done.stdout
