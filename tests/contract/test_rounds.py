"""A round closes once, whole, whoever dies; and so does the opening of the test split."""

import ast
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

import hpsearch.final
import hpsearch.worker
from hpsearch.data.sealed import open_test_rows
from hpsearch.errors import LeaseLostError, UserError
from hpsearch.final import open_sealed_test
from hpsearch.search.design import SearchDesign
from hpsearch.search.narrowing import Known
from hpsearch.search.rounds import close_round
from hpsearch.states import FINISHED
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.claims import claim
from hpsearch.store.database import Database, open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.openings import begin_opening, finish_opening
from hpsearch.store.reading import (
    elite_numbers,
    open_work,
    ranges_document,
    study_document,
    trials_document,
)
from hpsearch.store.results import commit
from hpsearch.store.rounds import release_closing, take_closing, write_closing
from hpsearch.store.studies import load_study
from hpsearch.store.workers import process_identity, recover_dead_workers, worker_stopped
from hpsearch.worker import WorkerOptions, close_finished_round, run_worker
from tests.contract.conftest import complete


def counts(database):
    """How many rows each of our tables has."""
    with database.reading() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in (tables.round_, tables.ledger, tables.trial)
        }


@pytest.fixture
def study(make_study):
    """A study of 2 rounds, too small to repeat trials: the second follows at once."""
    return make_study(search={"rounds": 2, "trials": 9})


@pytest.fixture
def trained(database, study, worker_id, quick_objective):
    """A study whose first round is trained and not closed."""
    objective = quick_objective()
    while (taken := claim(database, study.id, worker_id, 12)) is not None:
        commit(database, taken, {t.id: objective.result(t.values, t.seed) for t in taken.trials})
    return study


def decide(study, task):
    known = Known(lambda: task.done.outcomes, tuple, tuple, study.validation_rows)
    return close_round(SearchDesign.of(study.spec), task.done, known)


def forget_closing(database):
    """The lease of the close has lapsed: its holder has died, or sleeps."""
    with database.writing() as connection:
        connection.execute(update(tables.round_).values(closing_until=0.0))


# --------------------------------------------------------------------- closing


def test_an_unfinished_round_cannot_be_closed(database, study, worker_id):
    """Nobody closes a round with a trial waiting or running."""
    assert take_closing(database, study.id, worker_id) is None
    while claim(database, study.id, worker_id, 12) is not None:
        assert take_closing(database, study.id, worker_id) is None
    assert take_closing(database, study.id, worker_id) is None
    assert counts(database)["hpsearch_round"] == 1


def test_two_closers_close_once(database, database_url, trained, worker_id):
    """Of many workers that find a round finished at the same time exactly one closes it."""
    start = threading.Barrier(4)

    def close(_):
        own = open_database(database_url)
        start.wait(timeout=30)
        closed = close_finished_round(own, trained, worker_id)
        own.close()
        return closed

    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(close, range(4)))
    assert closed.count(True) == 1
    assert counts(database) == {"hpsearch_round": 2, "hpsearch_ledger": 8, "hpsearch_trial": 18}


def test_a_close_under_way_is_not_taken_twice(database, trained, worker_id):
    """While the lease of a close stands nobody else gets it."""
    assert take_closing(database, trained.id, worker_id) is not None
    assert take_closing(database, trained.id, worker_id) is None


# SQLite has one writer at a time, whatever it writes.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_queues_for_a_close(database, database_url, trained, worker_id):
    """Who comes while a close is being taken goes on at once, however many come."""
    impatient = parse_url(database_url).update_query_dict({"options": "-c lock_timeout=5s"})
    other = open_database(impatient.render_as_string(hide_password=False))
    round_ = tables.round_.c
    held = select(tables.round_).where(round_.study_id == trained.id).with_for_update()
    with closing(other), database.writing() as connection:
        connection.execute(held)
        assert take_closing(other, trained.id, worker_id) is None
    assert take_closing(database, trained.id, worker_id) is not None


