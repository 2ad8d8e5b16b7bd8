"""Databases that must be left alone, refused by the real command on both kinds of server."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import create_engine, text

from hpsearch.data.prepared import prepare
from hpsearch.store.database import open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.studies import create_study
from hpsearch.store.tables import VERSION_TABLE
from hpsearch.study_file import parse_study
from tests.acceptance.conftest import SMALL_STUDY, Command
from tests.contract.conftest import _postgres, empty_url

__all__ = ["_postgres", "empty_url"]

LOCAL = ("--tracking", "none")


def refusal(hpsearch: Command, *arguments: str) -> str:
    """The one line on standard error with which a command is refused, with exit code 2."""
    done = hpsearch(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def begun(hpsearch: Command, empty_url: str) -> str:
    """Address of a database with a small study in it, of which no trial was trained yet."""
    hpsearch.write("small.toml", SMALL_STUDY)
    spec = parse_study(SMALL_STUDY, "small.toml")
    prepared = prepare(spec)
    with closing(open_database(empty_url, create=True)) as database:
        create_study(database, spec, SMALL_STUDY, prepared.fingerprint, len(prepared.validation()))
    return empty_url


def test_a_newer_database_is_refused(hpsearch: Command, begun: str):
    """A database of a newer hpsearch is named with both versions, by readers and writers."""
    engine = create_engine(parse_url(begun))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    engine.dispose()
    commands = (["start", "small.toml", *LOCAL], ["show", "small"], ["worker", "small"])
    for command in commands:
        line = refusal(hpsearch, *command, "--database", begun)
        assert "another version of hpsearch" in line
        assert "9999" in line
