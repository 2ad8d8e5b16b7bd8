"""Trials belong to one worker at a time, results count once, and no trial is lost."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from hpsearch.errors import LeaseLostError, UserError
from hpsearch.seeds import Purpose
from hpsearch.states import TrialState
from hpsearch.store import claims, tables
from hpsearch.store.claims import claim, known_trials
from hpsearch.store.database import clock, open_database
from hpsearch.store.leases import LEASE_SECONDS, MOST_LOSSES, hand_back, renew
from hpsearch.store.reading import study_document, trials_document
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.rounds import history
from hpsearch.store.studies import create_study
from hpsearch.store.tables import AttemptOutcome
from hpsearch.store.workers import (
    live_workers,
    recover_dead_workers,
    register_worker,
    worker_stopped,
)
from hpsearch.worker import Worker

# A lease that has lapsed when it is taken: nobody has to wait for it.
LAPSED = -1.0


@pytest.fixture
def study(make_study):
    """A stored study of 2 rounds of 12 trials, all of one shape."""
    return make_study(
        space={
            "learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"},
            "l2": {"low": 0.0, "high": 0.1},
        }
    )


def numbers(taken):
    return [trial.number for trial in taken.trials]


def stored_trials(database):
    """All rows of hpsearch_trial, by number."""
    with database.reading() as connection:
        rows = connection.execute(select(tables.trial)).mappings().all()
    return {row["number"]: dict(row) for row in rows}


def stored_attempts(database):
    """(trial number, attempt, outcome), in order."""
    with database.reading() as connection:
        rows = connection.execute(
            select(tables.trial.c.number, tables.attempt.c.number, tables.attempt.c.outcome)
            .join(tables.trial, tables.trial.c.id == tables.attempt.c.trial_id)
            .order_by(tables.trial.c.number, tables.attempt.c.number)
        )
        return [tuple(row) for row in rows]


def lost_attempts(database):
    """How many tries at trials ended with the loss of their worker."""
    return [outcome for *_, outcome in stored_attempts(database)].count(AttemptOutcome.LOST)


def commit_all(database, taken, result):
    return commit(database, taken, {trial.id: result for trial in taken.trials})


# ---------------------------------------------------------------------- claims


def test_a_round_is_claimed_once_and_no_more(database, study, worker_id, complete_with):
    """Claims hand out every trial of the round once, in order, and then nothing."""
    taken = []
    while (got := claim(database, study.id, worker_id, 5)) is not None:
        taken += numbers(got)
        assert len(commit_all(database, got, complete_with(0.5))) == len(got.trials)
    assert taken == list(range(12))


def test_running_trials_are_nobody_elses(database, study, worker_id):
    """A trial under a lease that has not lapsed is not given away."""
    claim(database, study.id, worker_id, 12)
    assert claim(database, study.id, worker_id, 12) is None


def test_a_claim_carries_what_its_trials_were_planned_with(database, study, worker_id):
    """A claim's values lie in the round's box and its seeds are those of the round's plan."""
    taken = claim(database, study.id, worker_id, 3)
    assert (taken.purpose, taken.round, taken.box) == (Purpose.SEARCH, 1, study.spec.space)
    assert all(taken.box.contains(trial.values) for trial in taken.trials)
    assert {trial.seed for trial in taken.trials} == {stored_trials(database)[0]["seed"]}


def test_many_claimers_at_once_never_share_a_trial(database_url, make_spec, complete_with):
    """Eight threads with connections of their own claim every trial exactly once."""
    database = open_database(database_url)
    spec = make_spec(search={"rounds": 1, "trials": 40})
    study = create_study(database, spec, "", "0" * 64, 100, keep_sealed=False)
    start = threading.Barrier(8)

    def work(_):
        own = open_database(database_url)
        worker = register_worker(own, study.id, {})[0]
        taken = []
        start.wait(timeout=30)
        while (got := claim(own, study.id, worker, 3)) is not None:
            taken += numbers(got)
            commit_all(own, got, complete_with(0.5))
        own.close()
        return taken

    with ThreadPoolExecutor(8) as pool:
        counted = Counter(number for taken in pool.map(work, range(8)) for number in taken)
    assert counted == Counter(range(40))
    assert {outcome for *_, outcome in stored_attempts(database)} == {AttemptOutcome.FINISHED}
    database.close()


