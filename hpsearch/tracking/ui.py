"""MLflow's own dashboard, started on this machine and opened at the study's page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO

from hpsearch.errors import TrackingError
from hpsearch.store.database import Database
from hpsearch.store.mirroring import read_mirror
from hpsearch.store.studies import load_study
from hpsearch.tracking.client import quiet_environment
from hpsearch.tracking.destination import is_server, redacted, without_login

HOST = "127.0.0.1"
# Importing MLflow's server takes 3 to 10 s here; a busy machine may need far longer.
_START_SECONDS = 90.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 5.0


@dataclass
class Dashboard:
    """A dashboard that answers.

    Attributes:
        url: Address of the page to open.
        process: MLflow's server, None where it was running already.
    """

    url: str
    process: subprocess.Popen[bytes] | None = None

    def wait(self) -> int:
        """Block until the server ends; 0 at once where it is not ours."""
        return 0 if self.process is None else self.process.wait()

    def stop(self) -> None:
        """End the server with all its processes."""
        if self.process is None:
            return
        _signal(self.process, signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(self.process, signal.SIGKILL)
            self.process.wait()


def start_ui(tracking_uri: str, experiment_id: str | None, port: int = 5000) -> Dashboard:
    """Start MLflow's server on 127.0.0.1, or point at the one that is running.

    Args:
        tracking_uri: Where MLflow keeps its copy; of a server, only the address is given back.
        experiment_id: The study's experiment; None for the list of all.
        port: Port to listen on; 0 takes a free one.

    Raises:
        TrackingError: If the port is in use, or the server does not come up.
    """
    if is_server(tracking_uri):
        return Dashboard(page(without_login(tracking_uri).rstrip("/"), experiment_id))
    port = free_port(port)
    base = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    further = quiet_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    further |= {"MLFLOW_BACKEND_STORE_URI": tracking_uri}
    return served(command, further, page(base, experiment_id), f"{base}/health")


def served(command: list[str], further: dict[str, str], url: str, health: str) -> Dashboard:
    """Start a server and wait until it answers.

    Args:
        command: Its command line, which everybody on a machine may read.
        further: What its environment has besides: addresses, which may hold passwords.
        url: The page to open.
        health: The page that is there once it answers.

    Raises:
        TrackingError: If it does not come up.
    """
    with tempfile.TemporaryFile() as said:
        # A session of its own, so that the server and its workers can be ended together.
        process = subprocess.Popen(  # noqa: S603 - a dashboard's own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | further,
            start_new_session=True,
        )
        dashboard = Dashboard(url, process)
        try:
            _wait_until_it_answers(process, health, said)
        except BaseException:
            dashboard.stop()
            raise
    return dashboard


def page(base: str, experiment_id: str | None) -> str:
    """Address of a study's runs; MLflow 3's home would show its GenAI view, empty for us."""
    if experiment_id is None:
        return f"{base}/#/experiments"
    return f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


def find_experiment(database: Database, study_name: str, tracking_uri: str) -> str | None:
    """The study's experiment, as its mirror noted it; None if it was never copied there.

    Raises:
        UnknownStudyError: If there is no such study.
    """
    row = read_mirror(database, load_study(database, study_name).id)
    here = row is not None and redacted(row.destination) == redacted(tracking_uri)
    return row.experiment_id if row is not None and here else None


def current_experiment(base: str, study_name: str) -> str | None:
    """The study's experiment as the running server knows it; None if it knows none.

    What the mirror noted may be older than the MLflow database, which can be deleted any time.
    """
    query = urllib.parse.urlencode({"experiment_name": study_name})
    address = f"{base}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        with urllib.request.urlopen(address, timeout=_START_SECONDS) as answer:  # noqa: S310 - our own server
            return str(json.load(answer)["experiment"]["experiment_id"])
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise TrackingError(f"{base}: does not answer as MLflow does: {error}") from error


def free_port(port: int) -> int:
    """The port itself, or for 0 a free one.

    Raises:
        TrackingError: If something listens there already.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise TrackingError(
                f"port {port} is in use; name another with --port {port + 1}, or end what "
                "listens there"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, said: IO[bytes]) -> None:
    """Block until a page is there.

    Raises:
        TrackingError: If the server ends, or takes too long.
    """
    until = time.monotonic() + _START_SECONDS
    while not _answers(address):
        if process.poll() is not None:
            raise TrackingError(f"the dashboard ended at once: {redacted(_last_line(said))}")
        if time.monotonic() > until:
            raise TrackingError(f"the dashboard did not answer within {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - our own server
            return int(answer.status) == 200  # noqa: PLR2004 - HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has ended by itself
