"""The real command in real processes, each test in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from unittest import mock

import psutil
import pytest

# A search that lasts some seconds, so that something can happen in its middle.
SLOW_STUDY = """
name = "slow"
[data]
source = "digits"
[model]
hidden = [100]
[training]
epochs = 30
[space]
learning_rate = { low = 1e-4, high = 1e-2, scale = "log" }
weight_decay = { low = 1e-8, high = 1e-4, scale = "log" }
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 2
trials = 40
[confirmation]
finalists = 2
seeds = 3
most_seeds = 3
winner_seeds = 0
"""

SMALL_STUDY = """
name = "small"
[data]
source = "moons"
samples = 200
[model]
hidden = [4]
[training]
epochs = 3
[space]
learning_rate = { low = 1e-3, high = 1e-1, scale = "log" }
batch_size = { low = 8, high = 32 }
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


# Two optimizers with a rate of their own, two initializers: four combinations.
GRID_STUDY = """
name = "grid"
[data]
source = "digits"
limit = 300
[training]
weight_decay = 0.0
epochs = 3
[space]
optimizer = { choices = [
    { name = "sgd", learning_rate = 0.1 },
    { name = "adam", learning_rate = 0.01 },
] }
initializer = { choices = ["he", { normal = 0.01 }] }
[search]
sampler = "grid"
[confirmation]
finalists = 2
seeds = 2
most_seeds = 2
winner_seeds = 0
"""


class Command:
    """Runs `hpsearch` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end in this process: a second of imports less.

        Workers are processes of their own here too, forked from one that lives as long as this.
        """
        from hpsearch.cli import main

        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _as_a_process_of_its_own(self.folder, arguments),
            pytest.raises(SystemExit) as ended,
        ):
            main.run()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def apart(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run to the end in a process of its own, as a shell would."""
        return subprocess.run(
            [sys.executable, "-m", "hpsearch", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run to the end and read the JSON document on standard output."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, *arguments: str) -> str:
        """The one line with which a command refuses what was typed; nothing else is printed."""
        done = self(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        return line

    def background(self, *arguments: str, said: IO[str] | None = None) -> subprocess.Popen[str]:
        """Start in a session of its own, as a terminal would.

        With `said`, errors go to that file and output nowhere: a pipe that nobody reads fills up.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "hpsearch", *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL if said else subprocess.PIPE,
            stderr=said or subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, text: str) -> str:
        """A study file in the folder."""
        (self.folder / name).write_text(text)
        return name


@contextlib.contextmanager
def _as_a_process_of_its_own(folder: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Put back, or do not do at all, what a command does to the process it has for itself."""
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.setattr(sys, "argv", ["hpsearch", *arguments])
        patch.setattr("hpsearch.cli.main.gc.freeze", lambda: None)
        patch.setattr("hpsearch.cli.main.fork_server.end", lambda: None)
        patch.setattr("multiprocessing.process.ORIGINAL_DIR", str(folder))
        yield
    for number, handler in heard.items():
        signal.signal(number, handler)


@pytest.fixture
def hpsearch(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture(scope="session")
def _finished_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small study, searched to its end, and its file."""
    hpsearch = Command(tmp_path_factory.mktemp("small"))
    file = hpsearch.write("small.toml", SMALL_STUDY)
    done = hpsearch("start", file, "--tracking", "none")
    assert done.returncode == 0, done.stderr
    return hpsearch.folder


@pytest.fixture
def small(_finished_small: Path, hpsearch: Command) -> Command:
    """The command in a folder with small.toml and the database it was searched in."""
    shutil.copytree(_finished_small, hpsearch.folder, dirs_exist_ok=True)
    return hpsearch


@pytest.fixture(scope="session")
def _copied_small(
    _finished_small: Path, mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same folder with the study's copy in MLflow, where `start` makes it."""
    hpsearch = Command(tmp_path_factory.mktemp("copied"))
    shutil.copytree(_finished_small, hpsearch.folder, dirs_exist_ok=True)
    shutil.copy(mlflow_tables, hpsearch.folder / "mlflow.db")
    done = hpsearch("sync", "small")
    assert done.returncode == 0, done.stderr
    return hpsearch.folder


@pytest.fixture
def copied(_copied_small: Path, hpsearch: Command) -> Command:
    """The command in a folder with small.toml, its database and its copy in MLflow."""
    shutil.copytree(_copied_small, hpsearch.folder, dirs_exist_ok=True)
    return hpsearch


@pytest.fixture(scope="session")
def undisturbed_slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The comparable table of SLOW_STUDY, searched by one worker that nobody disturbs."""
    from hpsearch.final import open_sealed_test
    from hpsearch.worker import WorkerOptions, run_worker

    folder = Command(tmp_path_factory.mktemp("undisturbed"))
    url = f"sqlite:///{folder.folder}/hpsearch.db"
    begin(url, SLOW_STUDY)
    run_worker(WorkerOptions(url, "slow"), threading.Event())
    open_sealed_test(url, "slow", None)
    return comparable(folder.json("trials", "slow"))


def begin(url: str, text: str) -> None:
    """Store a study as `start` does, its first round waiting to be trained."""
    from hpsearch.data.prepared import prepare
    from hpsearch.store.database import open_database
    from hpsearch.store.studies import create_study
    from hpsearch.study_file import parse_study

    spec = parse_study(text, "study.toml")
    prepared = prepare(spec, None)
    with contextlib.closing(open_database(url, create=True)) as database:
        create_study(database, spec, text, prepared.fingerprint, len(prepared.validation()))


@pytest.fixture
def started(hpsearch: Command) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands in the background and leaves no process behind."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        processes.append(hpsearch.background(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        kill_session(process)


def kill_session(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a command and everything it started."""
    signal_session(process, signal.SIGKILL)
    process.wait()


def signal_session(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """A signal to a command and everything it started."""
    for pid in [process.pid, *(p.pid for p in session_of(process))]:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def session_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Living processes of a command's session, the command itself left out."""
    found = []
    for other in psutil.process_iter():
        try:
            if os.getsid(other.pid) == process.pid != other.pid:
                found.append(other)
        except (ProcessLookupError, PermissionError):
            continue
    return found


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Worker processes of a `start`: children of its fork server."""
    session = session_of(process)
    pids = {p.pid for p in session}
    return [p for p in session if p.ppid() in pids]


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition, or fail saying what never happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def comparable(trials: list[dict[str, Any]]) -> str:
    """A table of trials without what may differ between equal runs."""
    free = {"started", "finished", "worker", "attempts"}
    return json.dumps([{k: v for k, v in t.items() if k not in free} for t in trials])
