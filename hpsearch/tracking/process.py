"""The mirror as a process of its own beside a search, seen from the search."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO

from hpsearch.store.database import Database
from hpsearch.store.mirroring import mirror_progress
from hpsearch.tracking.destination import DATABASE_VARIABLE, TRACKING_VARIABLE

# How often the search is told how far the mirror is.
_WATCH_SECONDS = 0.2
# A mirror asked to leave finishes the run at hand within this time, or is ended.
_STOP_SECONDS = 5.0


class Mirror:
    """The process that copies a study to MLflow; it ends by itself when its input does.

    Args:
        process: The process; its standard input is its leash.
        said: The file its standard error goes to: a pipe that nobody reads fills up.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process = process
        self._said = said

    @classmethod
    def start(cls, database: str, tracking: str, study: str) -> Mirror | None:
        """Start it beside the search.

        Args:
            database: Where the study lives.
            tracking: Where MLflow keeps the copy, or "none".
            study: The study's name.

        Returns:
            The running mirror; None if there is to be none.
        """
        if tracking == "none":
            return None
        # Addresses may hold passwords, and everybody on a machine may read command lines.
        addresses = {DATABASE_VARIABLE: database, TRACKING_VARIABLE: tracking}
        said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process, see end()
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "hpsearch.tracking.mirror", "--study", study],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | addresses,
            start_new_session=True,  # Ctrl-C is for `start`, which then tells the mirror
        )
        return cls(process, said)

    def finish(
        self, database: Database, study: str, watch: Callable[[int, int], None]
    ) -> str | None:
        """Tell it that nothing more will come, and wait until it has copied everything.

        Args:
            database: The study's database.
            study: The study's name.
            watch: Told (copied, finished) trials several times a second.

        Returns:
            What the mirror said if it could not finish, else None.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        while self._process.poll() is None:
            watch(*mirror_progress(database, study))
            try:
                self._process.wait(_WATCH_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        return None if self._process.returncode == 0 else self._last_words()

    def end(self) -> None:
        """Let it finish the run at hand and leave; doing it again does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._said.close()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"
