"""`hpsearch worker`: join a study from another terminal or machine."""

from __future__ import annotations

import signal
import threading

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE


def worker(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    data_dir: options.DataDir = None,
    population: options.Population = None,
    quiet: options.Quiet = False,
) -> None:
    """Work on a stored study until it is complete; Ctrl-C hands unfinished trials back."""
    from hpsearch.report.console import console_for
    from hpsearch.worker import WorkerOptions, run_worker

    console = console_for(as_json=False, quiet=quiet)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console.print(f"{name}: working; Ctrl-C leaves, unfinished trials are handed back")
    committed = run_worker(WorkerOptions(database, name, data_dir, population), stop)
    console.print(f"{name}: {committed} trials done")