CLAIMER = """
import sys
from hpsearch.store.claims import claim
from hpsearch.store.database import clock, open_database
from hpsearch.store.workers import register_worker

database = open_database(sys.argv[1])
worker = register_worker(database, int(sys.argv[2]), {})[0]
print("ready", flush=True)
sys.stdin.readline()
most = int(sys.argv[3])
while (taken := claim(database, int(sys.argv[2]), worker, most)) is not None:
    print(*(trial.number for trial in taken.trials), flush=True)
    if most > 4:
        sys.stdin.readline()
"""


def start_claimer(database_url, study, most):
    """A process that is registered as a worker and claims when it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, database_url, str(study.id), str(most)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_claiming_processes_never_share_a_trial(database, database_url, study):
    """Two processes that claim at the same time take every trial exactly once."""
    claimers = [start_claimer(database_url, study, 2) for _ in range(2)]
    for process in claimers:
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [int(n) for process in claimers for n in process.communicate()[0].split()]
    assert sorted(taken) == list(range(12))
    assert all(process.returncode == 0 for process in claimers)
    assert {row["state"] for row in stored_trials(database).values()} == {"running"}


def test_nobody_takes_more_than_a_fair_share(database, study, make_worker):
    """With four workers a claim takes a quarter of what waits, however much was asked for."""
    workers = [make_worker(study) for _ in range(4)]
    sizes = [len(claim(database, study.id, worker, 100).trials) for worker in workers]
    assert sizes == [3, 3, 2, 1]


def test_workers_that_left_have_no_share(database, study, make_worker):
    """A worker that stopped is not counted: the last one may take all that waits."""
    first, second = make_worker(study), make_worker(study)
    worker_stopped(database, first)
    assert numbers(claim(database, study.id, second, 100)) == list(range(12))


def test_a_worker_that_only_claims_keeps_its_share(database, study, make_worker):
    """Claiming counts as a sign of life, so short trials do not make their workers forgotten."""
    first, second = make_worker(study), make_worker(study)
    with database.writing() as connection:
        connection.execute(update(tables.worker).values(seen=0.0))
    assert len(claim(database, study.id, first, 4).trials) == 4
    assert len(claim(database, study.id, second, 100).trials) == 4


# -------------------------------------------------------------------- shapes

# Networks of two widths, in an order in which neighbours differ: even and odd numbers.
TWO_SHAPES = {
    "space": {
        "learning_rate": {"choices": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]},
        "hidden": {"choices": [[4], [5]]},
    },
    "search": {"sampler": "grid"},
}


def test_a_claim_has_one_shape(database, make_study, make_worker, complete_with):
    """The lowest number is taken with others of its shape; then the lowest that is left."""
    study = make_study(**TWO_SHAPES)
    worker, taken = make_worker(study), []
    while (got := claim(database, study.id, worker, 4)) is not None:
        taken.append(numbers(got))
        assert len({tuple(trial.values["hidden"]) for trial in got.trials}) == 1
        commit_all(database, got, complete_with(0.5))
    assert taken == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10], [9, 11]]


def test_the_shares_of_a_round_with_shapes_are_fair(database, make_study, make_worker):
    """A share is counted over all that waits, whatever its shape."""
    study = make_study(**TWO_SHAPES)
    workers = [make_worker(study) for _ in range(4)]
    taken = [numbers(claim(database, study.id, worker, 100)) for worker in workers]
    assert taken == [[0, 2, 4], [1, 3, 5], [6, 8], [7]]


def test_a_lost_trial_is_claimed_alone_whatever_its_shape(database, make_study, make_worker):
    """After a loss other trials come first, shape by shape; the lost ones one by one."""
    study = make_study(**TWO_SHAPES)
    worker = make_worker(study)
    claim(database, study.id, worker, 2, LAPSED)
    taken = []
    while (got := claim(database, study.id, worker, 12)) is not None:
        taken.append(numbers(got))
    assert taken == [[1, 3, 5, 7, 9, 11], [4, 6, 8, 10], [0], [2]]


def test_trials_without_values_are_claimed_together(database, make_study, make_worker):
    """Where the sampler suggests later nobody knows a shape, and none keeps trials apart."""
    study = make_study(search={"rounds": 1, "trials": 6, "sampler": "tpe"})
    assert numbers(claim(database, study.id, make_worker(study), 6)) == list(range(6))
    assert {row["shape"] for row in stored_trials(database).values()} == {None}


@pytest.mark.parametrize(("most", "told"), [(3, [3, 4, 6]), (1000, [0, 1, 3, 4, 6])])
def test_a_sampler_is_told_of_the_newest_trials(
    database, study, worker_id, complete_with, monkeypatch, most, told
):
    """It hears of so many finished trials, in number order, or of all where there are fewer."""
    monkeypatch.setattr(claims, "MOST_KNOWN", most)
    taken = claim(database, study.id, worker_id, 8)
    done = [trial for trial in taken.trials if trial.number in {0, 1, 3, 4, 6}]
    commit(database, taken, {trial.id: complete_with(0.5) for trial in done})
    finished, running = known_trials(database, study.id, taken)
    assert [outcome.number for outcome in finished] == told
    assert finished == history(database, study.id)[-len(told) :]
    assert running == [t.values for t in taken.trials if t not in done]


def test_workers_claim_shapes_at_once_and_share_no_trial(database_url, make_study, make_worker):
    """Six workers that claim both shapes at the same time take every trial exactly once."""
    study = make_study(**TWO_SHAPES)
    workers, start = [make_worker(study) for _ in range(6)], threading.Barrier(6)

    def work(worker):
        own = open_database(database_url)
        start.wait(timeout=30)
        taken = []
        while (got := claim(own, study.id, worker, 2)) is not None:
            assert len({trial.number % 2 for trial in got.trials}) == 1
            taken += numbers(got)
        own.close()
        return taken

    with ThreadPoolExecutor(6) as pool:
        counted = Counter(number for taken in pool.map(work, workers) for number in taken)
    assert counted == Counter(range(12))


# ---------------------------------------------------------------- lost leases


def test_a_lapsed_lease_is_taken_over(database, study, worker_id):
    """Trials whose lease has lapsed go to the next claimer, and this is written down, as a loss."""
    late = claim(database, study.id, worker_id, 12, LAPSED)
    taken = claim(database, study.id, worker_id, 12)
    assert taken.trials[0] == late.trials[0]
    assert taken.token != late.token
    assert stored_attempts(database)[:2] == [(0, 1, "taken over"), (0, 2, "running")]
    assert {row["losses"] for row in stored_trials(database).values()} == {1}


def test_a_lapsed_lease_is_left_alone_while_its_worker_may_renew_it(database, study, worker_id):
    """Where everybody was silent nobody is lost: nothing is taken over or held against a trial."""
    late = claim(database, study.id, worker_id, 12, LAPSED)
    assert claim(database, study.id, worker_id, 12, may_take_over=lambda: False) is None
    assert renew(database, late, worker_id)
    assert claim(database, study.id, worker_id, 12) is None
    assert {row["losses"] for row in stored_trials(database).values()} == {0}


def test_a_trial_that_was_lost_is_claimed_alone(database, study, worker_id, complete_with):
    """After a loss others come first, together; then the lost ones, one by one, in order."""
    claim(database, study.id, worker_id, 4, LAPSED)
    taken = []
    while (got := claim(database, study.id, worker_id, 6)) is not None:
        taken.append(numbers(got))
        commit_all(database, got, complete_with(0.5))
    assert taken == [[4, 5, 6, 7, 8, 9], [10, 11], [0], [1], [2], [3]]


def test_a_trial_that_kills_its_process_fails_alone(database, study, make_worker, complete_with):
    """Whoever is claimed with a poisonous trial is not failed for it, whatever their number."""
    poison = 2
    while (got := claim(database, study.id, worker := make_worker(study), 4)) is not None:
        if poison in numbers(got):
            worker_stopped(database, worker)  # as after its death: what it held is lost
        else:
            commit_all(database, got, complete_with(0.5))
            worker_stopped(database, worker)
    states = {number: row["state"] for number, row in stored_trials(database).items()}
    assert states == {n: "failed" if n == poison else "complete" for n in range(12)}


def test_three_deaths_of_everything_fail_no_trial(database, study, make_worker):
    """A machine that goes down three times takes no trial for the culprit."""
    for _ in range(MOST_LOSSES):
        workers = [make_worker(study) for _ in range(2)]
        for worker in workers:
            assert claim(database, study.id, worker, 2) is not None
        for worker in workers:
            worker_stopped(database, worker)
    assert {row["state"] for row in stored_trials(database).values()} == {"waiting"}


def test_a_late_result_changes_nothing(database, study, worker_id, complete_with):
    """What a worker commits after its lease was given away is not counted, in no table."""
    late = claim(database, study.id, worker_id, 12, LAPSED)
    claim(database, study.id, worker_id, 2)
    before = stored_trials(database), stored_attempts(database)
    assert commit_all(database, late, complete_with(1.0)) == []
    hand_back(database, late)
    assert renew(database, late, worker_id) is False
    assert (stored_trials(database), stored_attempts(database)) == before
    loaded = database.storage.get_all_trials(database.storage.get_study_id_from_name(study.name))
    assert [trial.value for trial in loaded[:2]] == [None, None]


def test_a_committed_result_is_never_overwritten(database, study, worker_id, complete_with):
    """The first result stands, whoever comes after it, the same worker included."""
    late = claim(database, study.id, worker_id, 12, LAPSED)
    taken = claim(database, study.id, worker_id, 1)
    assert commit_all(database, taken, complete_with(0.25)) == [taken.trials[0].id]
    assert commit_all(database, taken, complete_with(0.75)) == []
    assert commit_all(database, late, complete_with(1.0)) == []
    (document,) = [t for t in trials_document(database, study) if t["number"] == 0]
    assert (document["score"], document["attempts"]) == (0.25, 2)
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2]


def test_a_lease_that_nobody_wanted_still_counts(database, study, worker_id, complete_with):
    """A worker that comes back late, but before anybody else, keeps its work."""
    late = claim(database, study.id, worker_id, 1, LAPSED)
    assert renew(database, late, worker_id)
    assert numbers(claim(database, study.id, worker_id, 1)) == [1]
    assert len(commit_all(database, late, complete_with(0.5))) == 1


def test_values_are_not_stored_for_a_lost_claim(database, make_study, make_worker):
    """A sampler's suggestions for trials that were taken over are refused."""
    study = make_study(search={"rounds": 1, "trials": 4, "sampler": "tpe"})
    worker = make_worker(study)
    late = claim(database, study.id, worker, 4, LAPSED)
    claim(database, study.id, worker, 1)
    values = {late.trials[0].id: study.spec.space.at([0.5] * 4)}
    with pytest.raises(LeaseLostError):
        claims.set_values(database, late, study.spec.space, values)
    assert stored_trials(database)[0]["values"] is None


