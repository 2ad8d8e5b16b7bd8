"""What a search may have to do without for a while: a disk's space, PostgreSQL, MLflow."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hpsearch.tracking.client import quiet_environment
from hpsearch.tracking.ui import free_port

_HOST = "127.0.0.1"


class Disk:
    """A small disk of its own at a folder, for root only.

    Raises:
        PermissionError: If this user may not mount anything.
    """

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise PermissionError("only root may mount a disk")

    @property
    def full(self) -> bool:
        """Whether `fill` has filled it and nobody has freed it."""
        return self._ballast.exists()

    def resize(self, size: str) -> None:
        """Make it larger or smaller."""
        options = f"remount,size={size}"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    def fill(self) -> None:
        """Write until nothing more fits, to the last byte."""
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(1 << 20)):
                pass  # the write that no longer fits whole takes what is left

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink()

    def remove(self) -> None:
        """End what still works there, and unmount it, once nobody has a file there open."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()) == self.folder:
                    process.kill()
                    process.wait(10)
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class MlflowServer:
    """A real MLflow server with its SQLite file and its artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port(0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, the same after every start."""
        return f"http://{_HOST}:{self._port}"

    def start(self) -> None:
        """Start it; it answers some seconds later."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", _HOST, "--port", str(self._port)]
        command += ["--backend-store-uri", "sqlite:///mlflow.db"]
        quiet = quiet_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=os.environ | quiet,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def runs(self) -> bool:
        """Whether it has not ended, be it by itself."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether somebody can work with it."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except OSError:
            return False


class Outage:
    """Something that goes away and comes back."""

    name: str
    seconds: tuple[float, float]  # how long it stays away, from and to
    refusals: tuple[str, ...] = ()  # what a `start` that cannot begin without it may say

    def begin(self) -> bool:
        """Take it away; False if it is not there to be taken."""
        raise NotImplementedError

    def end(self) -> bool:
        """Bring it back; False if that is not possible yet. Doing it again does nothing."""
        raise NotImplementedError

    def has_fallen(self) -> bool:
        """Whether it has ended by itself, and somebody must start it."""
        return False


class DiskFull(Outage):
    """A disk that is full."""

    seconds = (0.5, 4.0)
    refusals = ("disk is full", "the disk reports an error; check its space")

    def __init__(self, disk: Disk, name: str) -> None:
        self.name = name
        self._disk = disk

    def begin(self) -> bool:
        if self._disk.full:
            return False
        self._disk.fill()
        return True

    def end(self) -> bool:
        if self._disk.full:
            self._disk.free()
        return True


class ServerAway(Outage):
    """A PostgreSQL that is stopped; it cannot start while its disk is full."""

    name = "server restarted"
    seconds = (0.1, 3.0)
    refusals = (
        "no server answers there",
        "the server is shutting down",
        "the server is starting up",
        "the server has closed the connection",
    )

    def __init__(self, server: Any, disk: Disk | None) -> None:
        self._server = server
        self._disk = disk
        self._away = False

    def begin(self) -> bool:
        if self._away or self.has_fallen():
            return False
        self._server.stop()
        self._away = True
        return True

    def end(self) -> bool:
        if self._disk is not None and self._disk.full:
            return False
        self._server.start()
        self._away = False
        return not self.has_fallen()

    def has_fallen(self) -> bool:
        # As it does where its log finds no space.
        return not self._away and not self._server.get_postmaster_info().process.is_running()


class MlflowAway(Outage):
    """An MLflow server that is killed."""

    name = "MLflow killed"
    seconds = (0.5, 6.0)

    def __init__(self, server: MlflowServer) -> None:
        self._server = server
        self._away = False

    def begin(self) -> bool:
        if self._away or not self._server.answers():
            return False
        self._server.kill()
        self._away = True
        return True

    def end(self) -> bool:
        self._server.kill()
        self._server.start()
        self._away = False
        return True

    def has_fallen(self) -> bool:
        # As it does where it starts on a full disk.
        return not self._away and not self._server.runs()


class MlflowLocked(Outage):
    """An SQLite file of MLflow's in which nobody else can write."""

    name = "MLflow locked"
    seconds = (1.0, 6.0)

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    def begin(self) -> bool:
        if self._connection is not None or not self._file.exists():
            return False
        connection = sqlite3.connect(self._file, timeout=1, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # the mirror has it, or there is no space for its log
            connection.close()
            return False
        self._connection = connection
        return True

    def end(self) -> bool:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return True