def test_a_lapsed_close_is_taken_over(database, trained, worker_id):
    """The closer that came too late is told so, and what it decided is not written."""
    late = take_closing(database, trained.id, worker_id)
    forget_closing(database)
    assert close_finished_round(database, trained, worker_id)
    before = counts(database)
    with pytest.raises(LeaseLostError):
        write_closing(database, late, trained.spec.space, decide(trained, late))
    assert counts(database) == before


def test_only_the_holder_of_the_lease_may_close(database, trained, worker_id):
    """A closer whose lease was given away writes nothing, also before the new holder has."""
    late = take_closing(database, trained.id, worker_id)
    forget_closing(database)
    holder = take_closing(database, trained.id, worker_id)
    with pytest.raises(LeaseLostError):
        write_closing(database, late, trained.spec.space, decide(trained, late))
    assert counts(database)["hpsearch_round"] == 1
    write_closing(database, holder, trained.spec.space, decide(trained, holder))
    assert counts(database)["hpsearch_round"] == 2


def test_a_crash_before_the_close_loses_nothing(database, trained, work, worker_id):
    """A round whose last worker died after its last commit is closed by the next one."""
    take_closing(database, trained.id, worker_id)
    forget_closing(database)
    after = work(trained)
    assert after.state == "complete"
    assert [r["state"] for r in study_document(database, after)["rounds"]] == ["closed", "closed"]


def test_a_closer_that_fails_gives_the_close_back(database, trained, worker_id, monkeypatch):
    """After an error in the middle of a close nobody waits for its lease."""

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(hpsearch.worker, "_decide", fail)
        with pytest.raises(MemoryError):
            close_finished_round(database, trained, worker_id)
    assert close_finished_round(database, trained, worker_id)


def test_a_late_closer_takes_nothing_back(database, trained, worker_id):
    """Giving back a close that somebody else holds by now leaves it to its new holder."""
    late = take_closing(database, trained.id, worker_id)
    forget_closing(database)
    holder = take_closing(database, trained.id, worker_id)
    release_closing(database, late)
    assert take_closing(database, trained.id, worker_id) is None
    write_closing(database, holder, trained.spec.space, decide(trained, holder))


def test_a_dead_closer_stops_nobody(database, trained, worker_id, make_worker):
    """The close of a killed process of this machine is free as soon as its death is seen."""
    take_closing(database, trained.id, worker_id)
    *place, born = process_identity(os.getpid()).split("|")
    with database.writing() as connection:
        mine = tables.worker.c.id == worker_id
        connection.execute(
            update(tables.worker).where(mine).values(process="|".join([*place, f"{born}0"]))
        )
    other = make_worker(trained)
    assert take_closing(database, trained.id, other) is None
    assert recover_dead_workers(database, trained.id) == 0
    assert close_finished_round(database, trained, other)


def test_a_closer_that_leaves_stops_nobody(database, trained, worker_id, make_worker):
    """A worker that has left holds no close."""
    take_closing(database, trained.id, worker_id)
    worker_stopped(database, worker_id)
    assert close_finished_round(database, trained, make_worker(trained))


class FailingStorage(BulkStorage):
    """Fails after the last row of a round is written, before anything is committed."""

    def insert_waiting(self, *arguments):
        super().insert_waiting(*arguments)
        raise ConnectionError("the power is gone")


def test_a_close_is_written_whole_or_not_at_all(database, database_url, trained, worker_id):
    """When the transaction breaks off, no ledger row, round or trial of it is there."""
    task = take_closing(database, trained.id, worker_id)
    before = counts(database)
    failing = Database(FailingStorage(database_url, create=False))
    with pytest.raises(ConnectionError):
        write_closing(failing, task, trained.spec.space, decide(trained, task))
    failing.close()
    assert counts(database) == before
    assert open_work(database, trained)["round"] == 1
    write_closing(database, task, trained.spec.space, decide(trained, task))
    assert counts(database) == {"hpsearch_round": 2, "hpsearch_ledger": 8, "hpsearch_trial": 18}


