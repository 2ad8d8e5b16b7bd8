"""A worker at somebody's leash: `python -m hpsearch.launch.leashed`.

The first line of its standard input says what to work on, so that a password stands in no command
line. When the input ends, whoever held it is gone: the worker finishes its claim and leaves.
SIGTERM makes it hand back its trials. How it ended is one line of its standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from hpsearch.launch.launcher import WorkerEnd, died, end_of
from hpsearch.launch.stopping import until_stopped
from hpsearch.launch.threads import one_blas_thread
from hpsearch.worker import WorkerOptions, run_worker


class LeashedWorker:
    """A worker's process, seen by who holds its leash.

    Args:
        options: What it works on.
    """

    def __init__(self, options: WorkerOptions) -> None:
        one_blas_thread()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hpsearch.launch.leashed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(_document(options)) + "\n")
        self._process.stdin.flush()

    def is_alive(self, seconds: float = 0.0) -> bool:
        """Whether it still runs after so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def stop(self) -> None:
        """Ask it to hand back its trials and leave."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> WorkerEnd:
        """How it ended; waits until it has."""
        said, _ = self._process.communicate()
        lines = said.splitlines()
        return WorkerEnd(**json.loads(lines[-1])) if lines else died(self._process.returncode)


def _document(options: WorkerOptions) -> dict[str, Any]:
    data_dir = None if options.data_dir is None else str(options.data_dir)
    return asdict(options) | {"data_dir": data_dir}


# ------------------------------------------------------- inside the new process


def main() -> None:
    """Work as the first line says."""
    leash = sys.stdin.buffer
    options = _options(json.loads(leash.readline()))
    stop, forsaken = threading.Event(), threading.Event()
    # Ctrl-C reaches the whole process group; who holds the leash decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_feel, args=(leash.fileno(), forsaken), daemon=True).start()
    work = partial(run_worker, options, stop, forsaken.is_set)
    end = end_of(lambda: until_stopped(work, stop))
    print(json.dumps(asdict(end)), flush=True)  # noqa: T201 - who holds the leash reads it


def _options(document: Mapping[str, Any]) -> WorkerOptions:
    data_dir = document["data_dir"]
    return WorkerOptions(**{**document, "data_dir": None if data_dir is None else Path(data_dir)})


def _feel(leash: int, forsaken: threading.Event) -> None:
    """Notice when the leash is let go."""
    while os.read(leash, 4096):
        pass
    forsaken.set()


if __name__ == "__main__":
    main()
    # A call into a driver that never answers must not keep the process.
    os._exit(0)
