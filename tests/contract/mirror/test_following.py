"""The mirror as a process that follows a study: outages, deaths, and what is asked of it."""

import socket
import subprocess
import threading
import time

import pytest

from hpsearch.errors import TrackingError
from hpsearch.final import open_sealed_test
from hpsearch.store.mirroring import mirror_lock, mirror_progress, read_mirror
from hpsearch.tracking import mirror
from hpsearch.tracking.client import connect
from hpsearch.tracking.mirror import sync
from tests.contract.mirror.conftest import (
    SLOW_OVER_HTTP,
    begun,
    check_whole,
    content_of,
    documents,
    row_of,
    runs_in,
    train,
    until,
)


@SLOW_OVER_HTTP
def test_follows_a_study_while_it_runs(tracking, tmp_path, mirror_process):
    """A mirror started with the search has everything when its input ends."""
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    database = begun(url)
    process = mirror_process(database, tracking, stdin=subprocess.PIPE)
    until(lambda: (row := row_of(database, tracking)) and row.run_id)
    train(url)
    open_sealed_test(url, "small", None)
    _, said = process.communicate(timeout=180)
    assert (process.returncode, said) == (0, "")
    check_whole(database, tracking)
    copied, finished = mirror_progress(database, "small")
    assert copied == finished == 21
    assert read_mirror(database, 1).message is None
    before = content_of(runs_in(tracking))
    sync(url, "small", tracking)
    assert content_of(runs_in(tracking)) == before
    database.close()


@pytest.mark.slow
def test_terminated_mirror_leaves_nothing_running(mlflow_copy, tmp_path, mirror_process):
    """SIGTERM ends the mirror within five seconds, and the unfinished study does not look busy."""
    database = begun(f"sqlite:///{tmp_path}/hpsearch.db")
    process = mirror_process(database, mlflow_copy, stdin=subprocess.PIPE)
    until(lambda: (row := row_of(database, mlflow_copy)) and row.run_id)
    process.terminate()
    assert process.wait(5) == 0
    until(lambda: {run.info.status for run in runs_in(mlflow_copy)} == {"KILLED"}, 1)
    database.close()


def test_unreachable_server_is_one_line_and_exit_code_3(searched, mirror_process):
    """Without MLflow the mirror gives up soon after the search, and the study is untouched."""
    before = documents(searched)[0]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers here
        uri = f"http://127.0.0.1:{held.getsockname()[1]}"
        process = mirror_process(searched, uri, stdin=subprocess.DEVNULL)
        _, said = process.communicate(timeout=180)
        with pytest.raises(TrackingError, match="no server answers"):
            sync(searched.url, "small", uri)
    assert process.returncode == 3
    assert len(said.splitlines()) == 1
    assert "`hpsearch sync small` catches up later" in said
    assert "no server answers" in read_mirror(searched, 1).message
    assert documents(searched)[0] == before


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


@pytest.mark.slow
def test_a_server_that_comes_late_gets_everything(searched, server, mirror_process):
    """A mirror waits out an outage, says why meanwhile, and then copies all of it."""
    gate = Gate(server)
    process = mirror_process(searched, gate.uri, stdin=subprocess.PIPE)
    until(lambda: (row := row_of(searched, gate.uri)) and row.message)
    gate.open()
    until(lambda: read_mirror(searched, 1).message is None)
    _, said = process.communicate(timeout=180)
    assert (process.returncode, said) == (0, "")
    runs = check_whole(searched, server)
    connect(server).rename_experiment(runs[0].info.experiment_id, "small, after an outage")


@pytest.mark.slow
def test_tracking_file_deleted_under_a_running_mirror(
    searched, mlflow_copy, tmp_path, mirror_process
):
    """A mirror whose file is deleted while it runs writes a new one, not into the old."""
    process = mirror_process(searched, mlflow_copy, stdin=subprocess.PIPE)
    until(lambda: row_of(searched, mlflow_copy))
    for path in tmp_path.glob("mlflow.db*"):
        path.unlink()
    _, said = process.communicate(timeout=180)
    assert (process.returncode, said) == (0, "")
    check_whole(searched, mlflow_copy)


def test_two_mirrors_do_not_work_at_once(searched, tmp_path):
    """While one process copies a study, `sync` says so instead of making runs twice."""
    with mirror_lock(searched, 1) as lock:
        assert lock.take()
        with pytest.raises(TrackingError, match="is copying it already"):
            sync(searched.url, "small", f"sqlite:///{tmp_path}/mlflow.db")


class ReluctantCopy:
    """Stands in for a study's copy: fails until so many attempts were made after `finish`."""

    name, destination, study_id = "small", "sqlite:///mlflow.db", 1

    def __init__(self, finish, failures):
        self._finish = finish
        self._failures = failures
        self.first_failure = None
        self.attempts = 0
        self.said = []

    def file_replaced(self):
        self.attempts += 1
        return False

    def look(self):
        if self.first_failure is None:
            self.first_failure = time.monotonic()
        if not self._finish.is_set() or self._failures:
            self._failures -= self._finish.is_set()
            raise ConnectionError("away")

    def step(self, stopped):
        pass

    def suspend(self):
        pass

    def say(self, message):
        self.said.append(message)


def test_an_old_outage_does_not_shorten_the_patience_at_the_end(searched, monkeypatch):
    """After a long outage a mirror told to finish still gives MLflow its time to come back."""
    monkeypatch.setattr(mirror, "_PATIENCE_SECONDS", 1.0)
    finish, stop = threading.Event(), threading.Event()
    copy = ReluctantCopy(finish, failures=1)
    codes = []
    follower = mirror._Follower(searched, copy, finish, stop)
    thread = threading.Thread(target=lambda: codes.append(follower.run()), daemon=True)
    thread.start()
    until(lambda: copy.first_failure and time.monotonic() - copy.first_failure > 1.2)
    finish.set()
    thread.join(30)
    assert codes == [mirror.DONE]


def test_a_mirror_waits_for_another_that_is_at_work(searched, monkeypatch):
    """Told to finish, it waits for a killed search's mirror however long that copies."""
    monkeypatch.setattr(mirror, "_PATIENCE_SECONDS", 0.0)
    finish, stop, codes = threading.Event(), threading.Event(), []
    finish.set()
    copy = ReluctantCopy(finish, failures=0)
    follower = mirror._Follower(searched, copy, finish, stop)
    thread = threading.Thread(target=lambda: codes.append(follower.run()), daemon=True)
    with mirror_lock(searched, 1) as lock:
        assert lock.take()
        thread.start()
        until(lambda: copy.attempts > 2)
        assert (codes, copy.said) == ([], [])
    thread.join(30)
    assert codes == [mirror.DONE]
