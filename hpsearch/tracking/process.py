"""The mirror as a process of its own beside a search, seen from the search."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from hpsearch.store.database import Database
from hpsearch.store.mirroring import mirror_progress
from hpsearch.tracking.destination import DATABASE_VARIABLE, TRACKING_VARIABLE

# How often the search is told how far the mirror is.
_WATCH_SECONDS = 0.2
# Pauses before it is started again double from the first to the second.
_PAUSE_SECONDS = (1.0, 60.0)
# How often one that is to finish may die.
_MOST_DEATHS = 3
# Exit codes that it ends with by itself; see mirror.py.
_OWN_ENDS = {0, 2, 3}
# A mirror asked to leave finishes the run at hand within this time, or is ended.
_STOP_SECONDS = 5.0


class Mirror:
    """The process that copies a study to MLflow; it ends by itself when its input does.

    One that dies is started again; what it left half-written its successor makes anew.

    Args:
        addresses: Of the study's database and of MLflow, by the variables that hold them.
        study: The study's name.
    """

    def __init__(self, addresses: Mapping[str, str], study: str) -> None:
        self._addresses, self._study = dict(addresses), study
        self._pause, self._born = _PAUSE_SECONDS[0], time.monotonic()
        self._died: float | None = None  # when that was first seen
        self._process, self._said = self._spawned()

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
        return cls({DATABASE_VARIABLE: database, TRACKING_VARIABLE: tracking}, study)

    def keep_up(self) -> None:
        """Start it again where it has died; the pause before is longer after every early death."""
        if not self._has_died():
            return
        now = time.monotonic()
        if self._died is None:
            lived_long = now - self._born > _PAUSE_SECONDS[1]
            self._pause = _PAUSE_SECONDS[0] if lived_long else self._pause
            self._died = now
        if now - self._died < self._pause:
            return
        self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
        with suppress(OSError):  # no memory, no room for a file: asked again after the next pause
            self._begin_again()

    def _has_died(self) -> bool:
        """Whether it ended otherwise than it ends by itself."""
        return self._process.poll() not in {None, *_OWN_ENDS}

    def _begin_again(self) -> None:
        self._died = time.monotonic()  # until there is another one
        process, said = self._spawned()
        self._said.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process, self._said = process, said
        self._born, self._died = time.monotonic(), None

    def _spawned(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """The process, and the file its errors go to: a pipe that nobody reads fills up."""
        said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process, see end()
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "hpsearch.tracking.mirror", "--study", self._study],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | self._addresses,
            # Ctrl-C is for `start`, which then tells the mirror. Not a session of its own: Linux
            # shares processors between sessions first, and niceness counts within one only.
            process_group=0,
        )
        return process, said

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
        self._finished(database, study, watch)
        for _ in range(_MOST_DEATHS):
            if not self._has_died():
                break
            try:
                self._begin_again()
            except OSError as error:
                return f"the copy to MLflow could not be started again: {error}"
            self._finished(database, study, watch)
        return None if self._process.returncode == 0 else self._last_words()

    def _finished(self, database: Database, study: str, watch: Callable[[int, int], None]) -> None:
        """Tell the process that nothing more will come, and wait until it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        while self._process.poll() is None:
            watch(*mirror_progress(database, study))
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_WATCH_SECONDS)

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
