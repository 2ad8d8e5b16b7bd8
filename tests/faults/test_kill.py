"""Kill it anywhere, type the same command again: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.acceptance.conftest import (
    SLOW_STUDY,
    Command,
    comparable,
    kill_session,
    session_of,
    signal_session,
    until,
    workers_of,
)

Starter = Callable[..., subprocess.Popen[str]]
LOCAL = ("--tracking", "none")


def finished(hpsearch: Command) -> int:
    """Search trials done so far, asked of the file itself: the search must not outrun the test."""
    return counted(hpsearch, "purpose = 'search' AND finished IS NOT NULL")


def running(hpsearch: Command) -> int:
    """Trials being trained, asked of the file itself."""
    return counted(hpsearch, "state = 'running'")


def counted(hpsearch: Command, which: str) -> int:
    """Trials of one kind; 0 while there is no study."""
    file = hpsearch.folder / "hpsearch.db"
    if not file.exists():
        return 0
    query = f"SELECT COUNT(*) FROM hpsearch_trial WHERE {which}"  # noqa: S608 - constants above
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the tables are not there yet


def kill_amid_training(hpsearch: Command, search: subprocess.Popen[str]) -> None:
    """SIGKILL to all while a trial is being trained, not between two claims."""

    def caught() -> bool:
        # Not before: stopped while it makes its tables it would let nobody read them.
        if not running(hpsearch):
            return False
        signal_session(search, signal.SIGSTOP)
        if running(hpsearch):
            return True
        signal_session(search, signal.SIGCONT)
        return False

    until(caught, "a trial being trained")
    kill_session(search)


def test_killed_workers_and_start_lose_nothing(
    hpsearch: Command, started: Starter, undisturbed_slow: str
):
    """Kill -9 of a worker, then of everything: the same command ends with the same table."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL)
    until(lambda: finished(hpsearch) >= 5, "the first trials")
    os.kill(workers_of(search)[0].pid, signal.SIGKILL)
    before = finished(hpsearch)
    until(lambda: finished(hpsearch) > before + 10, "progress after a worker's death")
    kill_amid_training(hpsearch, search)
    assert finished(hpsearch) < 80, "the search was over before it could be killed"

    assert hpsearch.apart("start", file, *LOCAL).returncode == 0
    trials = hpsearch.json("trials", "slow")
    assert Counter((t["purpose"], t["state"]) for t in trials) == {
        ("search", "complete"): 80,
        ("repeat", "complete"): 16,
        ("confirmation", "complete"): 6,
        ("final", "complete"): 1,
    }
    assert max(t["attempts"] for t in trials) > 1
    assert comparable(trials) == undisturbed_slow


def test_ctrl_c_hands_everything_back(hpsearch: Command, started: Starter):
    """Ctrl-C ends with 130 within seconds, leaves no process and no running trial."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL)
    until(lambda: finished(hpsearch) >= 5, "the first trials")
    os.killpg(search.pid, signal.SIGINT)  # a terminal sends it to the whole group
    search.wait(timeout=10)
    left = [p for p in session_of(search) if has_workers_code(p)]
    out, err = search.communicate()
    assert (search.returncode, left) == (130, []), err
    assert "nothing is lost" in out
    assert "Traceback" not in out + err
    states = Counter(t["state"] for t in hpsearch.json("trials", "slow"))
    assert states["running"] == 0
    assert states["waiting"] > 0


def has_workers_code(process: psutil.Process) -> bool:
    """Whether it is the process that workers are forked from, or one of them."""
    try:
        return "multiprocessing.forkserver" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return False


def test_ctrl_c_while_modules_are_imported_ends_without_a_traceback():
    """However early: one line and code 130."""
    code = (
        "import builtins, signal\n"
        "def importing(name, *rest, real=builtins.__import__):\n"
        "    if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = importing\n"
        "from hpsearch.__main__ import run\n"
        "run()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "hpsearch: interrupted\n")


def test_ctrl_c_is_heard_before_the_search_listens(hpsearch: Command):
    """Pressed while `start` still imports and opens, it ends the command wherever it is.

    In a callback of a weak reference, where Python prints an exception and goes on.
    """
    pressed_in_a_callback = (
        "import signal, weakref\n"
        "from hpsearch.cli import main\n"
        "from hpsearch.service import Search\n"
        "def open(search):\n"
        "    key = Search(search.spec, '', search._options)\n"
        "    watched = weakref.ref(key, lambda _: signal.raise_signal(signal.SIGINT))\n"
        "    del key\n"
        "    raise AssertionError('went on')\n"
        "Search.open = open\n"
        "main.run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", pressed_in_a_callback, "start", "digits", *LOCAL],
        cwd=hpsearch.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "hpsearch: interrupted\n")


@pytest.mark.slow
def test_orphaned_workers_finish_their_claim_and_leave(hpsearch: Command, started: Starter):
    """When only `start` is killed, its workers commit what they hold and stop, without a word."""
    search = started("start", hpsearch.write("slow.toml", SLOW_STUDY), *LOCAL)
    until(lambda: finished(hpsearch) >= 5, "the first trials")
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    until(lambda: not session_of(search), "the workers' end", seconds=30)
    assert search.communicate()[1] == ""
    states = Counter(t["state"] for t in hpsearch.json("trials", "slow"))
    assert states["running"] == 0
    assert states["waiting"] > 0


@pytest.mark.slow
def test_a_worker_may_join_and_leave_at_any_time(hpsearch: Command, started: Starter):
    """`worker` helps a running search; the budget stays exact and the table the same."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, "--workers", "1", *LOCAL)
    until(lambda: finished(hpsearch) >= 1, "the first trials")
    joined = started("worker", "slow")
    out, err = search.communicate(timeout=120)
    assert search.returncode == 0, out + err
    out, err = joined.communicate(timeout=30)
    assert joined.returncode == 0, err
    trials = hpsearch.json("trials", "slow")
    assert sum(t["purpose"] == "search" for t in trials) == 80
    assert len({t["worker"] for t in trials if t["purpose"] == "search"}) == 2
    assert all(t["attempts"] == 1 for t in trials)


