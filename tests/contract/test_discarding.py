"""Early discarding in the store: the same stops for everybody, written down and decided again."""

import json
import threading

import pytest
from sqlalchemy import select, update

from hpsearch.audit import audit
from hpsearch.findings import Verdict
from hpsearch.objective import PopulationObjective
from hpsearch.search.discarding import Below
from hpsearch.seeds import Purpose, is_spared
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.claims import claim
from hpsearch.store.leases import LEASE_SECONDS
from hpsearch.store.reading import study_document, trials_document
from hpsearch.store.record import read_record
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.studies import load_study
from hpsearch.verification import Sample, Verification
from hpsearch.worker import Worker, WorkerOptions, checked_data, run_worker
from tests.contract.conftest import metrics
from tests.contract.test_reproducibility import run_in_threads, table

IS_ABOVE_THE_DATABASE = True
# 90 training rows in batches of 8 are 12 updates: trials are judged from the third epoch on,
# and a pruner is asked from the seventh on.
TRAINING = {"optimizer": "adam", "epochs": 12, "batch_size": 8}
SPACE = {"learning_rate": {"low": 1e-7, "high": 0.1, "scale": "log"}}
SEARCH = {"rounds": 2, "trials": 30, "sampler": "auto", "narrowing": "posterior", "discard": "auto"}
DATA = {"source": "moons", "samples": 150, "noise": 0.1}
FIRST_JUDGED, FIRST_PRUNED = 3, 7
STUDY = {"training": TRAINING, "space": SPACE, "search": SEARCH, "data": DATA}


@pytest.fixture
def discarding(make_real_study):
    """A study with discarding, nothing trained; keyword arguments replace whole tables."""
    return lambda **changes: make_real_study(**(STUDY | changes))


@pytest.fixture
def finished(database, database_url, discarding):
    """The same after its end."""
    study = discarding()
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    return load_study(database, study.name)


def problems(database, study):
    found = audit(read_record(database, study))
    return [(f.check, f.said) for f in found if f.verdict == Verdict.WRONG]


def change(database, which, **values):
    with database.writing() as connection:
        connection.execute(update(tables.trial).where(which).values(**values))


def discarded_row(database, study):
    """(row, number) of the first discarded trial."""
    trial = tables.trial.c
    with database.reading() as connection:
        return connection.execute(
            select(trial.id, trial.number)
            .where(trial.study_id == study.id, trial.state == TrialState.DISCARDED)
            .order_by(trial.number)
        ).first()


@pytest.mark.slow
def test_the_table_does_not_depend_on_workers(database, database_url, discarding):
    """1 worker with populations of 1, or 2 with 8: the same stops, scores and bands."""
    found, bands = set(), set()
    for name, workers, population in (("one", 1, 1), ("two", 2, 8)):
        study = discarding(name=name)
        run_in_threads(database_url, study, workers, population)
        found.add(table(database, study))
        record = read_record(database, load_study(database, name))
        bands.add(tuple(round_.bands for round_ in record.rounds))
        assert problems(database, load_study(database, name)) == []
    assert len(found) == len(bands) == 1
    assert {t["state"] for t in json.loads(found.pop())} == {"complete", "discarded"}
    # Later waves of the second round; before, fewer than fifteen trials have a score.
    assert [len(band) for band in bands.pop()][:3] == [0, 0, 2]


def test_who_was_stopped_can_be_read(database, finished):
    """Search trials only: no score, a curve up to the stop, the threshold, and Optuna's PRUNED."""
    trials = trials_document(database, finished)
    stopped = [t for t in trials if t["state"] == "discarded"]
    assert stopped
    assert {t["purpose"] for t in stopped} == {"search"}
    for trial in stopped:
        below = trial["below"]
        assert trial["score"] is None
        assert trial["epochs"][-1]["epoch"] == below["epoch"] >= FIRST_JUDGED
        best = max(e["metrics"]["validation_accuracy"] for e in trial["epochs"])
        assert best < below["threshold"]
        assert not below["spared"]
    document = study_document(database, finished)
    assert document["discarded"] == len(stopped)
    assert document["complete"] + document["discarded"] + document["diverged"] == 60
    made = sum(len(t["epochs"]) for t in trials if t["purpose"] == "search")
    saved = document["discarding"]["updates_saved"]
    assert saved == pytest.approx(1 - made / (60 * TRAINING["epochs"]))


