"""What `hpsearch verify` says of studies: as they were trained, changed, and still running."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.acceptance.conftest import SLOW_STUDY, Command, until
from tests.faults.test_kill import finished

LOCAL = ("--tracking", "none")


def change(hpsearch: Command, *statements: str) -> None:
    with closing(sqlite3.connect(hpsearch.folder / "hpsearch.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def test_a_study_verifies_with_its_copy_and_nothing_is_opened(copied: Command):
    """Every trial is replayed equal, MLflow has a run for each row, the split is opened once."""
    done = copied("verify", "small", "--trials", "100")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    assert lines[0].split()[1] == "machine:"
    assert sum("equal bit for bit" in line for line in lines) == 16 + 4 + 1
    assert lines[-1].split(": ")[1] == "26 runs, one for each row"
    assert copied.json("show", "small")["test"]["openings"] == 1


def test_a_changed_study_has_one_line_for_each_disagreement(small: Command):
    """One bit of a metric, a range and a trial: each is named, and the exit code is 1."""
    change(
        small,
        "UPDATE hpsearch_ledger SET elites = elites + 1 WHERE round = 2 AND position = 0",
        "UPDATE hpsearch_epoch SET metrics = json_set(metrics, '$.validation_loss', 0.125) "
        "WHERE epoch = 3 AND trial_id IN "
        "(SELECT id FROM hpsearch_trial WHERE purpose = 'search' AND number = 2)",
    )
    done = small("verify", "small", "--trial", "2", *LOCAL)
    assert done.returncode == 1, done.stdout
    replay, ledger = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
    assert "search 2: 1 of 16 figures differ, first validation_loss of epoch 3: 0.125" in replay
    assert "ledger: range of learning_rate in round 2: elites" in ledger
    confirmed = ("--trial", "0", "--purpose", "confirmation", "--json")
    other = small("verify", "small", *confirmed, *LOCAL)
    document = json.loads(other.stdout)
    assert (document["study"], document["verdict"], document["seed"]) == ("small", "wrong", None)
    assert [f["check"] for f in document["findings"] if f["verdict"] == "wrong"] == ["ledger"]
    assert "confirmation 0: all 16 figures" in other.stderr


@pytest.mark.slow
def test_a_study_verifies_while_it_runs(hpsearch: Command, started):
    """What is finished is replayed, rounds that are open are checked as far as they are."""
    file = hpsearch.write("slow.toml", SLOW_STUDY)
    process = started("start", file, *LOCAL, "--no-test", "--trials", "1000")
    until(lambda: finished(hpsearch) > 0, "a finished trial")
    done = hpsearch("verify", "slow", "--trials", "2", "--seed", "1", *LOCAL)
    assert process.poll() is None
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum("equal bit for bit" in line for line in done.stdout.splitlines()) == 2
    assert "--seed 1 chooses them again" in done.stdout


def test_what_was_typed_wrongly_is_one_line(small: Command):
    """A trial that is not there, one trial and several, a study that is not there: exit code 2."""
    mistakes = {
        ("small", "--trial", "99"): "there is no search trial 99",
        ("small", "--trial", "1", "--purpose", "final"): "there is no final trial 1",
        ("small", "--trial", "1", "--trials", "2"): "--trial names the one to replay",
        ("small", "--purpose", "all"): "'search', 'repeat', 'control', 'confirmation'",
        ("smal",): "no such study; there is small",
    }
    for arguments, words in mistakes.items():
        assert words in small.refusal("verify", *arguments, *LOCAL)