def test_the_next_round_lies_in_the_ledgers_box(database, trained, worker_id):
    """The ranges of round 2 are those of its ledger, and all its trials lie inside."""
    close_finished_round(database, trained, worker_id)
    box = decide_box(database, trained)
    second = [t for t in trials_document(database, trained) if t["round"] == 2]
    ledger = [row for row in ranges_document(database, trained) if row["round"] == 2]
    assert [t["number"] for t in second] == list(range(9, 18))
    assert all(box.contains(trial["values"]) for trial in second)
    ranges = study_document(database, trained)["rounds"][1]["ranges"]
    for row in ledger:
        assert ranges[row["dimension"]].items() <= row.items()


def decide_box(database, study):
    from hpsearch.space import Box

    return Box.from_document(study_document(database, study)["rounds"][1]["ranges"])


def test_elites_are_those_of_the_ledger(database, trained, worker_id):
    """The number of elites in the ledger is the number of trials marked as such."""
    close_finished_round(database, trained, worker_id)
    rows = [row for row in ranges_document(database, trained) if row["round"] == 2]
    assert {row["elites"] for row in rows} == {len(elite_numbers(database, trained, 1))}


def test_elites_are_known_once_their_noise_is_measured(database, make_study, work, quick_objective):
    """Where trials are repeated first, nobody is an elite before the ledger is written."""
    study, seen = make_study(search={"rounds": 2, "trials": 40}), {}

    def look():
        now = open_work(database, study)
        seen[now["purpose"], now["round"]] = elite_numbers(database, study, 1)

    after = work(study, Watched(quick_objective(), look))
    rows = [row for row in ranges_document(database, after) if row["round"] == 2]
    assert seen["search", 1] is seen["repeat", 1] is None
    assert seen["search", 2] == seen["confirmation", 1]
    assert {row["elites"] for row in rows} == {len(seen["search", 2])}


@pytest.mark.parametrize("narrowing", ["elites", "posterior"])
def test_elites_are_those_of_the_ledger_where_seeds_are_shared(
    database, make_study, work, quick_objective, narrowing
):
    """By a wave or by a block of its trials: what a seed does to all alike is no noise."""

    class Lucky(quick_objective):
        def result(self, values, seed):
            return complete(0.9 - 0.2 * values["learning_rate"] - (seed % 97) / 200)

    study = work(make_study(search={"rounds": 2, "trials": 40, "narrowing": narrowing}), Lucky())
    rows = [row for row in ranges_document(database, study) if row["round"] == 2]
    assert {row["elites"] for row in rows} == {len(elite_numbers(database, study, 1))}


def test_a_grid_has_no_elites(database, make_study, work):
    """A grid narrows nothing: its ledger counts no elites, and no trial is marked as one."""
    learning_rate = {"choices": [0.01, 0.1, 0.3]}
    study = make_study(space={"learning_rate": learning_rate}, search={"sampler": "grid"})
    work(study)
    assert study_document(database, study)["complete"] == 3
    assert {row["elites"] for row in ranges_document(database, study)} == {0}
    assert elite_numbers(database, study, 1) == set()


def test_a_study_in_which_all_diverges_ends_without_winner(
    database, study, work, diverging_objective
):
    """With no score at all the search still ends: all rounds closed, no confirmation, no winner."""
    after = work(study, diverging_objective())
    document = study_document(database, after)
    assert (after.state, after.winner, document["confirmation"]) == ("complete", None, None)
    assert (document["diverged"], document["complete"]) == (18, 0)
    assert all(row["decision"] in {"declared", "kept"} for row in ranges_document(database, after))


def test_learning_rates_beyond_reason_diverge_to_the_end(database, database_url, make_real_study):
    """Real training that diverges in every trial ends the study, and is no error."""
    study = make_real_study(
        space={"learning_rate": {"low": 1e20, "high": 1e30, "scale": "log"}},
        search={"rounds": 2, "trials": 4},
    )
    committed = run_worker(WorkerOptions(database_url, study.name), threading.Event())
    document = study_document(database, load_study(database, study.name))
    assert (committed, document["diverged"], document["state"]) == (8, 8, "complete")
    with pytest.raises(UserError, match="no trial, or no repeat of a finalist, has a score"):
        open_sealed_test(database_url, study.name, None)