def test_spared_trials_run_on_and_are_counted(database, finished):
    """Who would be stopped and has the right number runs to its end, with the same record."""
    trials = [t for t in trials_document(database, finished) if t["purpose"] == "search"]
    below = [t for t in trials if "below" in t]
    assert below
    for trial in below:
        spared = is_spared(finished.spec.seed, Purpose.SEARCH, trial["number"])
        assert trial["below"]["spared"] == spared == (trial["state"] == "complete")
    spared = [t for t in below if t["below"]["spared"]]
    figures = study_document(database, finished)["discarding"]["spared"]
    assert figures["trials"] == len(spared)
    assert (figures["interval"] is None) == (not spared)


def test_a_study_that_discards_nothing_is_what_it_was(database, work, make_study):
    """No band, no judgement, and nothing said."""
    study = work(make_study())
    record = read_record(database, study)
    assert all(round_.bands == () for round_ in record.rounds)
    assert study_document(database, study)["discarding"] is None
    assert not any("below" in trial for trial in trials_document(database, study))


def test_a_discarded_trial_replays_to_the_same_stop(database, finished):
    """With the same curve, threshold and everything else; and all decisions are taken again."""
    _, number = discarded_row(database, finished)
    sample = Sample(1, number, Purpose.SEARCH, 0)
    verification = Verification(database, finished.name, sample, None)
    findings = [*verification.replayed(), *verification.audited()]
    assert [f for f in findings if f.verdict == Verdict.WRONG] == []
    assert any("figures are equal" in f.said and str(number) in f.said for f in findings)


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        ({"threshold": 0.123}, "below 0.123 after"),
        ({"below_at": None, "threshold": None}, "never below in its row"),
        ({"stands_for": 0.99}, "stands for 0.99"),
        ({"state": "complete", "score": 0.5}, "in its row, never below by its curve"),
    ],
)
def test_a_stop_that_does_not_follow_is_found(database, finished, tampered, said):
    """A row that does not say what its curve and its band lead to is named."""
    row, number = discarded_row(database, finished)
    change(database, tables.trial.c.id == row, **tampered)
    found = [message for check, message in problems(database, finished) if check == "discarded"]
    assert any(f"search {number}: " in message and said in message for message in found)


def test_a_band_that_was_changed_is_found(database, finished):
    """The band of a wave follows from the curves before it."""
    round_ = tables.round_.c
    mine = (round_.study_id == finished.id) & (round_.purpose == Purpose.SEARCH)
    with database.writing() as connection:
        text = connection.scalar(select(round_.bands).where(mine, round_.number == 2))
        bands = json.loads(text)
        bands[1]["points"][0][1] += 0.01
        connection.execute(
            update(tables.round_).where(mine, round_.number == 2).values(bands=json.dumps(bands))
        )
    found = [message for check, message in problems(database, finished) if check == "discarded"]
    assert f"round 2: the band of trials from {bands[1]['first']} on" in found[0]


@pytest.mark.slow
def test_lost_trials_are_judged_as_before(database, database_url, discarding, make_worker):
    """N trials are N, whatever dies: what a worker took with it is stopped by the same band."""
    whole = discarding(name="whole")
    run_in_threads(database_url, whole, 1, 4)
    study = discarding(name="lossy")
    vanished = make_worker(study)
    objective = PopulationObjective(study.spec, checked_data(study, None), 4)

    class Vanishing:
        """Before each of its claims is trained, another worker takes one and is never seen."""

        population = 4

        def run(self, trials, *arguments):
            claim(database, study.id, vanished, 1, -1.0)
            return objective.run(trials, *arguments)

    worker = Worker(database, study, Vanishing(), LEASE_SECONDS)
    worker._contact.is_steady = lambda: True  # there is nobody to leave time to
    worker.run(threading.Event(), lambda: False)
    rows = [json.loads(table(database, s)) for s in (whole, study)]
    kept = [[t for t in found if t["state"] != "failed"] for found in rows]
    assert len(rows[0]) == len(rows[1])
    by_number = {t["number"]: t for t in kept[0] if t["round"] == 1 and t["purpose"] == "search"}
    first_wave = [t for t in kept[1] if t["purpose"] == "search" and t["number"] < 18]
    assert first_wave
    assert all(by_number[t["number"]] == t for t in first_wave)


