"""Workers as threads of this process: slower, but every line can be stepped through."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

from hpsearch.launch.cores import physical_cores
from hpsearch.launch.launcher import WorkerEnd, end_of
from hpsearch.worker import WorkerOptions, run_worker


class InlineLauncher:
    """Runs workers in this process; see `Launcher`."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._ended: SimpleQueue[WorkerEnd] = SimpleQueue()

    def room(self) -> int:
        """One for each physical core."""
        return physical_cores()

    def start(self, count: int) -> None:
        """Start that many more workers."""
        for _ in range(count):
            thread = threading.Thread(target=self._run, name="worker", daemon=True)
            thread.start()
            self._threads.append(thread)

    def alive(self) -> int:
        """How many are running."""
        return sum(thread.is_alive() for thread in self._threads)

    def ended(self) -> list[WorkerEnd]:
        """Workers that ended since the last call."""
        return [self._ended.get() for _ in range(self._ended.qsize())]

    def stop(self) -> None:
        """Ask every worker to hand back its trials and leave."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait until all have left; True if they have."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return self.alive() == 0

    def kill(self) -> None:
        """Threads cannot be killed: they are asked to stop, and die with the process."""
        self._stop.set()

    def close(self) -> None:
        """Threads that are left die with the process."""

    def _run(self) -> None:
        self._ended.put(end_of(lambda: run_worker(self._options, self._stop)))