# -------------------------------------------------------------------- progress


class Watched:
    """An objective that looks at the search between training and committing."""

    def __init__(self, objective, look):
        self.population = objective.population
        self._objective = objective
        self._look = look

    def run(self, *arguments):
        self._look()
        return self._objective.run(*arguments)


def test_a_look_at_the_search_says_what_its_document_says(
    database, make_study, work, quick_objective
):
    """Though it passes over closed rounds: running, finished, best score and repeats are equal."""
    study, seen = make_study(search={"rounds": 2, "trials": 12}), []

    def look():
        now, document = open_work(database, study), study_document(database, study)
        best = [r["best_score"] for r in document["rounds"] if r["best_score"] is not None]
        assert now["search_done"] == sum(document[state] for state in FINISHED)
        assert now["best_score"] == max(best, default=None)
        repeated = now["repeats"] if now["purpose"] == "repeat" else None
        assert (repeated or {"planned": 4})["planned"] == 4
        assert repeated or now["repeats"] == document["confirmation"]
        if now["purpose"] == "search":
            assert now["running"] == document["running"]
        seen.append((now["purpose"], now["round"], now["running"] > 0))

    work(study, Watched(quick_objective(), look))
    purposes = [("search", 1), ("repeat", 1), ("search", 2), ("confirmation", 1)]
    assert set(seen) == {(purpose, number, True) for purpose, number in purposes}
    look()
    assert seen[-1] == (None, None, False)


# -------------------------------------------------------------------- openings


@pytest.fixture
def searched(make_real_study, work):
    """A complete study with a winner, whose data are really there."""
    return work(make_real_study())


def test_an_opening_stands_before_the_rows_are_read(database, database_url, searched, monkeypatch):
    """A process that dies at the test rows leaves its opening; the next call finishes that one."""
    seen = []

    def die(*_):
        with database.reading() as connection:
            seen.append(connection.scalar(select(func.count()).select_from(tables.opening)))
        raise ConnectionAbortedError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(hpsearch.final, "open_test_rows", die)
        with pytest.raises(ConnectionAbortedError):
            open_sealed_test(database_url, searched.name, None)
    assert seen == [1]
    assert study_document(database, searched)["test"] is None
    open_sealed_test(database_url, searched.name, None)
    test = study_document(database, searched)["test"]
    assert test["openings"] == 1
    assert test["interval"][0] <= test["score"] <= test["interval"][1]
    final = [t for t in trials_document(database, searched) if t["purpose"] == "final"]
    assert [(t["state"], t["attempts"], t["score"]) for t in final] == [
        ("complete", 2, test["scores"][0])
    ]


def test_a_second_opening_counts(database, database_url, searched):
    """Opening the split again gives the same figure and is reported as a second opening."""
    open_sealed_test(database_url, searched.name, None)
    first = study_document(database, searched)["test"]
    open_sealed_test(database_url, searched.name, None, again=True)
    second = study_document(database, searched)["test"]
    assert (first["openings"], second["openings"]) == (1, 2)
    assert first["score"] == second["score"]


def test_a_known_figure_is_not_opened_again(database, database_url, searched):
    """`start` opens the split once: a second one finds the figure and records nothing."""
    open_sealed_test(database_url, searched.name, None)
    before = study_document(database, searched)["test"]
    open_sealed_test(database_url, searched.name, None)
    assert study_document(database, searched)["test"] == before
    assert before["openings"] == 1


@pytest.mark.parametrize("again", [False, True])
def test_two_starts_share_one_figure(database, database_url, searched, monkeypatch, again):
    """Whoever is overtaken while it reads the rows finds the figure there, and is content."""

    def overtaken(*arguments):
        monkeypatch.setattr(hpsearch.final, "open_test_rows", open_test_rows)
        open_sealed_test(database_url, searched.name, None)
        return open_test_rows(*arguments)

    monkeypatch.setattr(hpsearch.final, "open_test_rows", overtaken)
    with pytest.raises(LeaseLostError) if again else nullcontext():
        open_sealed_test(database_url, searched.name, None, again=again)
    assert study_document(database, searched)["test"]["openings"] == 1


