"""What a user sees of one search, from the first command to the last."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

from tests.acceptance.conftest import SMALL_STUDY, Command, comparable

LOCAL = ("--tracking", "none")


def test_start_runs_a_study_to_its_end(hpsearch: Command):
    """`start` exits with 0 and prints rounds, winner, test figure and the next command."""
    done = hpsearch.apart("start", hpsearch.write("small.toml", SMALL_STUDY), *LOCAL)
    assert done.returncode == 0, done.stderr
    for word in ("round", "Winner", "Test", "sealed rows", "hpsearch ranges small"):
        assert word in done.stdout
    assert done.stderr == ""


def test_json_is_one_document_and_adds_up(hpsearch: Command):
    """`start --json` prints one JSON document whose trials add up to the plan."""
    document = hpsearch.json("start", hpsearch.write("small.toml", SMALL_STUDY), *LOCAL)
    ended = sum(document[s] for s in ("complete", "diverged", "discarded", "failed"))
    assert document["state"] == "complete"
    assert document["planned"] == ended == 16
    assert [r["round"] for r in document["rounds"]] == [1, 2]
    assert document["test"]["openings"] == 1
    low, high = document["test"]["interval"]
    assert low <= document["test"]["score"] <= high
    assert document == hpsearch.json("show", "small")


def test_what_nobody_chose_is_planned_in_waves_narrowed_by_the_posterior_and_raced(
    hpsearch: Command,
):
    """A file with a space and sizes: the ledger has the rule, the winner seeds of its own."""
    text = """
name = "plain"
[data]
source = "moons"
samples = 200
[model]
hidden = [4]
[training]
epochs = 3
[space]
learning_rate = { low = 1e-4, high = 1e-2, scale = "log", limits = [1e-5, 1.0] }
[search]
rounds = 2
trials = 24
"""
    document = hpsearch.json("start", hpsearch.write("plain.toml", text), *LOCAL)
    assert document["winner"]["seeds"] == 5
    assert document["confirmation"]["finished"] >= 10 * 4 + 5
    rules = {row["rule"] for row in hpsearch.json("ranges", "plain") if row["round"] > 1}
    assert rules == {"box of the posterior's maxima"}


def test_a_finished_study_says_so(small: Command):
    """`start` on a finished study trains nothing, opens nothing, and shows the result."""
    before = small.json("show", "small")
    again = small("start", "small.toml", *LOCAL)
    assert again.returncode == 0
    assert "already finished" in again.stdout
    assert "`hpsearch start small --rounds 3 --tracking none` gives it another" in again.stdout
    assert small.json("show", "small") == before


def test_a_changed_file_is_refused_with_what_differs(small: Command):
    """A stored study started with other settings names the difference and a way out."""
    done = small("start", "small.toml", "--trials", "9", *LOCAL)
    assert done.returncode == 2
    assert "[search] trials: 9 here, 8 there" in done.stderr
    assert "--name small-2" in done.stderr


def test_start_by_name_brings_an_older_database_up_to_date(hpsearch: Command):
    """`start` finds a study in an older schema by its name, which `new --from` leaves unread."""
    file = hpsearch.write("mine.toml", SMALL_STUDY.replace('"small"', '"digits"'))
    before = hpsearch.json("start", file, *LOCAL)
    _as_of_the_first_schema(hpsearch)
    assert hpsearch("new", "copy", "--from", "digits").returncode == 0
    assert 'source = "digits"' in (hpsearch.folder / "copy.toml").read_text()  # the shipped one
    assert _schema(hpsearch) == "0001"
    assert hpsearch.json("start", *LOCAL) == before  # without a name it means digits
    assert _schema(hpsearch) != "0001"


def _schema(hpsearch: Command) -> str:
    with closing(sqlite3.connect(hpsearch.folder / "hpsearch.db")) as connection:
        found = connection.execute("SELECT version_num FROM hpsearch_alembic_version").fetchone()
    return str(found[0])


def _as_of_the_first_schema(hpsearch: Command) -> None:
    """Take the folder's database back to the tables of the first version of hpsearch."""
    from alembic import command

    from hpsearch.store.database import migrations_config, open_database

    database = open_database(f"sqlite:///{hpsearch.folder}/hpsearch.db")
    config = migrations_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    database.close()


