"""SQLite files that can only be read: no right to write, or a disk mounted so.

A database with a write-ahead log is read with that log and an index of it, and SQLite makes both
where they are missing. Where it cannot, either both are there, because somebody else is writing, or
the file must be declared unchanging (sqlite.org/wal.html, "Read-Only Databases").
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from hpsearch.errors import DatabaseError


def check_writable(path: Path) -> None:
    """Make sure that a database can be written here, or made.

    Raises:
        DatabaseError: If the file or its folder is read-only.
    """
    path = path.resolve()
    if path.exists() and not os.access(path, os.W_OK):
        raise DatabaseError(
            f"{path}: the file is read-only; make it writable or name another --database"
        )
    if not os.access(path.parent, os.W_OK):
        raise DatabaseError(
            f"{path}: its folder is read-only, and SQLite keeps a log beside the file; make the "
            "folder writable or name another --database"
        )


def reading_uri(path: Path) -> str | None:
    """How SQLite is told to read a file where nothing can be written.

    Returns:
        None where the file and its folder can be written, so that SQLite needs not be told.

    Raises:
        DatabaseError: If there is a log that cannot be read here.
    """
    path = path.resolve()
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return None
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if log.exists() and index.exists():
        return f"file:{quote(str(path))}?mode=ro"
    if log.exists() and log.stat().st_size:
        raise DatabaseError(
            f"{path}: some of it is still in {log.name}, which cannot be read where nothing can be "
            "written; copy both files into a folder of yours"
        )
    return f"file:{quote(str(path))}?immutable=1"
