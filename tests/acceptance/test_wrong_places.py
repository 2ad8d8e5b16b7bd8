"""A database that must be left alone is refused by the command itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hpsearch.store.tables import VERSION_TABLE
from tests.acceptance.conftest import Command


def test_a_newer_database_is_refused(small: Command):
    """A database of a newer hpsearch is named with its version; it is not even read."""
    with closing(sqlite3.connect(small.folder / "hpsearch.db")) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608
    line = small.refusal("show", "small")
    assert "another version of hpsearch" in line
    assert "9999" in line
