"""`hpsearch copy`: a study goes on in another database as if it had always been there."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from subprocess import Popen

import pytest

from hpsearch.store.engine import parse_url
from tests.acceptance.conftest import (
    SLOW_STUDY,
    Command,
    comparable,
    kill_session,
    signal_session,
    until,
)
from tests.contract.conftest import _postgres
from tests.faults.test_kill import finished

__all__ = ["_postgres"]

Starter = Callable[..., Popen[str]]
LOCAL = ("--tracking", "none")


@pytest.fixture
def server(_postgres) -> str:
    """Address of an empty PostgreSQL database, with a password that must not be shown."""
    url = parse_url(_postgres.url(_postgres.make()))
    address = url.set(password=url.password or "secret")  # a server of the tests' own takes any
    return address.render_as_string(hide_password=False)


@pytest.mark.slow
def test_a_killed_study_goes_on_in_another_database(
    hpsearch: Command, started: Starter, server: str
):
    """Killed on SQLite and gone on with on PostgreSQL, a study ends with the same table."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL)
    until(lambda: finished(hpsearch) >= 5, "the first trials")
    signal_session(search, signal.SIGSTOP)  # alive, and not done before it is looked at
    assert "workers are at it" in hpsearch.refusal("copy", "slow", "--to", server)
    kill_session(search)

    copied = hpsearch("copy", "slow", "--to", server)
    assert copied.returncode == 0, copied.stderr
    assert "every row was read back and is equal" in copied.stdout
    assert parse_url(server).password
    assert f":{parse_url(server).password}@" not in copied.stdout + copied.stderr
    assert states(hpsearch, server)["running"] == 0
    assert hpsearch("start", "slow", "--database", server, *LOCAL).returncode == 0
    assert hpsearch("start", file, *LOCAL).returncode == 0
    there = hpsearch.json("trials", "slow", "--database", server)
    assert comparable(there) == comparable(hpsearch.json("trials", "slow"))


def states(hpsearch: Command, database: str = "sqlite:///hpsearch.db") -> Counter[str]:
    """How many trials of the study stand where."""
    trials = hpsearch.json("trials", "slow", "--database", database)
    return Counter(trial["state"] for trial in trials)


def test_a_finished_study_is_copied_once(small: Command):
    """A copy shows what the original shows; a second one needs a name of its own."""
    copy = ("copy", "small", "--to", "sqlite:///other.db")
    assert small(*copy).returncode == 0
    other = ("--database", "sqlite:///other.db")
    assert small.json("show", "small", *other) == small.json("show", "small")
    assert small.json("trials", "small", *other) == small.json("trials", "small")
    again = small(*copy)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "--name small-2" in again.stderr
    assert small(*copy, "--name", "small-2", "--quiet").stdout == ""
    assert [study["study"] for study in small.json("list", *other)] == ["small", "small-2"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["nowhere", "--to", "sqlite:///b.db"], ["nowhere: no such study", "small"]),
        (["small"], ["--to"]),
        (["small", "--to", "sqlite:///b.db", "--name", "a/b"], ["a/b", "a name starts with"]),
        (["small", "--to", "mysql://me:secret@h/b"], ["--to mysql://", "not supported"]),
        (["small", "--to", "postgresql://me:secret@127.0.0.1:1/b"], ["no server answers"]),
    ],
)
def test_a_mistake_is_one_line_and_makes_nothing(small: Command, typed, words):
    """What cannot be copied is said before the other database is made, without any password."""
    line = small.refusal("copy", *typed)
    for word in words:
        assert word in line
    assert "secret" not in line
    assert not (small.folder / "b.db").exists()
