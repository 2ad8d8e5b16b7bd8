"""Workers as processes of this machine, forked from one that has imported everything.

32 workers are up in about a second this way; spawned one by one they took 7 s.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from hpsearch.errors import HpsearchError, UserError
from hpsearch.launch.cores import physical_cores
from hpsearch.launch.fork_server import warm_up
from hpsearch.launch.launcher import WorkerEnd, died, end_of
from hpsearch.launch.stopping import until_stopped
from hpsearch.worker import WorkerOptions, run_worker

# How often whoever waits for another process looks whether it is to wait any longer.
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    messages: Connection


class LocalLauncher:
    """Starts worker processes; see `Launcher`."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._children: list[_Child] = []
        self._ended: list[WorkerEnd] = []

    def room(self) -> int:
        """One for each physical core."""
        return physical_cores()

    def start(self, count: int) -> None:
        """Start that many more workers."""
        for _ in range(count):
            self._children.append(_spawn(_worker_process, self._options))

    def alive(self) -> int:
        """How many are running; those that are not move to `ended`."""
        running = [child for child in self._children if child.process.is_alive()]
        self._ended += [_end(child) for child in self._children if child not in running]
        self._children = running
        return len(running)

    def ended(self) -> list[WorkerEnd]:
        """Workers that ended since the last call."""
        self.alive()
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Ask every worker to hand back its trials and leave."""
        for child in self._children:
            child.process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait until all have left; True if they have."""
        until = time.monotonic() + seconds
        for child in self._children:
            child.process.join(max(0.0, until - time.monotonic()))
        return self.alive() == 0

    def kill(self) -> None:
        """End every worker at once."""
        for child in self._children:
            child.process.kill()
            child.process.join()

    def close(self) -> None:
        """Those that are left end by themselves when this process does."""


def run_in_process(
    function: Callable[..., str | None],
    *arguments: object,
    meanwhile: Callable[[], None] = lambda: None,
) -> str:
    """Run a function in a process of its own and wait for it.

    Args:
        function: What to run.
        arguments: Its arguments.
        meanwhile: Called several times a second; the process is killed if it raises.

    Returns:
        What the function returned; empty where that is None.

    Raises:
        UserError: With the function's own sentence, if it raised one.
        HpsearchError: If the process ended in any other way than by returning.
    """
    child = _spawn(_call, function, *arguments)
    try:
        while child.process.is_alive():
            meanwhile()
            child.process.join(_LOOK_SECONDS)
    except BaseException:
        child.process.kill()  # Ctrl-C: nothing goes on behind the prompt
        child.process.join()
        raise
    end = _end(child)
    if end.mistake:
        raise UserError(end.message)
    if not end.finished:
        raise HpsearchError(end.message)
    return end.message


def _spawn(target: Callable[..., None], *arguments: object) -> _Child:
    warm_up()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    return _Child(process, ours)


def _end(child: _Child) -> WorkerEnd:
    child.process.join()
    said: WorkerEnd | None = None
    with suppress(EOFError):  # it was ended while it spoke
        said = child.messages.recv() if child.messages.poll() else None
    child.messages.close()
    return said or died(child.process.exitcode)


# ------------------------------------------------------- inside the new process


def _worker_process(messages: Connection, options: WorkerOptions) -> None:
    stop = threading.Event()
    # Ctrl-C reaches the whole process group; `start` decides what it means for workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _tell(messages, lambda: until_stopped(lambda: run_worker(options, stop, parent_died), stop))


def _call(messages: Connection, function: Callable[..., str | None], *arguments: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _tell(messages, lambda: function(*arguments))


def _tell(messages: Connection, work: Callable[[], object]) -> None:
    """Do the work, and tell the parent how it ended."""
    end = end_of(work)
    # A parent that was killed hears nothing more, and who killed it needs no traceback.
    with suppress(BrokenPipeError):
        messages.send(end)


def parent_died() -> bool:
    """Whether the process that started this one is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()
