"""The control arm in the store: exact, apart from the search, and decided again from its rows."""

import json
import threading

import optuna
import pytest
from sqlalchemy import select, update

import hpsearch.worker
from hpsearch.audit import audit
from hpsearch.findings import Verdict
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED
from hpsearch.store import tables
from hpsearch.store.claims import claim
from hpsearch.store.reading import open_work, study_document
from hpsearch.store.record import read_record
from hpsearch.store.studies import load_study
from hpsearch.verification import Sample, Verification
from hpsearch.worker import WorkerOptions, run_worker
from tests.contract.conftest import complete
from tests.contract.test_reproducibility import run_in_threads, table

IS_ABOVE_THE_DATABASE = True
SEARCH = {"rounds": 2, "trials": 12, "control": "random"}
TRIALS = 24
# A lease that has lapsed when it is taken: nobody has to wait for it.
LAPSED = -1.0


def of(database, study, *purposes):
    """The rows of some purposes, with nothing that may differ between two runs."""
    rows = json.loads(table(database, study))
    return [row for row in rows if row["purpose"] in purposes]


def control_trials(database, study):
    """Those of the arm itself, without the repeats of its best."""
    return [t for t in of(database, study, "control") if t["round"] == 1]


@pytest.fixture
def controlled(make_study):
    """A study of 2 rounds of 12 trials and as many of its control arm, nothing trained."""
    return make_study(search=SEARCH)


@pytest.fixture
def finished(controlled, work):
    """The same after its end."""
    return work(controlled)


# ------------------------------------------------------------------------ its trials


@pytest.mark.parametrize("control", ["random", "tpe"])
def test_it_has_exactly_as_many_trials_as_the_search(
    database, make_study, make_worker, work, quick_objective, control
):
    """Also where workers vanish in the middle of it: what they held is trained by others."""
    study = make_study(search=SEARCH | {"control": control})
    vanished = make_worker(study)

    class Vanishing(quick_objective):
        """Before each of its claims is trained, another worker takes one and is never seen."""

        def run(self, trials, *arguments):
            if open_work(database, study)["purpose"] == "control":
                claim(database, study.id, vanished, 1, LAPSED)
            return super().run(trials, *arguments)

    after = work(study, Vanishing())
    trials = control_trials(database, after)
    assert after.state == "complete"
    assert [trial["number"] for trial in trials] == list(range(TRIALS))
    assert {trial["state"] for trial in trials} <= {"complete", "failed"}
    document = study_document(database, after)["control"]
    assert sum(document[state] for state in FINISHED) == document["planned"] == TRIALS
    with database.reading() as connection:
        outcomes = set(connection.scalars(select(tables.attempt.c.outcome)))
    assert "taken over" in outcomes


def test_the_table_does_not_depend_on_workers(database, database_url, make_real_study):
    """With random points 1 worker or 2 fill the same table, the control's rows included."""
    found = set()
    for name, workers, population in (("one", 1, 1), ("two", 2, 8)):
        study = make_real_study(name=name, search=SEARCH)
        trained = run_in_threads(database_url, study, workers, population)
        # Both arms have 4 repeats of finalists; the search has 4 more, which measure its noise.
        assert trained == 2 * (TRIALS + 4) + 4
        found.add(table(database, study) + json.dumps(load_study(database, name).winner).encode())
    assert len(found) == 1


@pytest.mark.parametrize("narrowing", ["elites", "posterior"])
def test_the_search_is_the_same_with_and_without(
    database, database_url, make_real_study, narrowing
):
    """Every row and curve of search, repeats and confirmation, the ledger and the winner."""
    search = SEARCH | {"sampler": "auto", "narrowing": narrowing}
    with_it = make_real_study(name="with", search=search)
    without = make_real_study(name="without", search=search | {"control": None})
    documents = []
    for study in (with_it, without):
        run_in_threads(database_url, study, 1, 8)
        after = load_study(database, study.name)
        document = study_document(database, after)
        kept = ("rounds", "winner", "confirmation", "planned", "complete", "failures")
        rows = of(database, study, "search", "repeat", "confirmation")
        record = read_record(database, after)
        documents.append(({key: document[key] for key in kept}, rows, record.ledger))
    assert documents[0] == documents[1]
    assert of(database, without, "control") == []


