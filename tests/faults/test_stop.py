"""A worker that is asked to stop while the database does not answer does not keep anybody."""

from __future__ import annotations

import select
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.engine import URL

from hpsearch.store.database import open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.reading import open_work
from hpsearch.store.studies import load_study
from tests.acceptance.conftest import SLOW_STUDY, begin, until

Starter = Callable[..., subprocess.Popen[str]]
# Nobody waits for the end of a trial.
ENDLESS = SLOW_STUDY.replace("epochs = 30", "epochs = 1000000")
# Seconds. A worker means to leave within 5, a busy machine takes its time; without anything done
# for it one would wait 30 s or a minute for the database.
SOON = 15


def training(started: Starter, url: str, own_url: str) -> subprocess.Popen[str]:
    """A worker that trains the study of a database that it reaches by an address of its own."""
    begin(url, ENDLESS)
    worker = started("worker", "slow", "--database", own_url)
    with closing(open_database(url)) as database:
        study = load_study(database, "slow")
        until(lambda: bool(open_work(database, study)["running"]), "a claim")
    return worker


def check_it_leaves(worker: subprocess.Popen[str]) -> None:
    """It says in one line that something is left behind, long before the database would answer."""
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=60)
    assert time.monotonic() - began < SOON
    assert worker.returncode == 1, err
    (line,) = err.splitlines()
    assert "nothing is lost" in line


class Gate:
    """A port in front of a server, which can be closed without saying so to anybody.

    Args:
        behind: Address of a database on the server.
    """

    def __init__(self, behind: URL) -> None:
        self._behind = behind
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.closed = threading.Event()
        threading.Thread(target=self._let_in, daemon=True).start()

    def _let_in(self) -> None:
        while True:
            guest, _ = self._door.accept()
            threading.Thread(target=self._pass_on, args=(guest,), daemon=True).start()

    def _server(self) -> socket.socket:
        host, port = self._behind.host, self._behind.port or 5432
        if host is not None:
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._behind.query['host']}/.s.PGSQL.{port}")
        return server

    def _pass_on(self, guest: socket.socket) -> None:
        with guest, self._server() as server:
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
def url(_postgres: Any) -> str:
    """Address of a database on a server that others use too."""
    address: str = _postgres.url(_postgres.make())
    return address


def test_a_server_that_is_silent_keeps_no_worker(started: Starter, url: str):
    """Where the network swallows everything and breaks no connection, it leaves all the same."""
    gate = Gate(parse_url(url))
    through = parse_url(url).set(host="127.0.0.1", port=gate.port, query={})
    worker = training(started, url, through.render_as_string(hide_password=False))
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
    assert time.monotonic() - began < SOON
    assert (worker.returncode, "no server answers there" in err) == (2, True), err
