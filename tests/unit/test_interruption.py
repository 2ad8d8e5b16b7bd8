"""Ctrl-C is heard whatever `start` waits for."""

import signal
import time

import pytest
from typer.testing import CliRunner

from hpsearch.cli.main import app
from hpsearch.errors import DatabaseUnavailableError, Interrupted
from hpsearch.service import Search, StartOptions
from hpsearch.store.database import Database
from hpsearch.study_file import parse_study

STUDY = """
name = "tiny"
[data]
source = "moons"
samples = 60
[model]
hidden = [2]
[training]
epochs = 1
[space]
learning_rate = { low = 1e-3, high = 1e-1, scale = "log" }
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 1
trials = 2
[confirmation]
finalists = 1
seeds = 1
most_seeds = 1
winner_seeds = 0
"""


@pytest.fixture
def url(tmp_path):
    """Address of a database that is not there yet."""
    return f"sqlite:///{tmp_path}/tiny.db"


def away(*_args, **_options):
    raise DatabaseUnavailableError("nobody there")


def sleep(*_arguments):
    """Stand for a test that takes long."""
    time.sleep(30)


def test_ctrl_c_ends_the_test_of_the_winner(url, monkeypatch):
    """Nobody has to wait for the final training; the next `start` opens the split."""
    monkeypatch.setattr("hpsearch.service.open_sealed_test", sleep)
    options = StartOptions(database=url, tracking="none", launcher="inline", workers=1)
    search = Search(parse_study(STUDY, "tiny.toml"), STUDY, options)

    def interrupt(progress):
        if progress.phase == "final":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        search.run(search.open(), interrupt)
    search.close()


def test_an_outage_is_shown_while_the_winner_is_tested(url, monkeypatch):
    """`start` is not silent then: it looks at the database itself, and says that it is away."""
    monkeypatch.setattr("hpsearch.service.open_sealed_test", sleep)
    options = StartOptions(database=url, tracking="none", launcher="inline", workers=1)
    search = Search(parse_study(STUDY, "tiny.toml"), STUDY, options)
    outages = []

    def watch(progress):
        if progress.outage is not None:
            outages.append(progress.outage)
            signal.raise_signal(signal.SIGINT)
        elif progress.phase == "final":
            monkeypatch.setattr(Database, "_transaction", away)

    with pytest.raises(Interrupted):
        search.run(search.open(), watch)
    assert outages == ["nobody there; trying again"]
    search.close()


def test_ctrl_c_during_an_outage_is_an_interruption(url, tmp_path, monkeypatch):
    """Code 130 and one line that says why it cannot be said how far the study is."""

    def interrupted(*_args):
        monkeypatch.setattr(Database, "_transaction", away)
        signal.raise_signal(signal.SIGINT)
        away()

    monkeypatch.setattr("hpsearch.service._progress", interrupted)
    file = tmp_path / "tiny.toml"
    file.write_text(STUDY)
    local = ("--database", url, "--tracking", "none", "--launcher", "inline", "--workers", "1")
    result = CliRunner().invoke(app, ["start", str(file), *local, "--json"])
    assert (result.exit_code, result.stdout) == (130, "")
    assert "stopped while its database is away (nobody there); nothing is lost" in result.stderr
