"""A study that tries every combination of what was written down, tables among it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.acceptance.conftest import GRID_STUDY, Command, comparable, until

LOCAL = ("--tracking", "none")
SGD = {"name": "sgd", "learning_rate": 0.1}
ADAM = {"name": "adam", "learning_rate": 0.01}
NORMAL = {"normal": 0.01}
COMBINATIONS = [
    {"optimizer": SGD, "initializer": "he"},
    {"optimizer": SGD, "initializer": NORMAL},
    {"optimizer": ADAM, "initializer": "he"},
    {"optimizer": ADAM, "initializer": NORMAL},
]


def test_a_grid_tries_every_combination_in_order(hpsearch: Command):
    """`start` trains all combinations once, as they are written, and shows them readably."""
    file = hpsearch.write("grid.toml", GRID_STUDY)
    assert "1 round of 4 trials" in hpsearch("check", file).stdout
    done = hpsearch("start", file, *LOCAL)
    assert done.returncode == 0, done.stderr
    assert "1 round of 4 trials" in done.stdout
    words = " ".join(done.stdout.split())  # a narrow terminal breaks lines anywhere
    assert "sgd (learning_rate=0.1)" in words
    assert "a grid tries every combination once and narrows nothing" in words
    trials = [t for t in hpsearch.json("trials", "grid") if t["purpose"] == "search"]
    assert [trial["values"] for trial in trials] == COMBINATIONS
    assert {trial["state"] for trial in trials} == {"complete"}
    document = hpsearch.json("show", "grid")
    assert (document["planned"], document["complete"]) == (4, 4)
    assert document["rounds"][0]["ranges"]["optimizer"] == {"choices": [SGD, ADAM]}
    assert document["winner"]["values"] in COMBINATIONS
    assert {row["decision"] for row in hpsearch.json("ranges", "grid")} == {"declared", "kept"}


@pytest.mark.slow
def test_what_a_table_brings_is_what_is_trained(hpsearch: Command):
    """A trial of a table has the curve of a study whose file says the same in its own tables."""
    hpsearch("start", hpsearch.write("grid.toml", GRID_STUDY), *LOCAL)
    head, tail = GRID_STUDY.split("optimizer = {")[0], GRID_STUDY.split("] }\n", 1)[1]
    head = head.replace("grid", "plain").replace("epochs", 'optimizer = "adam"\nepochs')
    plain = (head + tail).replace("epochs", "learning_rate = 0.01\nepochs")
    done = hpsearch("start", hpsearch.write("plain.toml", plain), *LOCAL)
    assert done.returncode == 0, done.stderr
    curves = {
        name: [t["epochs"] for t in hpsearch.json("trials", name) if t["purpose"] == "search"]
        for name in ("grid", "plain")
    }
    assert curves["grid"][2:] == curves["plain"]


@pytest.mark.slow
def test_a_grid_is_gone_on_with(hpsearch: Command, started):
    """Killed in its middle, a grid is finished by the same command with the table it would have."""
    slow = GRID_STUDY.replace("epochs = 3", "epochs = 60").replace("limit = 300", "")
    file = hpsearch.write("grid.toml", slow)
    alone = ("--population", "1", "--workers", "1")
    whole = ("--database", "sqlite:///whole.db")
    assert hpsearch("start", file, *whole, *LOCAL).returncode == 0
    process = started("start", file, *alone, *LOCAL)
    until(lambda: _finished(hpsearch) > 0, "a trial")
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    done = hpsearch("start", file, "--trials", "4", *LOCAL)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stdout
    assert comparable(hpsearch.json("trials", "grid")) == comparable(
        hpsearch.json("trials", "grid", *whole)
    )


def _finished(hpsearch: Command) -> int:
    """How many trials are done, in a database that is perhaps not there yet."""
    file = hpsearch.folder / "hpsearch.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        try:
            query = "SELECT count(*) FROM hpsearch_trial WHERE state = 'complete'"
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_another_grid_under_the_same_name_is_refused(hpsearch: Command):
    """A changed table is named with both values, and a number that is no grid's is refused."""
    file = hpsearch.write("grid.toml", GRID_STUDY)
    hpsearch("start", file, *LOCAL)
    changed = hpsearch.write("other.toml", GRID_STUDY.replace("0.01 },", "0.02 },"))
    done = hpsearch("start", changed, *LOCAL)
    assert done.returncode == 2
    assert (
        f"[space] optimizer.choices: {json.dumps([SGD, ADAM | {'learning_rate': 0.02}])} here"
        in (done.stderr)
    )
    done = hpsearch("start", file, "--trials", "5", *LOCAL)
    assert done.returncode == 2
    assert "[search] trials = 5: [space] has 4 combinations; write trials = 4" in done.stderr


@pytest.mark.slow
def test_optuna_and_mlflow_show_a_table_as_text(hpsearch: Command):
    """Optuna's params and MLflow's have one readable text for a choice that is a table."""
    done = hpsearch("start", hpsearch.write("grid.toml", GRID_STUDY))
    assert done.returncode == 0, done.stderr
    code = (
        "import json, mlflow, optuna\n"
        "study = optuna.load_study(study_name='grid', storage='sqlite:///hpsearch.db')\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "runs = mlflow.search_runs(search_all_experiments=True, output_format='list')\n"
        "print(json.dumps([[t.params for t in study.trials],"
        " [r.data.params for r in runs if r.data.tags.get('purpose') == 'search'"
        " and 'number' in r.data.tags]]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=hpsearch.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = {
        (optimizer, initializer)
        for optimizer in ("sgd, learning_rate=0.1", "adam, learning_rate=0.01")
        for initializer in ("he", "normal=0.01")
    }
    for params in json.loads(said.stdout):
        assert len(params) == 4
        assert {(p["optimizer"], p["initializer"]) for p in params} == expected