def test_a_pruner_of_optunas_stops_trials_too(database, database_url, discarding):
    """N trials are N, the stops are PRUNED for Optuna, and each replays to where it was."""
    study = discarding(search=SEARCH | {"discard": "median", "sampler": "sobol"})
    run_in_threads(database_url, study, 2, 8)
    study = load_study(database, study.name)
    document = study_document(database, study)
    assert document["complete"] + document["diverged"] + document["discarded"] == 60
    _, number = discarded_row(database, study)
    sample = Sample(1, number, Purpose.SEARCH, 0)
    verification = Verification(database, study.name, sample, None)
    findings = [*verification.replayed(), *verification.audited()]
    assert [f for f in findings if f.verdict == Verdict.WRONG] == []
    stopped = [t for t in trials_document(database, study) if t["state"] == "discarded"]
    assert {t["below"]["threshold"] for t in stopped} == {None}
    assert min(t["below"]["epoch"] for t in stopped) >= FIRST_PRUNED


def test_a_control_arm_is_never_stopped(database, database_url, discarding):
    """It has no bands, and a floor that only its trials had to reach would make it the weaker."""
    search = SEARCH | {"rounds": 1, "control": "random"}
    study = discarding(search=search)
    run_in_threads(database_url, study, 1, 8)
    study = load_study(database, study.name)
    rounds = read_record(database, study).rounds
    stopped = {r.purpose for r in rounds for t in r.trials if t.state == TrialState.DISCARDED}
    assert stopped == {Purpose.SEARCH}
    assert all(r.bands == () for r in rounds if r.purpose == Purpose.CONTROL)
    assert problems(database, study) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"training": TRAINING | {"patience": 2}},
        {
            "training": TRAINING | {"optimizer": "sgd"},
            "space": {"learning_rate": {"low": 1e-3, "high": 1e38, "scale": "log"}},
        },
    ],
    ids=["patience", "divergence"],
)
def test_who_comes_to_another_end_is_judged_up_to_there(
    database, database_url, discarding, changes
):
    """Trials whose patience ran out or that diverged are verified by what training has seen."""
    study = discarding(**changes)
    run_in_threads(database_url, study, 1, 8)
    study = load_study(database, study.name)
    trials = trials_document(database, study)
    ends = {len(t["epochs"]) for t in trials if t["state"] in {"complete", "diverged"}}
    assert min(ends) < TRAINING["epochs"]
    assert problems(database, study) == []


def test_the_record_of_a_spared_trial_has_a_score(database, study, worker_id):
    """Only a discarded trial stands for something else than what it scored."""
    curve, below = {1: metrics(0.2), 2: metrics(0.3)}, Below(1, 0.5, 0.2)
    spared = TrialResult(TrialState.COMPLETE, curve, below=below)
    stopped = TrialResult(TrialState.DISCARDED, {1: curve[1]}, below=below, updates_saved=10)
    for result in (spared, stopped):
        taken = claim(database, study.id, worker_id, 1)
        commit(database, taken, {taken.trials[0].id: result})
    rows = {t["number"]: t for t in trials_document(database, study)}
    assert rows[0]["below"] == {"epoch": 1, "threshold": 0.5, "spared": True}
    assert rows[1]["below"] == {"epoch": 1, "threshold": 0.5, "spared": False}
    outcomes = read_record(database, study).history
    assert [(o.score, o.stands_for) for o in outcomes] == [(0.3, None), (None, 0.2)]
