"""What the driver's errors mean to a person: what passes, what has to be mended, and how."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from hpsearch.errors import DatabaseError, DatabaseUnavailableError

# What psycopg files under a program's mistakes, though a person can mend it: rights that are
# missing, tables that were dropped, a server that only reads (PostgreSQL's Appendix A).
_MENDABLE_STATES = {"42501", "42P01", "25006"}

# What passes by itself on PostgreSQL, by the same appendix: a connection that broke, and a server
# that shuts down, starts, has no connection left, or chose this transaction to end a deadlock.
_CONNECTION_LOST = "08"
_PASSING_STATES = {"57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03"}
_PASSING_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
# A connection that cannot be made has no state; a server that answered so will do so again.
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "is not permitted to log in",
    "permission denied for database",
    "no pg_hba.conf entry",
    "does not support SSL",
    "certificate verify failed",
)
# What to do, by some of the words that the driver has for it; the first that fit are taken.
_HINTS = {
    "readonly database": "the file is read-only; make it writable or name another --database",
    "unable to open": "cannot be opened; check the path and its permissions",
    "not a database": "is not an SQLite database; name another --database",
    "malformed": "is damaged (database disk image is malformed); restore a copy",
    "disk is full": "the disk is full; free some space and start again, nothing is lost",
    "No space left": "the server's disk is full; free some space there, nothing is lost",
    "disk I/O error": "the disk reports an error; check its space, then start again",
    "no such table": "its tables are gone; was the file replaced while hpsearch ran?",
    "is locked": "another program holds the file locked; close it",
    "Connection refused": "no server answers there; is it running?",
    "Is the server running": "no server answers there; is it running?",
    "is shutting down": "the server is shutting down",
    "is starting up": "the server is starting up",
    "terminating connection": "the server has closed the connection",
    "closed the connection": "the server has closed the connection",
    "too many clients": "the server has no connection left (max_connections)",
    "connection slots": "the server has no connection left (max_connections)",
    "password authentication failed": "user or password are wrong",
    "no password supplied": "the server wants a password; write it into the address",
    "certificate verify failed": "the server's certificate is not trusted; name its authority in "
    "the address (sslrootcert=FILE)",
}


@contextmanager
def explained(address: URL) -> Iterator[None]:
    """Turn the driver's errors that a person can mend into one line; the rest are ours."""
    try:
        yield
    except (DBAPIError, StorageInternalError) as error:
        # Optuna wraps the driver's errors.
        cause = error if isinstance(error, DBAPIError) else error.__cause__
        if not isinstance(cause, DBAPIError) or not _can_be_mended(cause):
            raise
        kind = DatabaseUnavailableError if _passes(cause) else DatabaseError
        raise kind(f"{address}: {_sentence(cause)}") from error


def _passes(error: DBAPIError) -> bool:
    """Whether the database may be there again in a while without anybody doing anything."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state[:2] == _CONNECTION_LOST or state in _PASSING_STATES
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _PASSING_CODES  # the rest of the number says more exactly why
    refused = any(phrase in str(error.orig) for phrase in _REFUSED)
    return not refused and (isinstance(error, OperationalError) or error.connection_invalidated)


def _can_be_mended(error: DBAPIError) -> bool:
    """Whether the server, the disk or the user's rights are at fault, not a statement of ours."""
    if getattr(error.orig, "sqlstate", None) in _MENDABLE_STATES:
        return True
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return "no such table" in str(error.orig)
    ours = (DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError)
    return not isinstance(error, ours)


def _sentence(error: DBAPIError) -> str:
    said = " ".join(str(error.orig).split())
    return next((hint for key, hint in _HINTS.items() if key in said), said)
