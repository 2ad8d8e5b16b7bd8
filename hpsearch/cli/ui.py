"""`hpsearch ui`: MLflow's dashboard on this machine, opened at the study's own page."""

from __future__ import annotations

from typing import Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING


def ui(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Study to open the page of.")
    ] = None,
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Tracking = DEFAULT_TRACKING,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Start MLflow's dashboard on 127.0.0.1 and open it in a browser."""
    from hpsearch.errors import TrackingError
    from hpsearch.store.database import open_database
    from hpsearch.tracking.destination import check_destination, is_server
    from hpsearch.tracking.ui import find_experiment, free_port, start_ui

    check_destination(database, tracking)
    experiment = None
    if name is not None:
        store = open_database(database)
        try:
            experiment = find_experiment(store, name, tracking)
        finally:
            store.close()
        if experiment is None:
            raise TrackingError(
                f"{name}: nothing of it is in {tracking} yet; `hpsearch sync {name}` copies it"
            )
    if not is_server(tracking):
        free_port(port)
        typer.echo("Starting MLflow's dashboard, which takes some seconds ...", err=True)
    dashboard = start_ui(tracking, experiment, port)
    try:
        typer.echo(dashboard.url)
        if not no_browser:
            typer.launch(dashboard.url)
        if dashboard.process is not None:
            typer.echo("Ctrl-C ends it.", err=True)
        dashboard.wait()
    finally:
        dashboard.stop()