def test_the_third_loss_fails_a_trial(database, study, worker_id):
    """A trial that took three workers with it fails, says why, and is not tried again."""
    claim(database, study.id, worker_id, 12, LAPSED)
    for _ in range(MOST_LOSSES - 1):
        assert numbers(claim(database, study.id, worker_id, 1, LAPSED)) == [0]
    assert numbers(claim(database, study.id, worker_id, 1)) == [1]
    failed = stored_trials(database)[0]
    assert (failed["state"], failed["attempts"], failed["losses"]) == ("failed", 3, 3)
    assert "3 workers died" in failed["message"]
    optuna_trial = database.storage.get_trial(failed["optuna_trial_id"])
    assert (optuna_trial.state.name, optuna_trial.value) == ("FAIL", None)


def test_a_trial_handed_back_is_as_if_never_taken(database, study, worker_id):
    """Handing back restores the row but for its attempts, and is no loss."""
    before = stored_trials(database)[0]
    optuna_before = database.storage.get_trial(before["optuna_trial_id"])
    hand_back(database, claim(database, study.id, worker_id, 1))
    after = stored_trials(database)[0]
    assert after == before | {"attempts": 1}
    assert database.storage.get_trial(before["optuna_trial_id"]) == optuna_before
    assert stored_attempts(database) == [(0, 1, AttemptOutcome.RETURNED)]
    assert numbers(claim(database, study.id, worker_id, 1)) == [0]


