"""How a database is opened: SQLite tuned for many processes, PostgreSQL as it comes.

Untuned, 32 processes lost 9 of 1,280 trials on SQLite; with a write-ahead log, a busy timeout
and write transactions that take their lock at the start, none (docs/architecture.md).
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double

from hpsearch.errors import DatabaseError
from hpsearch.store.read_only import reading_uri

# A writer holds the lock for milliseconds; a minute covers a machine that swaps.
BUSY_SECONDS = 60
# Execution options of a connection, read when its transaction begins.
READ_ONLY = "hpsearch_read_only"
DURABLE = "hpsearch_durable"
# A network that is cut says nothing: without these libpq waits for its answer for hours.
_NOTICE_A_DEAD_NETWORK = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
# PostgreSQL's advisory locks are numbers, shared by everything in one database.
_MIGRATION_LOCK = 0x68707365


class now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since 1970 by the database's clock, the only clock leases are judged by."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    # The cast keeps the driver from returning a Decimal.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def parse_url(text: str) -> URL:
    """The database's address, with psycopg 3 as the driver of `postgresql://`.

    Raises:
        DatabaseError: If it is no address of a database hpsearch knows.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        shown = text.rpartition("@")[2]  # a password may stand before it
        message = f"--database {shown}: not a database address; write sqlite:///FILE.db"
        raise DatabaseError(message) from error
    if backend not in {"sqlite", "postgresql"}:
        raise DatabaseError(
            f"--database {url}: {backend} is not supported; use sqlite:///FILE.db "
            "or postgresql://USER@HOST/NAME"
        )
    if backend == "sqlite" and (url.host or url.database in {None, "", ":memory:"}):
        raise DatabaseError(
            f"--database {url}: names no file; write sqlite:///FILE.db, with three slashes"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    password = url.query.get("password")
    if isinstance(password, str):  # among the options it would be printed with them
        url = url.set(password=password).difference_update_query(["password"])
    return url


def sqlite_file(url: URL) -> Path | None:
    """The SQLite file; None for servers, and for SQLite's own URIs with their options."""
    name = str(url.database or "")
    if url.get_backend_name() != "sqlite" or name.startswith("file:"):
        return None
    return Path(name)


def is_file(address: str) -> bool:
    """Whether an address is that of a file, which other machines may not have."""
    return parse_url(address).get_backend_name() == "sqlite"


def absolute(address: str) -> str:
    """The same database seen from another folder."""
    url = parse_url(address)
    file = sqlite_file(url)
    if file is None:
        return address
    return url.set(database=str(file.absolute())).render_as_string(hide_password=False)


def engine_options(url: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for this database."""
    if read_only := read_only_options(url):
        return read_only
    # What psycopg warns of, a pipeline that broke with its connection, is raised as well.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    patient = {"connect_args": connect_arguments(url)}
    if url.get_backend_name() == "sqlite":
        return patient | {"pool_events": [(_tune_sqlite_connection, "connect")]}
    return patient | {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 4}


def looking_options(url: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for a look at a database, which may be another program's."""
    return read_only_options(url) or {"connect_args": connect_arguments(url)}


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver is told: how long a locked file or a silent network is waited for."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": BUSY_SECONDS}
    return dict(_NOTICE_A_DEAD_NETWORK)


def read_only_options(url: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for a file where nothing can be written; else none."""
    path = sqlite_file(url)
    if path is None or not path.exists() or reading_uri(path) is None:
        return {}
    return {
        "creator": partial(_connect_to_read, path),
        "poolclass": NullPool,
        "pool_events": [(_leave_transactions_to_us, "connect")],
    }


def _connect_to_read(path: Path) -> sqlite3.Connection:
    # Asked every time: a file declared unchanging would be read without the log of whoever has
    # begun to write it since.
    uri = reading_uri(path) or f"file:{quote(str(path.resolve()))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)


def reading_options(engine: Engine) -> dict[str, Any]:
    """Execution options of a connection whose reads all see the same moment.

    SQLite's transactions do by themselves. PostgreSQL's default shows every statement its own
    moment, in which a round may have been closed between two of them.
    """
    if engine.dialect.name == "sqlite":
        return {READ_ONLY: True}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def one_at_a_time(connection: Connection) -> None:
    """Wait until no other process migrates; SQLite's write transactions do by themselves."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def tune(engine: Engine) -> None:
    """Make transactions on SQLite begin as hpsearch wants them; PostgreSQL needs nothing."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    # pysqlite would otherwise begin transactions by itself, too late and not IMMEDIATE.
    connection.isolation_level = None


def _tune_sqlite_connection(connection: Any, record: Any) -> None:
    _leave_transactions_to_us(connection, record)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Readers never wait; writers take the lock before they read what they will change.

    A commit with synchronous=NORMAL survives a killed process but perhaps not a power cut;
    DURABLE transactions are on the disk when they return.
    """
    options = connection.get_execution_options()
    if options.get(READ_ONLY):
        connection.exec_driver_sql("BEGIN")
        return
    level = "FULL" if options.get(DURABLE) else "NORMAL"
    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
