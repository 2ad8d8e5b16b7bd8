"""Optuna's own dashboard over the database that it shares with hpsearch, on this machine."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from hpsearch.errors import TrackingError
from hpsearch.tracking.destination import DATABASE_VARIABLE
from hpsearch.tracking.ui import HOST, Dashboard, free_port, served

_PACKAGE = "optuna_dashboard"
_SERVE = (
    "import os, sys; from optuna_dashboard import run_server; "
    f"run_server(os.environ['{DATABASE_VARIABLE}'], host=sys.argv[1], port=int(sys.argv[2]))"
)


def start_optuna_ui(database: str, port: int) -> Dashboard:
    """Start Optuna's dashboard on 127.0.0.1.

    Args:
        database: Address of the database.
        port: Port to listen on; 0 takes a free one.

    Raises:
        TrackingError: If it is not installed, the port is in use, or it does not come up.
    """
    if find_spec(_PACKAGE) is None:
        raise TrackingError(
            '--optuna needs the package optuna-dashboard: pip install "hpsearch[dashboard]"'
        )
    port = free_port(port)
    url = f"http://{HOST}:{port}/dashboard/"
    command = [sys.executable, "-c", _SERVE, HOST, str(port)]
    return served(command, {DATABASE_VARIABLE: database}, url, url)