def test_a_result_keeps_how_it_ended(database, study, worker_id, complete_with, diverged):
    """Complete, diverged and failed trials each keep state, score, curve and message."""
    taken = claim(database, study.id, worker_id, 3)
    failed = TrialResult(TrialState.FAILED, {}, "ValueError: no")
    ends = [complete_with(0.5), diverged, failed]
    commit(database, taken, {t.id: end for t, end in zip(taken.trials, ends, strict=True)})
    first, second, third = trials_document(database, study)[:3]
    assert (first["state"], first["score"], first["loss"]) == ("complete", 0.5, 0.5)
    assert (second["state"], second["score"], third["state"]) == ("diverged", None, "failed")
    assert second["epochs"][1]["metrics"]["training_loss"] is None
    assert (third["epochs"], third["message"]) == ([], "ValueError: no")
    assert all(trial["finished"] >= trial["started"] for trial in (first, second, third))


def test_a_score_keeps_its_epoch(database, study, worker_id):
    """The epoch a score belongs to is stored and shown where it is not the last one."""
    taken = claim(database, study.id, worker_id, 3)
    curve = {
        n: {"validation_accuracy": score, "validation_loss": n / 10}
        for n, score in ((1, 0.5), (2, 0.75), (3, 0.25))
    }
    ends = [TrialResult(TrialState.COMPLETE, curve, scored_at=at) for at in (2, 3, None)]
    commit(database, taken, {t.id: end for t, end in zip(taken.trials, ends, strict=True)})
    documents = trials_document(database, study)[:3]
    assert [(t["score"], t["loss"]) for t in documents] == [(0.75, 0.2), (0.25, 0.3), (0.25, 0.3)]
    assert [t.get("scored_at") for t in documents] == [2, None, None]
    assert ["scored_at" in t for t in documents] == [True, False, False]
    assert [stored_trials(database)[n]["scored_at"] for n in range(3)] == [2, None, None]


