"""`hpsearch ui`: MLflow's dashboard on this machine, opened at the study's own page."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING
from hpsearch.errors import TrackingError
from hpsearch.tracking.destination import redacted, sqlite_file

if TYPE_CHECKING:
    from hpsearch.tracking.ui import Dashboard


def ui(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Study to open the page of.")
    ] = None,
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Destination = DEFAULT_TRACKING,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
    optuna: Annotated[
        bool, typer.Option("--optuna", help="Optuna's dashboard instead, on the same database.")
    ] = False,
) -> None:
    """Start MLflow's dashboard on 127.0.0.1 and open it in a browser."""
    if optuna:
        with _ended_by_signals():
            _show_optunas(name, database, port, browser=not no_browser)
        return
    from hpsearch.tracking.destination import check_destination, is_server
    from hpsearch.tracking.ui import free_port

    check_destination(database, tracking)
    experiment = None if name is None else _experiment(name, database, tracking)
    if not is_server(tracking):
        free_port(port)
        typer.echo("Starting MLflow's dashboard, which takes some seconds ...", err=True)
    with _ended_by_signals():
        _show(name, database, tracking, experiment, port, browser=not no_browser)


def _experiment(name: str, database: str, tracking: str) -> str:
    """The study's experiment in MLflow.

    Raises:
        TrackingError: If it was never copied there.
    """
    from hpsearch.store.database import open_database
    from hpsearch.tracking.ui import find_experiment

    with closing(open_database(database)) as store:
        experiment = find_experiment(store, name, tracking)
    file = sqlite_file(tracking)
    if experiment is None or (file is not None and not file.exists()):
        raise _nothing_there(name, database, tracking)
    return experiment


def _nothing_there(name: str, database: str, tracking: str) -> TrackingError:
    place, sync = redacted(tracking), options.commands(database, tracking).sync(name)
    return TrackingError(f"{name}: nothing of it is in {place}; `{sync}` copies it")


def _show(
    name: str | None,
    database: str,
    tracking: str,
    experiment: str | None,
    port: int,
    *,
    browser: bool,
) -> None:
    """Serve the dashboard until it ends or this process is asked to."""
    from hpsearch.tracking.ui import current_experiment, page, start_ui

    dashboard = start_ui(tracking, experiment, port)
    try:
        url = dashboard.url
        if name is not None and dashboard.process is not None:
            base = url.partition("/#")[0]
            current = current_experiment(base, name)
            if current is None:
                raise _nothing_there(name, database, tracking)
            url = page(base, current)
        _open(dashboard, url, browser=browser)
    finally:
        dashboard.stop()


def _show_optunas(name: str | None, database: str, port: int, *, browser: bool) -> None:
    """Serve Optuna's dashboard until it ends or this process is asked to."""
    from hpsearch.store.database import open_database
    from hpsearch.store.studies import load_study
    from hpsearch.tracking.optuna_ui import start_optuna_ui

    with closing(open_database(database)) as store:
        if name is not None:
            load_study(store, name)
        address = store.url  # with the driver that is installed
    dashboard = start_optuna_ui(address, port)
    try:
        _open(dashboard, dashboard.url, browser=browser)
    finally:
        dashboard.stop()


def _open(dashboard: Dashboard, url: str, *, browser: bool) -> None:
    """Say where the page is, open it, and stay until its server ends."""
    typer.echo(url)
    if browser:
        typer.launch(url)
    if dashboard.process is not None:
        typer.echo("Ctrl-C ends it.", err=True)
    dashboard.wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end us like an exception: the server is stopped then."""
    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    # What is ignored, as under `nohup`, stays ignored.
    heard = [n for n in numbers if n is not None and signal.getsignal(n) != signal.SIG_IGN]

    def leave(number: int, _frame: FrameType | None) -> None:
        for other in heard:
            signal.signal(other, signal.SIG_IGN)  # a second one must not interrupt the clearing up
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
