"""The same study gives the same table, whoever trains it and in whatever company."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest

from hpsearch.space import Box
from hpsearch.store.reading import study_document, trials_document
from hpsearch.store.studies import load_study
from hpsearch.worker import WorkerOptions, run_worker

ALLOWED_TO_DIFFER = ("started", "finished", "worker", "attempts")
SEARCH = {"rounds": 2, "trials": 12}
# One good trial of the first round over four fresh seeds.
REPEATS = 4


def table(database, study):
    """The bytes of `trials --json` that must be the same."""
    document = trials_document(database, study)
    for trial in document:
        for field in ALLOWED_TO_DIFFER:
            del trial[field]
    return json.dumps(document).encode()


def run_in_threads(url, study, workers, population):
    options = WorkerOptions(url, study.name, population=population)
    with ThreadPoolExecutor(workers) as pool:
        runs = [pool.submit(run_worker, options, threading.Event()) for _ in range(workers)]
        return sum(run.result(timeout=60) for run in runs)


PROCESS = """
import sys, threading
from hpsearch.worker import WorkerOptions, run_worker

run_worker(WorkerOptions(sys.argv[1], sys.argv[2], population=5), threading.Event())
"""


def run_in_processes(url, study, workers):
    command = [sys.executable, "-c", PROCESS, url, study.name]
    processes = [subprocess.Popen(command) for _ in range(workers)]
    assert [process.wait(timeout=60) for process in processes] == [0] * workers


@pytest.mark.parametrize(
    ("sampler", "seeds", "narrowing"),
    [
        ("sobol", "common", "elites"),
        ("random", "fresh", "elites"),
        ("auto", "blocks", "posterior"),
    ],
)
def test_the_table_does_not_depend_on_workers(
    database, database_url, make_real_study, sampler, seeds, narrowing
):
    """1 worker or 2, one trial at a time or 8: every value and every measured figure is equal."""
    search = SEARCH | {"sampler": sampler, "seeds": seeds, "narrowing": narrowing}
    search |= {"waves": 3} if sampler == "auto" else {}
    tables = set()
    for name, workers, population in (("one", 1, 1), ("stacked", 1, 8), ("two", 2, 8)):
        study = make_real_study(name=name, search=search)
        assert run_in_threads(database_url, study, workers, population) == 24 + REPEATS + 4
        tables.add(table(database, study))
    assert len(tables) == 1


def test_the_table_does_not_depend_on_processes(database, database_url, make_real_study):
    """Two processes that share a study fill the same table as one thread alone."""
    alone = make_real_study(name="alone", search=SEARCH)
    shared = make_real_study(name="shared", search=SEARCH)
    run_in_threads(database_url, alone, 1, 1)
    run_in_processes(database_url, shared, 2)
    assert load_study(database, "shared").winner == load_study(database, "alone").winner
    assert table(database, shared) == table(database, alone)


def test_the_seed_decides_the_table(database, database_url, make_real_study):
    """Another study seed gives another table: the tests above compare something."""
    tables = set()
    for seed in (0, 1):
        study = make_real_study(name=f"seed-{seed}", seed=seed, search=SEARCH)
        run_in_threads(database_url, study, 1, 8)
        tables.add(table(database, study))
    assert len(tables) == 2


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_optunas_samplers_keep_the_budget_and_the_box(
    database, database_url, make_real_study, sampler
):
    """Trials that are placed when they are claimed are as many as planned, all in their box."""
    study = make_real_study(name=sampler, search=SEARCH | {"sampler": sampler})
    run_in_threads(database_url, study, 2, 3)
    document = study_document(database, load_study(database, study.name))
    assert (document["state"], document["planned"]) == ("complete", 24)
    ended = ("complete", "diverged", "discarded", "failed")
    assert sum(document[state] for state in ended) == 24
    boxes = [Box.from_document(round_["ranges"]) for round_ in document["rounds"]]
    search = [t for t in trials_document(database, study) if t["purpose"] == "search"]
    assert [trial["number"] for trial in search] == list(range(24))
    assert all(boxes[trial["round"] - 1].contains(trial["values"]) for trial in search)
    assert len({json.dumps(trial["values"]) for trial in search}) == 24


def test_what_lies_beyond_a_round_s_box_is_in_its_distribution(
    database, database_url, make_real_study, monkeypatch
):
    """Optuna reads back every trial that looks further with a value its range holds."""
    further = {"learning_rate": 0.5, "weight_decay": 1e-6}
    monkeypatch.setattr("hpsearch.search.rounds.plan", lambda *_: [further] * 12)
    space = {
        "learning_rate": {"low": 1e-6, "high": 1e-4, "scale": "log", "limits": [1e-6, 1.0]},
        "weight_decay": {"low": 1e-8, "high": 1e-4, "scale": "log"},
    }
    search = {"rounds": 1, "trials": 12, "narrowing": "posterior"}
    study = make_real_study(name="further", space=space, search=search)
    run_in_threads(database_url, study, 1, 8)
    for name in ("further", "further/confirmation"):
        for trial in optuna.load_study(study_name=name, storage=database.storage).trials:
            assert trial.params == further
            for key, kind in trial.distributions.items():
                assert kind.low <= trial.params[key] <= kind.high
