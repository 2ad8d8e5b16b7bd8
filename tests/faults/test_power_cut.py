"""A power cut takes the last commits from an SQLite file, but never a study, a close or an opening.

With synchronous=NORMAL a commit may still be in the system's memory; with FULL the log is on the
disk, and with it all that was committed before. So what a cut leaves at worst are the files as they
stood after the last durable commit, with half of the next one behind them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, Pool, event

from hpsearch.store.database import open_database
from tests.faults.test_crash_windows import (
    create,
    figure,
    open_split,
    recovered,
    search,
    table,
)

pytestmark = pytest.mark.slow

# What may not be lost, in the words of the tables.
KEPT = (
    "SELECT id, state, winner FROM hpsearch_study ORDER BY id",
    "SELECT id, state FROM hpsearch_round ORDER BY id",
    "SELECT id FROM hpsearch_ledger ORDER BY id",
    "SELECT id, finished, result FROM hpsearch_test_opening ORDER BY id",
)
FULL = 2  # what PRAGMA synchronous says
FINISHED = "SELECT count(*) FROM hpsearch_trial WHERE finished IS NOT NULL"


@dataclass(frozen=True)
class Commit:
    """The files right after a commit: the database, its log, and whether that was synchronised."""

    durable: bool
    file: bytes
    log: bytes

    def restored(self, folder: Path, torn: bytes = b"") -> Path:
        """The files in a folder of their own, with a part of what was written next."""
        folder.mkdir()
        (folder / "hpsearch.db").write_bytes(self.file)
        (folder / "hpsearch.db-wal").write_bytes(self.log + torn)
        return folder / "hpsearch.db"


@contextmanager
def recorded(file: Path) -> Iterator[list[Commit]]:
    """Every commit to a file, by whatever connection of this process."""
    commits: list[Commit] = []
    levels: list[int] = []

    def before(connection: Connection) -> None:
        levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    def after(_connection: object, _record: object) -> None:
        log = file.with_name(f"{file.name}-wal").read_bytes()
        durable = FULL in levels
        levels.clear()
        if not commits or log != commits[-1].log:  # who only reads commits, too
            commits.append(Commit(durable, file.read_bytes(), log))

    event.listen(Engine, "commit", before)
    event.listen(Pool, "checkin", after)
    # Whoever closes a file last empties its log; as long as this one reads, nobody is the last.
    with closing(sqlite3.connect(file)) as reader:
        reader.execute(FINISHED)
        try:
            yield commits
        finally:
            event.remove(Engine, "commit", before)
            event.remove(Pool, "checkin", after)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole search with its opening, on which no power was cut."""
    file = tmp_path_factory.mktemp("undisturbed") / "hpsearch.db"
    open_database(url(file), create=True).close()
    return file


@pytest.fixture(scope="module")
def commits(undisturbed: Path) -> list[Commit]:
    """Its commits, from the empty tables to the test figure."""
    with recorded(undisturbed) as commits:
        for work in (create, search, open_split):
            work(url(undisturbed))
    return commits


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def rows(file: Path, *queries: str) -> list[object]:
    with closing(sqlite3.connect(file)) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def test_what_may_not_be_lost_is_synchronised(commits: list[Commit], tmp_path: Path) -> None:
    """Every commit that makes a study, opens or closes a round or an opening is a durable one."""
    durable, kept = 0, []
    for number, commit in enumerate(commits):
        kept.append(rows(commit.restored(tmp_path / str(number)), *KEPT))
    for commit, (before, after) in zip(commits[1:], pairwise(kept), strict=True):
        assert commit.durable or before == after
        durable += before != after
    assert durable == 6  # the study, three closes, an opening and its figure
    assert sum(commit.durable for commit in commits) == 6, "and nothing else waits for the disk"


def test_a_search_goes_on_after_a_power_cut(
    undisturbed: Path, commits: list[Commit], tmp_path: Path
) -> None:
    """Cut back to any durable commit, studies, closes and openings stand; the table is the same."""
    with closing(open_database(url(undisturbed))) as database:
        wanted = table(database), figure(database)
    durable = [number for number, commit in enumerate(commits) if commit.durable]
    lost = 0
    for cut, following in pairwise([*durable, len(commits)]):
        now, last = commits[cut], commits[following - 1]
        later = commits[min(cut + 1, len(commits) - 1)]
        assert later.log.startswith(now.log)
        torn = later.log[len(now.log) : (len(now.log) + len(later.log)) // 2]
        file = now.restored(tmp_path / f"cut-{cut}", torn)
        whole = last.restored(tmp_path / f"whole-{cut}")
        assert rows(file, *KEPT) == rows(whole, *KEPT)
        assert rows(file, "PRAGMA integrity_check") == [[("ok",)]]
        lost += rows(file, FINISHED) != rows(whole, FINISHED)
        with closing(open_database(url(file))) as database:
            recovered(database)
            search(url(file))
            open_split(url(file))
            assert (table(database), figure(database)) == wanted
    assert lost == 3, "each round was once cut back to before its first trial"
