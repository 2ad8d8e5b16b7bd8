"""Optuna's own dashboard over the database that it shares with hpsearch, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec

from hpsearch.errors import TrackingError
from hpsearch.tracking.destination import DATABASE_VARIABLE
from hpsearch.tracking.ui import HOST, Dashboard, free_port, wait_until_it_answers

_PACKAGE = "optuna_dashboard"
# The address may hold a password, and everybody on a machine may read command lines.
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
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - our own line, no shell
            [sys.executable, "-c", _SERVE, HOST, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | {DATABASE_VARIABLE: database},
            start_new_session=True,
        )
        dashboard = Dashboard(f"http://{HOST}:{port}/dashboard/", process)
        try:
            wait_until_it_answers(process, f"http://{HOST}:{port}/dashboard/", said)
        except BaseException:
            dashboard.stop()
            raise
    return dashboard
