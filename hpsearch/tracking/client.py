"""MLflow's client, made quiet and impatient: the only place that makes one."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from hpsearch.errors import TrackingError
from hpsearch.tracking.destination import folder, is_server, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow by itself tries seven times with growing pauses, minutes in all. A repeated request
# could also make a run twice, so whoever fails looks first and then tries again.
_QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Folders are no longer extended by MLflow, which asks whoever uses one to say so.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


# How long a person waits for the answer to a question.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "PGCONNECT_TIMEOUT": "5"}
# What the copy of a file leaves of a disk: a search writes a few MB.
_LEFT_FREE_BYTES = 50 << 20


def quiet_environment() -> dict[str, str]:
    """What a process that imports MLflow needs in its environment, beforehand."""
    return dict(_QUIET)


def connect(tracking_uri: str) -> MlflowClient:
    """A client of this destination; an SQLite file gets MLflow's tables and a write-ahead log.

    Raises:
        mlflow.exceptions.MlflowException: If a database cannot be opened.
    """
    os.environ.update(_QUIET)
    path = sqlite_file(tracking_uri)
    if path is not None:
        if not path.exists():
            _make(path)
        _write_ahead(path)
    return _connected(tracking_uri)


@contextmanager
def looking(tracking_uri: str) -> Iterator[MlflowClient | None]:
    """A client for questions, which are answered soon or never; None where there is no file yet.

    MLflow makes folders, tables and experiments wherever it opens an SQLite file, so it gets a
    copy of it. Other databases are to be asked only where something was copied to them before.

    Raises:
        mlflow.exceptions.MlflowException: If there is no answer in time.
        sqlite3.Error: If the file cannot be read.
        TrackingError: If there is no room for the copy.
    """
    os.environ.update(_QUIET | _IMPATIENT)
    path, place = sqlite_file(tracking_uri), folder(tracking_uri)
    if place is not None and not place.is_dir():
        yield None
    elif path is None:
        yield _connected(tracking_uri)
    elif not path.exists():
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="hpsearch-") as home:
            copy = Path(home) / "mlflow.db"
            _check_room(path, copy.parent)
            _copy_of(path, copy)
            yield _connected(f"sqlite:///{copy}")


def _connected(tracking_uri: str) -> MlflowClient:
    with _keeping_garbage():
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not is_server(tracking_uri):
            _try_once()
        client = MlflowClient(tracking_uri=tracking_uri)
        client.search_experiments(max_results=1)  # tables are made by the first question
    return client


@contextmanager
def _keeping_garbage() -> Iterator[None]:
    """Importing makes a million objects and no garbage: looking for it took a fifth of the time.

    They all stay, so nobody looks at them later either: a tenth of what the copying took.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _make(path: Path) -> None:
    """Make a file with MLflow's tables; it is there whole, or not at all.

    MLflow makes them in hundreds of transactions and cannot go on where it was killed in them.
    """
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
        made = Path(folder) / "mlflow.db"
        # Before there are tables: on a busy disk half of the time goes without a log.
        _write_ahead(made)
        _connected(f"sqlite:///{made}")
        beside = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            _copy_of(made, beside)
            _appear(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def _appear(beside: Path, path: Path) -> None:
    """Give a file its name, unless somebody else was faster."""
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        beside.rename(path)


def _try_once() -> None:
    """Opening a database that is away would otherwise be tried for 100 s, deaf to everything."""
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 1  # no variable of the environment sets it


def _check_room(path: Path, folder: Path) -> None:
    """Rather no answer than a full disk, on which a search may be running.

    Raises:
        TrackingError: If a copy of the file would leave too little of the folder's disk.
    """
    log = path.with_name(f"{path.name}-wal")
    size = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    free = shutil.disk_usage(folder).free
    if free < size + _LEFT_FREE_BYTES:
        raise TrackingError(
            f"its file of {size / 2**20:.0f} MB is not copied to be looked at, only "
            f"{free / 2**20:.0f} MB are free in {folder.parent}; make some space, or name another "
            "folder in TMPDIR"
        )


def _copy_of(path: Path, copy: Path) -> None:
    """Copy an SQLite file as it is at this moment, its write-ahead log included."""
    # Without a log nobody has it open, and only "immutable" leaves no empty log behind.
    kind = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    address = f"file:{quote(str(path))}?{kind}"
    with (
        closing(sqlite3.connect(address, uri=True)) as source,
        closing(sqlite3.connect(copy)) as to,
    ):
        source.backup(to)


def _write_ahead(path: Path) -> None:
    """Switch the file to WAL for good: on a busy disk a run then takes 20 ms, not 120."""
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
