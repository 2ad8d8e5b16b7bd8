"""The mirror: copies a study from SQL to MLflow, once or for as long as the study runs.

`python -m hpsearch.tracking.mirror --study NAME` follows a study until its standard input ends,
then copies what is left. The addresses stand in HPSEARCH_DATABASE and MLFLOW_TRACKING_URI. It is
never waited for while training runs, and nothing that happens to it or to MLflow touches the study.

Exit codes: 0 everything is copied (or it was asked to stop), 2 a mistake in what was given,
3 MLflow could not be reached in the end, 4 the study's database was away; whoever started it may
start it again then.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from hpsearch.errors import DatabaseError, DatabaseUnavailableError, TrackingError, UserError
from hpsearch.store.database import Database, open_database
from hpsearch.store.mirroring import MirrorLock, mirror_lock
from hpsearch.tracking.copying import MirrorReport, Progress, StudyCopy
from hpsearch.tracking.destination import (
    DATABASE_VARIABLE,
    TRACKING_VARIABLE,
    check_destination,
    redacted,
)

DONE, MISTAKE, UNREACHABLE, DATABASE_AWAY = 0, 2, 3, 4
# Not an exit code: MLflow's file was deleted or replaced, so the process begins anew.
_REPLACED = -1

_POLL_SECONDS = 0.5
# Pauses after failures double from the first to the second.
_PAUSE_SECONDS = (0.5, 15.0)
# Told to finish, the mirror gives MLflow this long to come back.
_PATIENCE_SECONDS = 3.0
# The mirror must never cost training: it takes what the workers leave.
_NICENESS = 10


def sync(
    database_url: str,
    study_name: str,
    tracking_uri: str,
    progress: Progress = lambda _copied, _finished: None,
) -> MirrorReport:
    """Bring MLflow up to date with a study, from nothing if need be.

    Args:
        database_url: Where the study lives.
        study_name: The study.
        tracking_uri: Where MLflow keeps the copy.
        progress: Told (copied, finished) trials after every trial copied.

    Returns:
        What was done; doing it again adds nothing.

    Raises:
        TrackingError: If MLflow cannot be used, or another mirror is at work.
        UserError: If the study cannot be read.
    """
    check_destination(database_url, tracking_uri)
    database = open_database(database_url, write=True)
    try:
        copy = StudyCopy(database, study_name, tracking_uri, progress)
        with mirror_lock(database, copy.study_id) as lock:
            if not lock.take():
                raise TrackingError(
                    f"{study_name}: a running `hpsearch start` or `sync` is copying it already"
                )
            return _copied_once(copy)
    finally:
        database.close()


def _copied_once(copy: StudyCopy) -> MirrorReport:
    try:
        copy.look()
        copy.step()
        copy.suspend()
        copy.say(None)
    except UserError:
        raise
    except Exception as error:  # MLflow raises what its drivers and servers raise
        raise TrackingError(f"--tracking {copy.destination}: {one_line(error)}") from error
    return copy.report()


def follow(
    database_url: str,
    study_name: str,
    tracking_uri: str,
    finish: threading.Event,
    stop: threading.Event,
) -> int:
    """Copy a study while it runs; see the module for exit codes.

    Args:
        database_url: Where the study lives.
        study_name: The study.
        tracking_uri: Where MLflow keeps the copy.
        finish: Set it when nothing new will come: copies what is left and returns.
        stop: Set it to return after the trial at hand.

    Returns:
        An exit code, or -1 when MLflow's file was replaced and a new process must go on.

    Raises:
        UserError: If the study cannot be read or the tracking URI cannot be meant.
    """
    check_destination(database_url, tracking_uri)
    database = open_database(database_url, write=True)
    try:
        copy = StudyCopy(database, study_name, tracking_uri, lambda _copied, _finished: None)
        return _Follower(database, copy, finish, stop).run()
    finally:
        database.close()


class _Follower:
    """Polls, copies, and waits out failures; holds the study's mirror lock meanwhile."""

    def __init__(
        self, database: Database, copy: StudyCopy, finish: threading.Event, stop: threading.Event
    ) -> None:
        self._database = database
        self._copy = copy
        self._finish = finish
        self._stop = stop
        self._alone = False  # whoever has the lock writes the mirror's row, nobody else
        self._look_again = True
        self._pause = _PAUSE_SECONDS[0]
        self._reason = ""
        self._failing_since: float | None = None
        self._finishing_since: float | None = None

    def run(self) -> int:
        """Follow until told otherwise."""
        with mirror_lock(self._database, self._copy.study_id) as lock:
            while not self._stop.is_set():
                last = self._is_last()
                if self._copy.file_replaced():
                    return _REPLACED
                succeeded = self._attempt(lock, last=last)
                if succeeded and last:
                    return DONE
                if not succeeded and self._gives_up():
                    sys.stderr.write(f"{self._farewell()}\n")
                    return UNREACHABLE
                if not succeeded or not self._finish.is_set():
                    self._rest(_POLL_SECONDS if succeeded else self._pause)
            self._leave()
        return DONE

    def _is_last(self) -> bool:
        """Whether nothing more will come; notes when that was first seen."""
        if self._finish.is_set() and self._finishing_since is None:
            self._finishing_since = time.monotonic()
        return self._finishing_since is not None

    def _attempt(self, lock: MirrorLock, *, last: bool) -> bool:
        try:
            self._take(lock)
            if self._look_again or last:
                self._copy.look()
                self._look_again = False
            self._copy.step(self._stop.is_set)
            if last and not self._stop.is_set():
                self._copy.suspend()
                self._copy.say(None)
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises costs no trial
            self._failed(error)
            return False
        self._pause, self._failing_since = _PAUSE_SECONDS[0], None
        return True

    def _take(self, lock: MirrorLock) -> None:
        self._alone = False
        self._alone = lock.take()
        if not self._alone:
            raise _BusyError("another mirror is copying this study")

    def _failed(self, error: Exception) -> None:
        """Write down why, and look at everything afresh next time."""
        self._look_again = True
        self._reason = one_line(error)
        self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
        if isinstance(error, _BusyError):
            self._failing_since = None  # the other one copies, or dies and loses its lock
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
        if not self._alone:
            return
        try:
            self._copy.say(self._reason)
        except DatabaseError as unwritten:
            self._reason = one_line(unwritten)

    def _gives_up(self) -> bool:
        """Nothing more will come, and MLflow has had its time since that was known."""
        if self._finishing_since is None or self._failing_since is None:
            return False
        since = max(self._finishing_since, self._failing_since)
        return time.monotonic() - since > _PATIENCE_SECONDS

    def _farewell(self) -> str:
        name, destination = self._copy.name, self._copy.destination
        return (
            f"MLflow at {destination} is not up to date: {self._reason}; "
            f"`hpsearch sync {name}` catches up later"
        )

    def _leave(self) -> None:
        if not self._alone:
            return
        try:
            self._copy.suspend()
            self._copy.say("stopped; `hpsearch sync` catches up")
        except Exception as error:  # noqa: BLE001 - it was asked to go, whatever happens
            sys.stderr.write(f"{one_line(error)}\n")

    def _rest(self, seconds: float) -> None:
        """Wait, but not beyond a wish to finish or stop."""
        finishing = self._finish.is_set()
        until = time.monotonic() + (min(seconds, _POLL_SECONDS) if finishing else seconds)
        while time.monotonic() < until and not self._stop.is_set():
            if self._finish.is_set() and not finishing:
                return
            self._stop.wait(0.05)


