"""Workers as tasks of a Dask cluster, which places them and starts them again where a node dies.

A task is as long as its worker and keeps one thread of a Dask worker busy. The worker is a process
of its own beside the Dask worker's, so that neither waits for the other's Python, and leaves when
that is gone. A task that nobody wants any more, because it was cancelled or because whoever asked
for it died, has its worker hand back its trials.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from hpsearch.errors import HpsearchError, UserError
from hpsearch.launch.cores import physical_cores
from hpsearch.launch.launcher import WorkerEnd
from hpsearch.launch.leashed import LeashedWorker
from hpsearch.store.engine import is_file
from hpsearch.worker import WorkerOptions

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

# How long a scheduler has to answer.
_CONNECT_SECONDS = 5.0
# How often a task looks whether it is still wanted, and `wait` whether all have left.
_LOOK_SECONDS = 0.2
# States of a task, in its Dask worker, that somebody wants the end of.
_WANTED = {"executing", "long-running"}


class DaskLauncher:
    """Starts workers on a Dask cluster; see `Launcher`.

    Args:
        options: What they work on.
        scheduler: Address of the cluster's scheduler; None for a cluster on this machine.
        workers: How many workers that cluster has room for; None for one per physical core.

    Raises:
        UserError: If Dask is not installed or no scheduler answers.
    """

    def __init__(
        self, options: WorkerOptions, scheduler: str | None = None, workers: int | None = None
    ) -> None:
        self._options, self._scheduler = options, scheduler
        self._client = _connect(scheduler, workers or physical_cores())
        self._token = f"hpsearch-{options.study}-{uuid4().hex[:8]}"
        self._tasks: list[Future[WorkerEnd]] = []
        self._ended: list[WorkerEnd] = []
        self._started = 0

    def room(self) -> int:
        """One for each thread of the cluster's workers.

        Raises:
            UserError: If there are none yet.
        """
        threads = int(sum(self._client.nthreads().values()))
        if not threads:
            raise UserError(
                f"--scheduler {self._scheduler}: the cluster has no workers yet, so say how many "
                "are wanted: --workers N"
            )
        return threads

    def start(self, count: int) -> None:
        """Start that many more workers.

        Raises:
            HpsearchError: If the scheduler is gone.
        """
        for _ in range(count):
            if self._client.status != "running":
                raise HpsearchError(
                    f"the Dask scheduler {self._scheduler} is gone; nothing is lost, and the same "
                    "command goes on once it is back"
                )
            self._started += 1
            key = f"{self._token}-{self._started}"
            task = self._client.submit(work, self._options, self._token, key=key, pure=False)
            self._tasks.append(task)

    def alive(self) -> int:
        """How many are running or wait for a thread; the others move to `ended`."""
        running = [task for task in self._tasks if task.status == "pending"]
        self._ended += [self._end(task) for task in self._tasks if task not in running]
        self._tasks = running
        return len(running)

    def ended(self) -> list[WorkerEnd]:
        """Workers that ended since the last call."""
        self.alive()
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Ask every worker to hand back its trials and leave."""
        self._client.cancel(self._tasks)

    def wait(self, seconds: float) -> bool:
        """Wait until all have left; True if they have."""
        until = time.monotonic() + seconds
        while self.alive() or self._processes():
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def kill(self) -> None:
        """End every worker at once."""
        self.stop()
        self._everywhere(_kill)

    def close(self) -> None:
        """Leave the cluster; one that was made for this search goes with it."""
        with suppress(TimeoutError, OSError):
            self._client.close()
            if self._client.cluster is not None:
                self._client.cluster.close()

    def _processes(self) -> int:
        return sum(self._everywhere(_count))

    def _everywhere(self, ask: object) -> Iterable[int]:
        """Ask every Dask worker; those that are dying have nothing to say."""
        if self._client.status != "running":
            return []
        said = self._client.run(ask, self._token, on_error="ignore")
        return [number for number in said.values() if isinstance(number, int)]

    def _end(self, task: Future[WorkerEnd]) -> WorkerEnd:
        if task.status == "finished":
            return self._hinted(task.result())
        if task.status != "error":
            return WorkerEnd("the Dask cluster has lost it")
        error = task.exception()
        if isinstance(error, ImportError):
            return WorkerEnd(
                f"{error}: install hpsearch, of the same version, where the Dask workers are",
                mistake=True,
            )
        return WorkerEnd(f"{type(error).__name__}: {error}")

    def _hinted(self, end: WorkerEnd) -> WorkerEnd:
        """A mistake that comes of a file only this machine has says so."""
        if not end.mistake or self._scheduler is None or not is_file(self._options.database):
            return end
        hint = "a Dask worker on another machine needs a database server: --database postgresql://"
        return WorkerEnd(f"{end.message} ({hint}...)", mistake=True)


def _connect(scheduler: str | None, workers: int) -> Client:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError(
            "--launcher dask: Dask is not installed; pip install 'hpsearch[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
        return Client(cluster)
    try:
        return Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"--scheduler {scheduler}: no Dask scheduler answers there; it is an address such as "
            "tcp://HOST:8786, which `dask scheduler` prints"
        ) from error


# ------------------------------------------------------- inside a Dask worker

_workers: dict[str, list[LeashedWorker]] = {}


def work(options: WorkerOptions, token: str) -> WorkerEnd:
    """One worker from its start to its end; called by Dask.

    Args:
        options: What it works on.
        token: Of the launcher that wants it.
    """
    from distributed import get_worker

    node = get_worker()
    key = node.get_current_task()
    worker = LeashedWorker(options)
    mine = _workers.setdefault(token, [])
    mine.append(worker)
    try:
        while worker.is_alive(_LOOK_SECONDS):
            if not _is_wanted(node, key):
                worker.stop()
                break
        return worker.end()
    finally:
        mine.remove(worker)


def _is_wanted(node: Worker, key: str) -> bool:
    """Whether anybody still waits for a task: who cancels it or dies takes its state."""
    task = node.state.tasks.get(key)
    return task is not None and task.state in _WANTED


def _count(token: str) -> int:
    """How many workers of a launcher run beside this Dask worker."""
    return sum(worker.is_alive() for worker in _workers.get(token, []))


def _kill(token: str) -> int:
    """End them."""
    workers = list(_workers.get(token, []))
    for worker in workers:
        worker.kill()
    return len(workers)
