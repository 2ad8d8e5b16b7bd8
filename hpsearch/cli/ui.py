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
    from hpsearch.store.database import open_database
    from hpsearch.tracking.ui import mirrored_experiment, start_ui

    experiment = None
    if name is not None:
        store = open_database(database)
        try:
            experiment = mirrored_experiment(store, name)
        finally:
            store.close()
    with start_ui(tracking, experiment, port) as server:
        typer.echo(f"{server.url}\nCtrl-C ends it.")
        if not no_browser:
            typer.launch(server.url)
        server.wait()