def test_tpe_is_told_of_control_trials_alone(database, make_study, work, monkeypatch):
    """Suggestions rest on what the arm itself has found, whatever the search knows by then."""
    study = make_study(search=SEARCH | {"control": "tpe"})
    told, suggest = [], hpsearch.worker.suggest

    def spy(sampler, box, finished, running, count, seed):
        told.append((sampler, box, finished))
        return suggest(sampler, box, finished, running, count, seed)

    monkeypatch.setattr(hpsearch.worker, "suggest", spy)
    after = work(study)
    scores = {t["number"]: t["score"] for t in control_trials(database, after)}
    assert {(sampler, box) for sampler, box, _ in told} == {("tpe", study.spec.space)}
    assert [len(finished) for *_, finished in told][:3] == [0, 4, 8]
    assert all(o.score == scores[o.number] for *_, finished in told for o in finished)


def test_it_stands_in_a_study_of_its_own(database, finished):
    """Optuna's NAME has the search alone, so its best trial is the search's."""
    search, control = (
        optuna.load_study(study_name=name, storage=database.storage)
        for name in ("small", "small/control")
    )
    assert (len(search.trials), len(control.trials)) == (TRIALS, TRIALS + 4)
    best = max(t["score"] for t in of(database, finished, "search"))
    assert search.best_value == best
    assert study_document(database, finished)["rounds"][-1]["best_score"] <= best


def test_nothing_of_the_search_knows_it(database, make_study, work, quick_objective):
    """Best scores and the winner are the search's, though every control trial scores higher."""

    class BetterWithout(quick_objective):
        def run(self, trials, *arguments):
            self.is_control = open_work(database, study)["purpose"] == "control"
            return super().run(trials, *arguments)

        def result(self, values, seed):
            return complete(0.999) if self.is_control else super().result(values, seed)

    study = make_study(search=SEARCH)
    document = study_document(database, after := work(study, BetterWithout()))
    searched = of(database, after, "search")
    best = max(t["score"] for t in searched)
    assert max(r["best_score"] for r in document["rounds"]) == best < 0.999
    assert open_work(database, after)["best_score"] == best
    assert document["planned"] == document["complete"] == TRIALS
    assert document["winner"]["values"] in [t["values"] for t in searched]
    assert document["control"]["winner"]["score"] == 0.999
    assert document["control"]["difference"]["mean"] < 0


def test_limits_hold_the_control(database, make_study, work):
    """Its trials may lie beyond the declared range, and Optuna reads them back in their range."""
    rate = {"low": 1e-3, "high": 1e-2, "scale": "log", "limits": [1e-4, 1.0]}
    search = SEARCH | {"narrowing": "posterior"}
    after = work(make_study(space={"learning_rate": rate}, search=search))
    rates = [t["values"]["learning_rate"] for t in control_trials(database, after)]
    assert (min(rates) < 1e-3, max(rates) > 1e-2) == (True, True)
    for trial in optuna.load_study(study_name="small/control", storage=database.storage).trials:
        kind = trial.distributions["learning_rate"]
        assert kind.low <= trial.params["learning_rate"] <= kind.high


# -------------------------------------------------------------------------- its way


def test_how_far_it_is_can_be_asked(database, controlled, work, quick_objective):
    """Progress counts its trials, then the repeats of its best; the search's stay what they are."""
    seen = {}

    class Watched(quick_objective):
        def run(self, *arguments):
            now = open_work(database, controlled)
            if now["purpose"] == "control":
                assert now["search_done"] == TRIALS
                found = study_document(database, controlled)["control"]
                repeats = found["repeats"] or {"planned": 0, "finished": 0}
                done = sum(found[state] for state in FINISHED) + repeats["finished"]
                assert now["control"]["finished"] == done
                seen[now["round"]] = now["control"]["planned"]
            else:
                assert now["control"] == {"planned": TRIALS, "finished": 0}
            return super().run(*arguments)

    after = work(controlled, Watched())
    assert seen == {1: TRIALS, 2: TRIALS + 4}
    assert open_work(database, after)["control"] == {"planned": TRIALS, "finished": TRIALS}