class _BusyError(TrackingError):
    """Another mirror is at work, perhaps that of a `start` which was killed."""


def one_line(error: BaseException) -> str:
    """The first thing an error says, short enough for a terminal and without passwords."""
    said = redacted(" ".join(str(error).split()).split(" [SQL:")[0]) or type(error).__name__
    if "Connection refused" in said or "Failed to establish a new connection" in said:
        return "no server answers there; is it running?"
    if "disk is full" in said:
        return "its disk is full"
    if re.search(r"table \w+ already exists", said):
        # MLflow makes its tables in many steps, and cannot begin again where one has failed.
        return "its tables are half-made, perhaps since a disk was full; delete the file there"
    return said if len(said) <= 200 else f"{said[:197]}..."  # noqa: PLR2004


# ------------------------------------------------------------------------- the process


def main(arguments: list[str] | None = None) -> int:
    """Run as a process of its own; standard input is the leash."""
    given = _parser().parse_args(arguments)
    os.nice(max(0, _NICENESS - os.nice(0)))
    finish, stop = threading.Event(), threading.Event()
    _watch_input(finish)
    signal.signal(signal.SIGTERM, _setter(stop))
    try:
        code = follow(given.database, given.study, given.tracking, finish, stop)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return DATABASE_AWAY if isinstance(error, DatabaseUnavailableError) else MISTAKE
    if code == _REPLACED:
        # MLflow keeps connections for the life of its process; standard input stays open.
        command = [sys.executable, "-m", "hpsearch.tracking.mirror"]
        os.execv(sys.executable, [*command, *(arguments or sys.argv[1:])])  # noqa: S606 - ourselves
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hpsearch mirror", description=__doc__)
    parser.add_argument("--study", required=True)
    for option, variable in (("--database", DATABASE_VARIABLE), ("--tracking", TRACKING_VARIABLE)):
        found = os.environ.get(variable)
        parser.add_argument(option, default=found, required=not found, help=f"or {variable}")
    return parser


def _watch_input(finish: threading.Event) -> None:
    """Set `finish` when whoever started this process closes the pipe, or dies."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        finish.set()

    threading.Thread(target=watch, name="input", daemon=True).start()


def _setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        event.set()

    return handle


if __name__ == "__main__":
    code = main()
    # A search waits for this process to end. Python looks for garbage among MLflow's million
    # objects before it ends, which took 0.3 to 0.5 s; frozen objects are passed over.
    gc.freeze()
    sys.exit(code)