def test_diagnoses_are_kept_with_their_trial(database, study, worker_id, complete_with):
    """What was found inside a network is shown step by step, and only where there is any."""
    taken = claim(database, study.id, worker_id, 2)
    layers = [{"layer": 1, "dead": 0.25}, {"layer": 2, "shares": [0.5, float("nan")]}]
    plain = complete_with(0.5)
    looked = TrialResult(plain.state, plain.curve, diagnoses={2: layers[1:], 0: layers})
    one, other = taken.trials
    commit(database, taken, {one.id: looked, other.id: plain})
    first, second = trials_document(database, study)[:2]
    assert first["diagnoses"] == [
        {"step": 0, "layers": [{"layer": 1, "dead": 0.25}, {"layer": 2, "shares": [0.5, None]}]},
        {"step": 2, "layers": [{"layer": 2, "shares": [0.5, None]}]},
    ]
    assert "diagnoses" not in second


def test_a_late_result_leaves_no_diagnosis(database, study, worker_id, complete_with):
    """Diagnoses count with their result: once, and not for a claim that was lost."""
    late = claim(database, study.id, worker_id, 12, LAPSED)
    taken = claim(database, study.id, worker_id, 1)
    plain = complete_with(0.5)
    for found, steps in ((late, 3), (taken, 1), (taken, 2)):
        diagnoses = {step: [{"layer": 1}] for step in range(steps)}
        commit_all(database, found, TrialResult(plain.state, plain.curve, diagnoses=diagnoses))
    assert [len(t.get("diagnoses", [])) for t in trials_document(database, study)] == [1] + [0] * 11


