"""A database that goes away and comes back: nothing lost, nothing twice, nobody has to type."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.acceptance.conftest import (
    SLOW_STUDY,
    Command,
    comparable,
    kill_session,
    session_of,
    until,
)

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
    """Read what a command prints until it has said something; one that is silent is ended."""
    assert search.stdout is not None
    silent = threading.Timer(120, kill_session, [search])
    silent.start()
    try:
        assert any(words in line for line in search.stdout), f"it ended without saying {words!r}"
    finally:
        silent.cancel()


@pytest.mark.slow
def test_a_server_that_restarts_costs_no_trial(
    hpsearch: Command, started: Starter, server: Any, undisturbed_slow: str
):
    """`start` says that PostgreSQL is away, waits for it, and no trial is trained twice."""
    url, file = server.get_uri(), hpsearch.write("slow.toml", SLOW_STUDY)
    # One trial at a time, so that the search is not over before the server is away.
    alone = ("--workers", "1", "--population", "1")
    search = started("start", file, *alone, *LOCAL, "--database", url)
    until(lambda: finished(url) >= 5, "the first trials")
    server.stop()
    heard(search, "trying again")
    server.start()
    out, err = search.communicate(timeout=120)
    assert search.returncode == 0, out + err
    trials = hpsearch.json("trials", "slow", "--database", url)
    assert {trial["attempts"] for trial in trials} == {1}
    assert comparable(trials) == undisturbed_slow


@pytest.mark.slow
def test_ctrl_c_is_heard_while_the_server_is_away(hpsearch: Command, started: Starter, server: Any):
    """Nobody has to wait for a database to stop a search that waits for it."""
    url, file = server.get_uri(), hpsearch.write("slow.toml", SLOW_STUDY)
    search = started("start", file, *LOCAL, "--database", url)
    until(lambda: finished(url) >= 5, "the first trials")
    server.stop()
    heard(search, "trying again")
    search.send_signal(signal.SIGINT)
    _, err = search.communicate(timeout=15)
    assert search.returncode == 130, err
    assert "Traceback" not in err
    until(lambda: not session_of(search), "the end of every process", seconds=10)
