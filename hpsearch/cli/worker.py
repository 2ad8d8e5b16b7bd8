"""`hpsearch worker`: join a study from another terminal or machine."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.worker import WorkerOptions


def worker(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    data_dir: options.DataDir = None,
    population: options.Population = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the study has been started.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Work on a stored study until it is complete; Ctrl-C hands unfinished trials back."""
    from hpsearch.launch.stopping import until_stopped
    from hpsearch.report.console import console_for
    from hpsearch.worker import WorkerOptions

    console = console_for(as_json=False, quiet=quiet)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    given = WorkerOptions(database, name, data_dir, population)
    until_stopped(lambda: _work(given, stop, console, wait=wait), stop)


def _work(given: WorkerOptions, stop: threading.Event, console: Console, *, wait: bool) -> None:
    from hpsearch.store.database import open_database
    from hpsearch.store.patience import Patience
    from hpsearch.store.studies import load_study
    from hpsearch.worker import run_worker, wait_for_study

    name, told = given.study, partial(console.print, markup=False, soft_wrap=True)
    if wait and not wait_for_study(given, stop, told=told):
        return
    patience = Patience(stop, told=told) if wait else None
    with closing(open_database(given.database, patience=patience)) as store:
        if load_study(store, name).state == "complete":
            console.print(f"{name}: already finished; there is nothing to work on.")
            return
    console.print(f"{name}: working; Ctrl-C leaves, unfinished trials are handed back")
    committed = run_worker(given, stop, told=told)
    console.print(f"{name}: {committed} trials done")
