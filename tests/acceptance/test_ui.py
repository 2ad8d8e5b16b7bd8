"""`hpsearch ui`: the server it starts ends with it, however it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from tests.acceptance.conftest import Command, kill_session, until


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _end(family: list[psutil.Process], process: subprocess.Popen[str]) -> None:
    for member in family:
        if member.is_running():
            member.kill()
    kill_session(process)


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGHUP as a terminal hands it on, also where the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_the_server_ends_with_its_command(copied: Command, number: signal.Signals):
    """After SIGTERM or a closed terminal the port is free and no process is left."""
    port = _free_port()
    process = copied.background("ui", "small", "--no-browser", "--port", str(port))
    family: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/#/experiments/" in process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        commands = " ".join(word for member in family for word in member.cmdline())
        assert "sqlite:" not in commands
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        until(lambda: _is_free(port), "a free port", 5)
        until(lambda: not any(m.is_running() for m in family), "the end of every process", 5)
        assert "Traceback" not in process.stderr.read()
    finally:
        _end(family, process)


def test_optuna_s_dashboard_shows_the_same_study(copied: Command):
    """On the database itself, whose address stands on no command line; it ends with its command."""
    port = _free_port()
    process = copied.background("ui", "small", "--optuna", "--no-browser", "--port", str(port))
    family: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}/dashboard/\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert "sqlite:" not in " ".join(word for m in family for word in m.cmdline())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
            names = {study["study_name"] for study in json.load(answer)["study_summaries"]}
        assert "small" in names
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        until(lambda: _is_free(port), "a free port", 5)
    finally:
        _end(family, process)


def test_a_server_elsewhere_is_only_pointed_at(copied: Command):
    """Of a server's address the page is printed, without user and password."""
    done = copied("ui", "--no-browser", "--tracking", "http://user:planted@127.0.0.1:1/")
    assert done.stdout == "http://127.0.0.1:1/#/experiments\n"
    assert "planted" not in done.stderr