def test_its_document_says_what_it_came_to(database, finished):
    """The winner's own document has nothing of it; best scores rise with the trials' numbers."""
    document = study_document(database, finished)
    control = document["control"]
    assert "control" not in document["winner"]
    assert control["repeats"] == {"planned": 4, "finished": 4}
    assert set(control["winner"]) == set(document["winner"])
    low, high = control["difference"]["interval"]
    assert low <= control["difference"]["mean"] <= high
    for arm, rows in (("search", of(database, finished, "search")), ("control", None)):
        scores = [t["score"] for t in rows or control_trials(database, finished)]
        steps = control["best_so_far"][arm]
        assert [best for _, best in steps] == sorted({max(scores[:n]) for n, _ in steps})
        assert all(scores[n - 1] == best == max(scores[:n]) for n, best in steps)
        assert steps[-1][1] == max(scores)


# ------------------------------------------------------------------------- the audit


@pytest.fixture
def trained(database, database_url, make_real_study):
    """A study that was really trained, and its control."""
    study = make_real_study(search={"rounds": 2, "trials": 6, "control": "random"})
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    return load_study(database, study.name)


def wrong(findings):
    return [(f.check, f.said) for f in findings if f.verdict == Verdict.WRONG]


@pytest.mark.parametrize("control", ["random", "tpe"])
def test_every_decision_is_taken_again(database, make_study, work, control):
    """Its points, finalists, winner and the difference follow from the rows once more."""
    confirmation = {"finalists": 3, "seeds": 2, "most_seeds": 6, "winner_seeds": 2}
    study = make_study(search=SEARCH | {"control": control}, confirmation=confirmation)
    assert wrong(audit(read_record(database, work(study)))) == []


def test_its_trials_replay_bit_for_bit(database, trained):
    """So do the repeats of its best; one that was changed is named."""
    every = Sample(1000, None, Purpose.CONTROL, 0)
    findings = list(Verification(database, "small", every, None).replayed())
    assert sum(f.check == "replay" for f in findings) == 12 + 4
    assert wrong(findings) == []
    trial = tables.trial.c
    with database.writing() as connection:
        connection.execute(
            update(tables.trial)
            .where(trial.purpose == "control", trial.number == 3)
            .values(score=0.999)
        )
    found = wrong(Verification(database, "small", every, None).replayed())
    assert [said.split(":")[0] for _, said in found] == ["control 3"]
    # The best of the arm is now another, whom nobody has repeated.
    assert "values" in {check for check, _ in wrong(audit(read_record(database, trained)))}


@pytest.mark.parametrize("part", ["winner", "difference"])
def test_a_comparison_that_was_changed_is_found(database, trained, part):
    """The stored result is what selection decides again, to the last bit."""
    winner = trained.winner
    if part == "winner":
        winner["control"]["winner"]["score"] += 1e-15
    else:
        winner["control"]["difference"]["mean"] = 0.25
    with database.writing() as connection:
        connection.execute(update(tables.study).values(winner=json.dumps(winner)))
    found = wrong(audit(read_record(database, load_study(database, "small"))))
    assert [check for check, _ in found] == ["winner"]


def test_points_that_were_moved_are_found(database, trained):
    """Random points are those of the plan; suggested ones lie in the box."""
    trial = tables.trial.c
    first = (trial.purpose == "control") & (trial.number == 0)
    with database.writing() as connection:
        text = connection.scalar(select(trial["values"]).where(first))
        moved = json.dumps(json.loads(text) | {"l2": 0.05})
        connection.execute(update(tables.trial).where(first).values({"values": moved}))
    found = dict(wrong(audit(read_record(database, trained))))
    assert found["values"].startswith("control: control 0: values")