def test_the_test_split_stays_sealed_until_asked(hpsearch: Command):
    """--no-test is remembered, `test` opens later; once more only if asked, and reported so."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    assert hpsearch.json("start", file, "--no-test", *LOCAL)["test"] is None
    assert hpsearch.json("start", file, *LOCAL)["test"] is None
    first = hpsearch.json("test", "small")
    assert first["openings"] == 1
    known = hpsearch("test", "small")
    assert "--again` opens the split once more, which is counted" in " ".join(known.stdout.split())
    assert hpsearch.json("test", "small") == first
    second = hpsearch("test", "small", "--again")
    assert "opened 2 times" in second.stdout
    assert hpsearch.json("show", "small")["test"]["score"] == first["score"]


def test_workers_and_population_change_nothing(hpsearch: Command):
    """1 or 2 workers, populations of 1 or 8, inline or processes: the same table, byte for byte."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    tables = set()
    variants = [
        ("--workers", "1", "--population", "1"),
        ("--workers", "2", "--population", "8"),
        ("--launcher", "inline", "--workers", "2"),
    ]
    for number, variant in enumerate(variants):
        database = ("--database", f"sqlite:///{number}.db")
        done = hpsearch("start", file, *variant, *database, *LOCAL)
        assert done.returncode == 0, done.stderr
        tables.add(comparable(hpsearch.json("trials", "small", *database)))
    assert len(tables) == 1


def test_optuna_opens_the_database_as_it_is(small: Command):
    """`optuna.load_study` reads the search's trials, and its best is a search trial."""
    document = small.json("show", "small")
    code = (
        "import optuna; s = optuna.load_study(study_name='small', "
        "storage='sqlite:///hpsearch.db'); print(len(s.trials), s.best_value)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=small.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    best = max(r["best_score"] for r in document["rounds"])
    assert done.stdout.split() == ["16", str(best)]


def test_list_ranges_and_trials_read_well(small: Command):
    """The tables for people and the JSON for programs name the same trials and ranges."""
    assert "No studies" in _listed_after_nothing(small)
    assert "small" in small("list").stdout
    ranges = json.loads(small("ranges", "small", "--json").stdout)
    assert {r["round"] for r in ranges} == {1, 2, 3}
    assert {r["dimension"] for r in ranges} == {"learning_rate", "batch_size", "activation"}
    assert all(r["reason"] for r in ranges)
    trials = json.loads(small("trials", "small", "--json").stdout)
    assert [t["purpose"] for t in trials] == ["confirmation"] * 4 + ["final"] + ["search"] * 16
    assert len(small("trials", "small").stdout.splitlines()) > 21


def _listed_after_nothing(hpsearch: Command) -> str:
    """What `list` says of a database without studies."""
    from hpsearch.store.database import open_database

    open_database(f"sqlite:///{hpsearch.folder}/empty.db", create=True).close()
    return hpsearch("list", "--database", "sqlite:///empty.db").stdout


def test_new_writes_a_file_that_check_accepts(hpsearch: Command):
    """`new` writes a commented file, from the template or a shipped study, once."""
    for arguments in (("mine",), ("other", "--from", "mnist-500")):
        assert hpsearch("new", *arguments).returncode == 0
        checked = hpsearch("check", f"{arguments[0]}.toml")
        assert checked.returncode == 0
        assert "fine" in checked.stdout
    again = hpsearch("new", "mine")
    assert again.returncode == 2
    assert "already there" in again.stderr


def test_times_of_a_trial_are_its_own(hpsearch: Command):
    """Started and finished lie within the run and stand in the order they happened."""
    before = time.time()
    one_round = ("--rounds", "1", "--trials", "8", "--no-test")
    done = hpsearch("start", hpsearch.write("small.toml", SMALL_STUDY), *one_round, *LOCAL)
    assert done.returncode == 0
    with closing(sqlite3.connect(hpsearch.folder / "hpsearch.db")) as connection:
        rows = connection.execute("SELECT started, finished FROM hpsearch_trial").fetchall()
    assert len(rows) == 12
    assert all(before - 1 <= start <= end <= time.time() + 1 for start, end in rows)


def test_a_dry_run_says_the_plan_and_does_nothing(hpsearch: Command):
    """Two lines, or one document; no database, no MLflow, no trial."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    done = hpsearch("start", file, "--dry-run")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("small: ")
    assert second.startswith("Plan: ")
    document = hpsearch.json("start", file, "--dry-run")
    assert (document["study"], document["workers"] > 0) == ("small", True)
    assert [path.name for path in hpsearch.folder.iterdir()] == ["small.toml"]


def test_a_dry_run_of_a_study_that_was_begun_says_what_is_left(hpsearch: Command):
    """Nothing of a finished one, the further round of one that is to have it; neither is begun."""
    file = hpsearch.write("small.toml", SMALL_STUDY)
    one = ("--rounds", "1", "--trials", "8")
    assert hpsearch("start", file, *one, *LOCAL).returncode == 0
    before = hpsearch.json("show", "small")
    assert "already finished" in hpsearch("start", "small", "--dry-run").stdout
    assert "Left" not in hpsearch("start", "small", "--dry-run").stdout
    left = hpsearch.json("start", "small", "--rounds", "2", "--dry-run")
    assert (left["trials"], left["repeats"], left["final"]) == (8, 16, 0)
    refused = hpsearch("start", "small", "--seed", "8", "--dry-run")
    assert refused.returncode == 2
    assert "with other settings: seed" in refused.stderr
    assert hpsearch.json("show", "small") == before
