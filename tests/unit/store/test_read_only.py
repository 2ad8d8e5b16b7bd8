"""How a file is read where nothing can be written."""

import os
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from hpsearch.errors import DatabaseError
from hpsearch.store.engine import read_only_options
from hpsearch.store.read_only import check_writable, reading_uri


@pytest.fixture
def file(tmp_path):
    """A database with a write-ahead log, which nobody has open."""
    path = tmp_path / "a #1?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE numbers (number)")
    return path


@pytest.fixture
def forbid(monkeypatch):
    """Takes the right to write paths away, which root would have all the same."""

    def take(*paths):
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: p not in paths and allowed(p, mode))

    return take


def test_what_can_be_written_needs_no_word(file):
    """SQLite then finds its way alone, and `start` goes on; the file may be missing yet."""
    assert reading_uri(file) is None
    check_writable(file)
    check_writable(file.with_name("new.db"))


def test_an_unchanging_file_is_read_without_a_log(file, forbid):
    """Neither a log nor its index is made, where they could perhaps not be removed again."""
    forbid(file)
    with closing(sqlite3.connect(reading_uri(file), uri=True)) as connection:
        assert connection.execute("SELECT * FROM numbers").fetchall() == []
    assert list(file.parent.iterdir()) == [file]


def test_what_others_write_is_seen(file, forbid):
    """A file that is declared unchanging would be read without the log of its writers."""
    forbid(file.parent)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("INSERT INTO numbers VALUES (1)")
        with closing(sqlite3.connect(reading_uri(file), uri=True)) as connection:
            assert connection.execute("SELECT * FROM numbers").fetchall() == [(1,)]


@pytest.mark.parametrize("folder", [False, True])
def test_who_begins_to_write_later_is_seen(file, forbid, folder):
    """An open database asks anew how it is read: a killed search is gone on with at any time."""
    forbid(file.parent if folder else file)
    url = URL.create("sqlite", database=str(file))
    engine = create_engine(url, **read_only_options(url))

    def numbers():
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT * FROM numbers").fetchall()

    assert numbers() == []
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("INSERT INTO numbers VALUES (1)")
        assert numbers() == [(1,)]


def test_a_log_that_cannot_be_read_is_not_left_out(file, forbid):
    """Without its index a log says nothing, and without the log the file is not the truth."""
    file.with_name(f"{file.name}-wal").write_bytes(b"left by a writer that was killed")
    forbid(file)
    with pytest.raises(DatabaseError, match="copy both files"):
        reading_uri(file)


@pytest.mark.parametrize("folder", [False, True])
def test_who_wants_to_write_is_told_what_is_read_only(file, forbid, folder):
    """The file, or its folder, where SQLite keeps the log."""
    forbid(file.parent if folder else file)
    with pytest.raises(DatabaseError, match="its folder is" if folder else "the file is"):
        check_writable(file)