def test_who_is_overtaken_waits_for_the_figure(database, database_url, searched, monkeypatch):
    """The process that took the opening up still trains when the first one is done."""
    begun, first_is_done = threading.Event(), threading.Event()
    train = hpsearch.final.train_final

    def second():
        open_sealed_test(database_url, searched.name, None)

    other = threading.Thread(target=second)

    def first(*arguments):
        monkeypatch.setattr(hpsearch.final, "train_final", slow)
        other.start()
        assert begun.wait(60)
        return train(*arguments)

    def slow(*arguments):
        begun.set()  # the opening is the second's now
        assert first_is_done.wait(60)
        return train(*arguments)

    def looked(seconds):
        first_is_done.set()
        time.sleep(seconds)

    monkeypatch.setattr(hpsearch.final, "train_final", first)
    monkeypatch.setattr(hpsearch.final, "_pause", looked)
    open_sealed_test(database_url, searched.name, None)
    other.join(60)
    assert study_document(database, searched)["test"]["openings"] == 1


def test_an_opening_taken_up_by_another_is_finished_once(
    database, finished_study, make_worker, complete_with
):
    """Two processes that open at once share one opening; the one that lost it writes nothing."""
    worker = make_worker(finished_study)
    first = begin_opening(database, finished_study, worker, again=True)
    second = begin_opening(database, finished_study, worker, again=True)
    assert (first.id, first.number) == (second.id, second.number)
    with database.reading() as connection:
        mine = tables.attempt.c.trial_id == first.claim.trials[0].id
        tries = connection.scalars(select(tables.attempt.c.outcome).where(mine).order_by("number"))
        assert tries.all() == ["taken over", "running"]
    figure = {"metric": "test_accuracy", "score": 0.75, "interval": [0.5, 0.9]}
    with pytest.raises(LeaseLostError):
        finish_opening(database, first, figure | {"score": 0.9}, complete_with(0.9))
    finish_opening(database, second, figure, complete_with(0.75))
    test = study_document(database, finished_study)["test"]
    assert (test["score"], test["openings"]) == (0.75, 1)


def test_the_figure_and_the_final_trial_are_written_together(
    database, database_url, finished_study, make_worker, complete_with
):
    """When writing the figure breaks off, the opening can still be finished afterwards."""

    class Breaking(BulkStorage):
        def finish(self, *arguments):
            super().finish(*arguments)
            raise ConnectionError("the power is gone")

    worker = make_worker(finished_study)
    opening = begin_opening(database, finished_study, worker, again=True)
    figure = {"metric": "test_accuracy", "score": 0.75, "interval": [0.5, 0.9]}
    breaking = Database(Breaking(database_url, create=False))
    with pytest.raises(ConnectionError):
        finish_opening(breaking, opening, figure, complete_with(0.75))
    breaking.close()
    again = begin_opening(database, finished_study, worker, again=True)
    finish_opening(database, again, figure, complete_with(0.75))
    assert study_document(database, finished_study)["test"]["openings"] == 1


def test_openings_begun_at_once_are_one(database_url, database, finished_study, make_worker):
    """Two processes that begin at the very same moment record a single opening."""
    worker, start = make_worker(finished_study), threading.Barrier(2)

    def begin(_):
        own = open_database(database_url)
        start.wait(timeout=30)
        number = begin_opening(own, finished_study, worker, again=True).number
        own.close()
        return number

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(begin, range(2))) == [1, 1]
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.opening)) == 1


def imported(file):
    """Full names of everything a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_final_step_can_read_test_rows():
    """No other module imports the sealed rows, so no worker can come by them by mistake."""
    root = Path(hpsearch.__file__).parent
    reading = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if any(f"{name}.".startswith("hpsearch.data.sealed.") for name in imported(file))
    }
    assert reading == {"final.py"}
