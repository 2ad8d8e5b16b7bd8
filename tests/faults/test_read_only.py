"""A disk that is mounted read-only: studies there are shown, and nobody begins to write."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.conftest import SMALL_STUDY, Command

pytestmark = pytest.mark.slow

LOCAL = ("--tracking", "none")


@pytest.fixture
def shown(hpsearch: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished study as a disk that cannot be written, mounted beside it."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    assert hpsearch.apart("start", file, *LOCAL).returncode == 0
    place = tmp_path_factory.mktemp("disk")
    if subprocess.run(["mount", "--bind", hpsearch.folder, place], check=False).returncode:
        pytest.skip("only root may mount a disk")
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_study_is_shown_as_it_is(hpsearch: Command, shown: Path):
    """What only reads says the same as on a disk that can be written."""
    there = ("--database", f"sqlite:///{shown}/hpsearch.db")
    for command in (["list"], ["show", "small"], ["ranges", "small"], ["trials", "small"]):
        assert hpsearch.json(*command, *there) == hpsearch.json(*command)
    assert hpsearch.apart("doctor", *there, *LOCAL).returncode == 0


def test_nobody_begins_to_write(hpsearch: Command, shown: Path):
    """`start` says in one line which file or folder cannot be written, and leaves nothing there."""
    before = sorted(shown.iterdir())
    for name, said in (("hpsearch.db", "the file is read-only"), ("new.db", "its folder is")):
        database = ("--database", f"sqlite:///{shown / name}")
        done = hpsearch.apart("start", "small.toml", *database, *LOCAL)
        (line,) = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{shown / name}: {said}" in line
    assert sorted(shown.iterdir()) == before


def test_what_is_being_written_is_shown(hpsearch: Command, shown: Path):
    """While others, who may, write the same file elsewhere, their log is read too."""
    there = ("--database", f"sqlite:///{shown}/hpsearch.db")
    with closing(sqlite3.connect(hpsearch.folder / "hpsearch.db", isolation_level=None)) as writer:
        writer.execute("UPDATE hpsearch_study SET state = 'running'")
        assert hpsearch.json("list", *there)[0]["state"] != "complete"
