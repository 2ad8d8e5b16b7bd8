"""A worker that is asked to stop while the database does not answer does not keep anybody."""

from __future__ import annotations

import re
import select
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from hpsearch.data.prepared import prepare
from hpsearch.store.database import open_database
from hpsearch.store.reading import open_work
from hpsearch.store.studies import create_study, load_study
from hpsearch.study_file import parse_study
from tests.acceptance.conftest import SLOW_STUDY, until

Starter = Callable[..., subprocess.Popen[str]]
# Nobody waits for the end of a trial.
ENDLESS = SLOW_STUDY.replace("epochs = 40", "epochs = 1000000")


def begin(url: str) -> None:
    """As `start` begins a study."""
    spec = parse_study(ENDLESS, "slow.toml")
    prepared = prepare(spec, None)
    with closing(open_database(url, create=True)) as database:
        create_study(database, spec, ENDLESS, prepared.fingerprint, len(prepared.validation()))


def training(started: Starter, url: str, own_url: str) -> subprocess.Popen[str]:
    """A worker that trains the study of a database that it reaches by an address of its own."""
    begin(url)
    worker = started("worker", "slow", "--database", own_url)
    with closing(open_database(url)) as database:
        study = load_study(database, "slow")
        until(lambda: bool(open_work(database, study)["running"]), "a claim")
    return worker


def check_it_leaves(worker: subprocess.Popen[str]) -> None:
    """It says in one line that something is left behind, within 5 seconds."""
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert worker.returncode == 2, err
    (line,) = err.splitlines()
    assert "nothing is lost" in line


class Gate:
    """A port in front of a server, which can be closed without saying so to anybody.

    Args:
        folder: Where the server's own socket is.
    """

    def __init__(self, folder: str) -> None:
        self._behind = f"{folder}/.s.PGSQL.5432"
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.closed = threading.Event()
        threading.Thread(target=self._let_in, daemon=True).start()

    def _let_in(self) -> None:
        while True:
            guest, _ = self._door.accept()
            threading.Thread(target=self._pass_on, args=(guest,), daemon=True).start()

    def _pass_on(self, guest: socket.socket) -> None:
        with guest, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._behind)
            other = {guest: server, server: guest}
            while True:
                ready, _, _ = select.select(list(other), [], [])
                if self.closed.is_set():
                    threading.Event().wait()
                for side in ready:
                    said = side.recv(65536)
                    if not said:
                        return
                    other[side].sendall(said)


@pytest.fixture
def gate(server: Any) -> Iterator[Gate]:
    """A way to the server that may be closed."""
    found = re.search(r"host=(.*)$", server.get_uri())
    assert found is not None
    return Gate(found[1])


def test_a_server_that_is_silent_keeps_no_worker(started: Starter, server: Any, gate: Gate):
    """Where the network swallows everything and breaks no connection, it leaves all the same."""
    url = f"postgresql://postgres:@127.0.0.1:{gate.port}/postgres"
    worker = training(started, server.get_uri(), url)
    gate.closed.set()
    check_it_leaves(worker)


def test_a_locked_file_keeps_no_worker(started: Starter, tmp_path):
    """Nor does a program that holds the file, for which others wait a minute."""
    url = f"sqlite:///{tmp_path}/study.db"
    worker = training(started, url, url)
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        check_it_leaves(worker)


def test_a_server_that_is_gone_keeps_no_worker(started: Starter, server: Any):
    """A server that refuses is known at once, and the worker says so."""
    worker = training(started, server.get_uri(), server.get_uri())
    server.stop()
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert (worker.returncode, "no server answers there" in err) == (2, True), err
