"""A database that goes away and comes back: nothing lost, nothing twice, nobody has to type."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg

from tests.acceptance.conftest import SLOW_STUDY, Command, comparable, session_of, until

Starter = Callable[..., subprocess.Popen[str]]
LOCAL = ("--tracking", "none")


def finished(url: str) -> int:
    """Search trials done so far; 0 while there is no study."""
    query = "SELECT COUNT(*) FROM hpsearch_trial WHERE purpose = 'search' AND finished > 0"
    with psycopg.connect(url) as connection:
        try:
            row = connection.execute(query).fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
    return int(row[0]) if row else 0


def heard(search: subprocess.Popen[str], words: str) -> None:
    """Read what a command prints until it has said something."""
    assert search.stdout is not None
    assert any(words in line for line in search.stdout), f"it ended without saying {words!r}"


def test_a_server_that_restarts_costs_no_trial(hpsearch: Command, started: Starter, server: Any):
    """`start` says that PostgreSQL is away, waits for it, and no trial is trained twice."""
    url, file = server.get_uri(), hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL, "--database", url)
    until(lambda: finished(url) >= 5, "the first trials")
    server.stop()
    heard(search, "trying again")
    server.start()
    out, err = search.communicate(timeout=120)
    assert search.returncode == 0, out + err
    trials = hpsearch.json("trials", "slow", "--database", url)
    assert {trial["attempts"] for trial in trials} == {1}

    reference = ("--database", "sqlite:///undisturbed.db")
    assert hpsearch("start", file, *LOCAL, *reference).returncode == 0
    assert comparable(trials) == comparable(hpsearch.json("trials", "slow", *reference))


def test_ctrl_c_is_heard_while_the_server_is_away(hpsearch: Command, started: Starter, server: Any):
    """Nobody has to wait for a database to stop a search that waits for it."""
    url, file = server.get_uri(), hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL, "--database", url)
    until(lambda: finished(url) >= 5, "the first trials")
    server.stop()
    heard(search, "trying again")
    search.send_signal(signal.SIGINT)
    _, err = search.communicate(timeout=15)
    assert search.returncode in {2, 130}, err
    assert "Traceback" not in err
    until(lambda: not session_of(search), "the end of every process", seconds=10)


def test_a_server_that_is_not_there_is_said_at_once(hpsearch: Command, server: Any):
    """Who types an address where nothing answers is not kept waiting."""
    url, file = server.get_uri(), hpsearch.write("slow.toml", SLOW_STUDY)
    server.stop()
    refused = hpsearch("start", file, *LOCAL, "--database", url, timeout=30)
    assert refused.returncode == 2
    assert "no server answers there" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