@pytest.mark.slow
def test_a_waiting_worker_begins_when_its_study_does(hpsearch: Command, started: Starter):
    """`worker --wait` comes before database and study, and helps as soon as they are there."""
    early = started("worker", "slow", "--wait")
    search = started("start", hpsearch.write("slow.toml", SLOW_STUDY), *LOCAL)
    for process in (search, early):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    workers = {t["worker"] for t in hpsearch.json("trials", "slow") if t["purpose"] == "search"}
    assert f"-{early.pid}" in " ".join(workers)


@pytest.mark.slow
def test_killing_everything_is_held_against_no_trial(hpsearch: Command, started: Starter):
    """A kill -9 of everything counts as no loss of the trials it hit, and all of them complete."""
    file, short = hpsearch.write("slow.toml", SLOW_STUDY), ("--trials", "15", *LOCAL)
    search = started("start", file, *short)
    kill_amid_training(hpsearch, search)
    assert hpsearch.apart("start", file, *short).returncode == 0
    assert counted(hpsearch, "attempts > 1") > 0
    assert counted(hpsearch, "losses > 0") == 0
    assert counted(hpsearch, "state = 'complete'") == 41


@pytest.mark.slow
def test_killed_in_the_middle_of_the_control_arm(hpsearch: Command, started: Starter):
    """Kill -9 of everything there: the same command ends with the table of an undisturbed run."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    study = (file, "--trials", "15", "--control", "random", "--no-test", *LOCAL)
    search = started("start", *study)
    done = "purpose = 'control' AND finished IS NOT NULL"
    until(lambda: counted(hpsearch, done) > 0, "the first trials of the control arm")
    kill_amid_training(hpsearch, search)
    assert counted(hpsearch, done) < 30, "the control arm was over before it could be killed"
    assert hpsearch.apart("start", *study).returncode == 0
    trials = hpsearch.json("trials", "slow")
    assert Counter(t["round"] for t in trials if t["purpose"] == "control") == {1: 30, 2: 6}
    assert hpsearch("start", *study, "--name", "undisturbed").returncode == 0
    assert comparable(trials) == comparable(hpsearch.json("trials", "undisturbed"))


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(hpsearch: Command, started: Starter):
    """A worker that does not answer delays the first Ctrl-C; the second kills it at once."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL, "--trials", "1000")
    until(lambda: finished(hpsearch) >= 5, "the first trials")
    for worker in workers_of(search):
        worker.suspend()
    search.send_signal(signal.SIGINT)
    # On a busy machine it may have ended them already, without the second.
    until(lambda: asked_to_leave(search) or not workers_of(search), "the wish to stop")
    search.send_signal(signal.SIGINT)
    search.communicate(timeout=15)
    assert search.returncode in {130, -signal.SIGINT}
    until(lambda: not session_of(search), "the end of every process", seconds=15)
    assert running(hpsearch) == 0


def asked_to_leave(search: subprocess.Popen[str]) -> bool:
    """Whether a signal waits for a worker that is stopped."""
    pending = [worker_signals(worker.pid) for worker in workers_of(search)]
    return bool(pending) and all(mask & 1 << (signal.SIGTERM - 1) for mask in pending)


def worker_signals(pid: int) -> int:
    """Signals that were sent to a process and not yet received (proc(5), ShdPnd)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))


@pytest.mark.slow
def test_sigterm_leaves_no_run_running(hpsearch: Command, started: Starter):
    """What a stopped search leaves in MLflow does not look busy: the study's run is KILLED."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, "--tracking", "sqlite:///mlflow.db", "--trials", "1000")
    until(lambda: counted_runs(hpsearch, "1 = 1") > 5, "the first runs in MLflow")
    search.terminate()
    _, err = search.communicate(timeout=20)
    assert search.returncode == 130, err
    assert counted_runs(hpsearch, "status = 'RUNNING'") == 0
    assert counted_runs(hpsearch, "status = 'KILLED'") >= 1


def counted_runs(hpsearch: Command, which: str) -> int:
    """Runs of one kind in MLflow's file; 0 while it has no tables."""
    file = hpsearch.folder / "mlflow.db"
    if not file.exists():
        return 0
    query = f"SELECT COUNT(*) FROM runs WHERE {which}"  # noqa: S608 - constants above
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the tables are not there yet