# ------------------------------------------------------------- dead processes


def test_trials_of_a_killed_process_are_free_at_once(database, database_url, study):
    """Nobody waits for the lease of a worker of this machine that was killed."""
    process = start_claimer(database_url, study, 6)
    process.stdin.write("go\n")
    process.stdin.flush()
    taken = [int(number) for number in process.stdout.readline().split()]
    assert recover_dead_workers(database, study.id) == 0
    assert live_workers(database, study.id) == 1
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert taken == list(range(6))
    assert recover_dead_workers(database, study.id) == 6
    assert live_workers(database, study.id) == 0
    assert recover_dead_workers(database, study.id) == 0
    assert {row["state"] for row in stored_trials(database).values()} == {"waiting"}
    process.stdin.close()
    process.stdout.close()


def test_a_worker_that_fails_frees_its_trials(database, study, quick_objective):
    """An error in the middle of training ends the worker; its trials need no lease to lapse."""

    class Faulty(quick_objective):
        def run(self, *_):
            raise RuntimeError("a mistake in an objective")

    with pytest.raises(RuntimeError, match="a mistake"):
        Worker(database, study, Faulty()).run(threading.Event(), lambda: False)
    assert {row["state"] for row in stored_trials(database).values()} == {"waiting"}
    assert lost_attempts(database) == 4


def test_a_mistake_before_training_is_not_the_trials_fault(
    database, make_study, quick_objective, monkeypatch
):
    """A worker that cannot work at all, a package missing, hands its trials back unharmed."""
    study = make_study(search={"rounds": 1, "trials": 12, "sampler": "gp"})
    monkeypatch.setitem(sys.modules, "torch", None)
    for _ in range(MOST_LOSSES):
        with pytest.raises(UserError, match="torch"):
            Worker(database, study, quick_objective()).run(threading.Event(), lambda: False)
    rows = stored_trials(database).values()
    assert {(row["state"], row["losses"]) for row in rows} == {("waiting", 0)}
    assert {outcome for *_, outcome in stored_attempts(database)} == {AttemptOutcome.RETURNED}


def test_workers_of_other_machines_are_left_alone(database, study, worker_id):
    """A worker whose process cannot be seen from here is judged by its lease alone."""
    claim(database, study.id, worker_id, 2)
    with database.writing() as connection:
        connection.execute(update(tables.worker).values(process="elsewhere|boot|pid:[1]|1|1"))
    assert recover_dead_workers(database, study.id) == 0
    assert live_workers(database, study.id) == 1


@pytest.mark.usefixtures("worker_id")
def test_a_worker_that_is_not_heard_of_is_not_alive(database, study):
    """Two leases after its last sign of life a worker of any machine no longer counts."""
    assert live_workers(database, study.id) == 1
    with database.writing() as connection:
        seen = clock(connection) - 2 * LEASE_SECONDS - 1
        connection.execute(update(tables.worker).values(seen=seen))
    assert live_workers(database, study.id) == 0
    assert study_document(database, study)["state"] == "interrupted"


def test_a_worker_that_waits_is_heard_of(database, study, worker_id, quick_objective):
    """Without work a worker still gives signs of life, four in the time of a lease."""
    claim(database, study.id, worker_id, 12)
    idle = Worker(database, study, quick_objective(), lease_seconds=0.2)
    with database.writing() as connection:
        connection.execute(update(tables.worker).values(seen=0.0))

    def heard_of():
        with database.reading() as connection:
            seen = select(tables.worker.c.seen).where(tables.worker.c.id != worker_id)
            return connection.scalar(seen) > 0

    until = time.monotonic() + 10
    idle.run(threading.Event(), lambda: heard_of() or time.monotonic() > until)
    assert heard_of()
