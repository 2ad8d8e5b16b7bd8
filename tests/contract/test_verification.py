"""What `hpsearch verify` finds in the rows of a study that somebody has changed."""

import json
import math
import threading
from contextlib import closing

import pytest
from sqlalchemy import delete, insert, select, update

import hpsearch.final
import hpsearch.verification
from hpsearch.audit import audit
from hpsearch.data import sealed, sources
from hpsearch.errors import DatabaseError, UserError
from hpsearch.final import open_sealed_test
from hpsearch.findings import Commands, Verdict, worst
from hpsearch.seeds import Purpose
from hpsearch.store import tables
from hpsearch.store.bulk import models
from hpsearch.store.claims import claim
from hpsearch.store.copying import copy_study
from hpsearch.store.database import open_database
from hpsearch.store.mirroring import write_mirror
from hpsearch.store.optuna_rows import disagreements
from hpsearch.store.record import read_record
from hpsearch.store.studies import load_study
from hpsearch.store.workers import worker_stopped
from hpsearch.verification import Sample, Verification
from hpsearch.worker import WorkerOptions, run_worker
from tests.contract.conftest import QuickObjective, complete, stored_with_data

IS_ABOVE_THE_DATABASE = True
OPTUNA = models.TrialModel.__table__
OPTUNA_VALUES = models.TrialValueModel.__table__
OPTUNA_STEPS = models.TrialIntermediateValueModel.__table__
EVERY = Sample(1000, None, None, 0)
TRIAL, EPOCH, LEDGER = tables.trial.c, tables.epoch.c, tables.ledger.c


def problems(database, study):
    """What the audit says, by check, and what differs from Optuna's rows."""
    record = read_record(database, study)
    found = [(f.check, f.said) for f in audit(record) if f.verdict != Verdict.OK]
    return found + [("Optuna", said) for said in disagreements(database, record)]


def verified(database, study, sample=EVERY):
    verification = Verification(database, study.name, sample, None)
    return [*verification.replayed(), *verification.audited()]


def wrong(findings):
    return [f for f in findings if f.verdict == Verdict.WRONG]


def change(database, *statements):
    with database.writing() as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_spec):
    """A study that was really trained, confirmed and tested."""
    url = f"sqlite:///{tmp_path_factory.mktemp('original')}/study.db"
    with closing(open_database(url, create=True)) as database:
        study = stored_with_data(database, make_spec(search={"rounds": 2, "trials": 6}))
        run_worker(WorkerOptions(url, study.name), threading.Event())
        open_sealed_test(url, study.name, None)
        yield database


@pytest.fixture
def trained(database, original):
    """A copy of it, in either database, to do with as one likes."""
    copy_study(original, database.url, "small")
    return load_study(database, "small")


# --------------------------------------------------------------------------- replays


def test_every_trial_replays_bit_for_bit_without_a_test_row(database, trained, monkeypatch):
    """Search, confirmation and final trial are equal, all decisions too; the split stays sealed."""

    def refuse(*_, **__):
        raise AssertionError("a replay has asked for test rows")

    monkeypatch.setattr(hpsearch.final, "open_test_rows", refuse)
    monkeypatch.setattr(sealed, "open_test_rows", refuse)
    monkeypatch.setattr(sources.Moons, "sealed_rows", refuse)
    findings = verified(database, trained)
    assert worst(findings) == Verdict.OK
    replays = [f.said for f in findings if f.check == "replay"]
    assert len(replays) == 12 + 4 + 1
    assert replays[-1].startswith("final 0: all")
    assert [f.said for f in findings if f.check == "openings"] == [
        "the test split was opened 1 time"
    ]


@pytest.mark.parametrize("purpose", ["search", "confirmation", "final"])
def test_one_bit_of_one_metric_is_found(database, trained, purpose):
    """The next float is enough, in whatever epoch, and the line names it."""
    chosen = (TRIAL.purpose == purpose) & (TRIAL.study_id == trained.id)
    with database.reading() as connection:
        trial_id, number = connection.execute(
            select(TRIAL.id, TRIAL.number).where(chosen).order_by(TRIAL.number).limit(1)
        ).one()
        text = connection.scalar(
            select(EPOCH.metrics).where(EPOCH.trial_id == trial_id, EPOCH.epoch == 1)
        )
    metrics = json.loads(text)
    metrics["training_loss"] = math.nextafter(metrics["training_loss"], math.inf)
    this = (EPOCH.trial_id == trial_id) & (EPOCH.epoch == 1)
    change(database, update(tables.epoch).where(this).values(metrics=json.dumps(metrics)))
    one = Sample(5, number, Purpose(purpose), 0)
    (found,) = wrong(verified(database, trained, one))
    assert found.check == "replay"
    assert found.said.startswith(f"{purpose} {number}: 1 of ")
    assert "first training_loss of epoch 1" in found.said


def test_another_machine_is_said_first_and_makes_differences_expected(database, trained):
    """Where the worker's fingerprint was another, a difference is a warning and no more."""
    everything = {"training_loss": 0.25}
    change(
        database,
        update(tables.worker).values(fingerprint=json.dumps({"cpu": "abacus"})),
        update(tables.epoch).values(metrics=json.dumps(everything)),
    )
    verification = Verification(database, trained.name, Sample(3, None, Purpose.SEARCH, 0), None)
    findings = list(verification.replayed())
    assert findings[0].check == "machine"
    assert "cpu abacus there" in findings[0].said
    replays = [f for f in findings if f.check == "replay"]
    assert [f.verdict for f in replays] == [Verdict.WARNING] * 3


def test_a_diverged_trial_replays(database, database_url, make_real_study):
    """Losses that are not finite are equal to themselves."""
    space = {"learning_rate": {"low": 1e30, "high": 1e38, "scale": "log"}}
    training = {"optimizer": "sgd", "epochs": 2}
    model = {"hidden": [4], "activation": "relu"}
    search = {"rounds": 1, "trials": 2}
    study = make_real_study(space=space, search=search, training=training, model=model)
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    assert {t.state for t in read_record(database, study).trials} == {"diverged"}
    findings = verified(database, study)
    assert worst(findings) == Verdict.OK
    assert sum(f.check == "replay" for f in findings) == 2


@pytest.mark.parametrize("values", ['{"l2": 0.1}', '{"learning_rate": 1, "l2": -1}'])
def test_values_that_cannot_be_trained_are_wrong(database, trained, values):
    """A trial with other dimensions than its study is a finding, and the others are replayed."""
    chosen = (TRIAL.purpose == "search") & (TRIAL.number == 0)
    change(database, update(tables.trial).where(chosen).values({"values": values}))
    verification = Verification(database, trained.name, EVERY, None)
    (found,) = wrong(verification.replayed())
    assert found.said.startswith("search 0: its values are not those of the study's dimensions")


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("seeds", ["common", "fresh"])
def test_other_samplers_and_seeds_verify(database, database_url, make_real_study, sampler, seeds):
    """Planned or suggested, what was written is found again."""
    study = make_real_study(search={"rounds": 2, "trials": 6, "sampler": sampler, "seeds": seeds})
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    assert worst(verified(database, study, Sample(4, None, None, 0))) == Verdict.OK


def test_a_grid_that_confirms_nothing_verifies(database, database_url, make_real_study):
    """Every combination once, the best trial as winner, and no opening."""
    study = make_real_study(
        space={"activation": {"choices": ["relu", "tanh"]}},
        search={"sampler": "grid"},
        confirmation={"finalists": 0},
    )
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    assert worst(verified(database, study)) == Verdict.OK


def test_the_choice_of_trials_is_seeded(database, trained):
    """One seed chooses the same trials again, another seed others; a purpose leaves others out."""
    record = read_record(database, trained)
    chosen = {seed: [t.name for t in Sample(4, None, None, seed).of(record)] for seed in range(5)}
    assert chosen[0] == [t.name for t in Sample(4, None, None, 0).of(record)]
    assert len({tuple(names) for names in chosen.values()}) > 1
    confirmed = Sample(1000, None, Purpose.CONFIRMATION, 0).of(record)
    assert [t.name for t in confirmed] == [f"confirmation {n}" for n in range(4)]
    typed = "--trials 4 --seed 1"
    assert f"; {typed} chooses them again" in Sample(4, None, None, 1).said(4)
    of_purpose = Sample(4, None, Purpose.CONFIRMATION, 1).said(4)
    assert f"; {typed} --purpose confirmation chooses them again" in of_purpose


def test_a_trial_that_cannot_be_replayed_is_one_line(database, study):
    """A number that is not there, or a trial that waits, is a mistake in what was typed."""
    record = read_record(database, study)
    with pytest.raises(UserError, match="there is no search trial 99; `hpsearch trials small`"):
        Sample(5, 99, None, 0).of(record)
    with pytest.raises(UserError, match="search 3 is waiting, so there is nothing to replay"):
        Sample(5, 3, None, 0).of(record)


# ----------------------------------------------------------------------------- audits


def test_a_study_is_in_order_at_every_stage(database, study, work, worker_id):
    """Just opened, in the middle of a claim, and complete: nothing is found."""
    assert problems(database, study) == []
    assert claim(database, study.id, worker_id, 4) is not None
    assert problems(database, study) == []
    worker_stopped(database, worker_id)
    assert problems(database, work(study)) == []


class LowIsBest(QuickObjective):
    """The lower the learning rate the better, also below what is declared."""

    def result(self, values, seed):  # noqa: ARG002 - as in the parent
        return complete(0.2 - math.log10(values["learning_rate"]) / 8)


def test_an_edge_that_the_elites_opened_is_in_order(database, make_study, work):
    """Round 2 is tried beyond the declared range, within the limits, and all is decided again."""
    rate = {"low": 1e-3, "high": 1.0, "scale": "log", "limits": [1e-5, 1.0]}
    study = make_study(space={"learning_rate": rate}, search={"rounds": 2, "trials": 60})
    after = work(study, LowIsBest())
    record = read_record(database, after)
    (row,) = record.ledger[2]
    assert (row.decision, row.edge, row.range.low) == ("moved", "lower", 1e-5)
    tried = [trial.values["learning_rate"] for trial in record.trials]
    assert 1e-5 <= min(tried) < 1e-4
    assert problems(database, after) == []


def test_what_happens_meanwhile_is_no_disagreement(database, study, work, worker_id):
    """A record that was read before rounds closed and opened is compared as far as it goes."""
    waiting = read_record(database, study)
    assert claim(database, study.id, worker_id, 4) is not None
    running = read_record(database, study)
    worker_stopped(database, worker_id)
    work(study)
    assert list(disagreements(database, waiting)) == []
    assert list(disagreements(database, running)) == []


def search_trial(number):
    return (TRIAL.purpose == "search") & (TRIAL.number == number)


def of_trial(column, number):
    return column.in_(select(TRIAL.id).where(search_trial(number)))


def optuna_of(column, number):
    return column.in_(select(TRIAL.optuna_trial_id).where(search_trial(number)))


def remove(number):
    owned = (tables.epoch, tables.attempt)
    return [
        *(delete(table).where(of_trial(table.c.trial_id, number)) for table in owned),
        delete(tables.trial).where(search_trial(number)),
    ]


def range_of(round_, **values):
    this = (LEDGER.round == round_) & (LEDGER.dimension == "learning_rate")
    return update(tables.ledger).where(this).values(**values)


RANGE = json.dumps({"low": 0.001, "high": 0.5, "scale": "log"})
VALUES = json.dumps({"learning_rate": 0.5, "l2": 0.1, "batch_size": 16, "activation": "relu"})
# What somebody has done, the check that finds it, words of its line.
TAMPERED = {
    "a range of the ledger": (
        [range_of(2, range=RANGE)],
        [("ledger", f"range of learning_rate in round 2: {RANGE} in the ledger")],
    ),
    "a decision of the ledger": (
        [range_of(1, decision="kept")],
        [("ledger", 'range of learning_rate in round 1: decision "kept" in the ledger')],
    ),
    "a row of the ledger that is gone": (
        [delete(tables.ledger).where(LEDGER.round == 3, LEDGER.dimension == "l2")],
        [("ledger", "range of l2 in round 3: is missing")],
    ),
    "a trial that is gone": (
        remove(17),
        [
            ("rounds", "round 2: trial 17 is missing"),
            ("Optuna", "small: 1 of its trials are not ours"),
        ],
    ),
    "a trial that waits in a closed round": (
        [update(tables.trial).where(search_trial(3)).values(state="waiting", score=None)],
        [("rounds", "round 1 is closed, and trial 3 is waiting")],
    ),
    "a seed": (
        [update(tables.trial).where(search_trial(3)).values(seed=7)],
        [("values", "round 1: search 3: seed 7, planned ")],
    ),
    "the values of a trial": (
        [update(tables.trial).where(search_trial(23)).values({"values": VALUES})],
        [
            ("values", f"round 2: search 23: values {VALUES}, planned "),
            ("Optuna", "search 23: values "),
        ],
    ),
    "values that nobody can narrow on": (
        [update(tables.trial).where(search_trial(3)).values({"values": '{"l2": 0.1}'})],
        [
            ("rounds", "repeat: nothing can be decided from its rows (KeyError("),
            ("values", 'round 1: search 3: values {"l2": 0.1}, planned {"learning_rate": '),
        ],
    ),
    "a score that is none": (
        [update(tables.trial).where(search_trial(3)).values(score=5.0)],
        [("rounds", "repeat: nothing can be decided from its rows (ValueError(")],
    ),
    "the winner's score": (
        [update(tables.study).values(winner='{"score": 1.0}')],
        [("winner", '{"score": 1.0} in the database, {"values": ')],
    ),
    "the study's state": (
        [update(tables.study).values(state="running")],
        [("winner", "the study says it is running, its rounds say complete")],
    ),
    "a state in Optuna": (
        [update(OPTUNA).where(optuna_of(OPTUNA.c.trial_id, 5)).values(state="FAIL")],
        [("Optuna", "search 5: complete, FAIL in Optuna")],
    ),
    "a value in Optuna": (
        [update(OPTUNA_VALUES).where(optuna_of(OPTUNA_VALUES.c.trial_id, 5)).values(value=2.0)],
        [("Optuna", "search 5: score 0.")],
    ),
    "a step in Optuna": (
        [
            update(OPTUNA_STEPS)
            .where(optuna_of(OPTUNA_STEPS.c.trial_id, 5), OPTUNA_STEPS.c.step == 1)
            .values(intermediate_value=0.125)
        ],
        [("Optuna", "search 5: other scores of its epochs in Optuna")],
    ),
}


@pytest.mark.parametrize("what", list(TAMPERED))
def test_changed_rows_are_found(database, finished_study, what):
    """Each change is found by the check it belongs to, with one line for each disagreement."""
    statements, expected = TAMPERED[what]
    change(database, *statements)
    found = [p for p in problems(database, finished_study) if p[0] in dict(expected)]
    assert [check for check, _ in found] == [check for check, _ in expected]
    for (_, said), (_, words) in zip(found, expected, strict=True):
        assert said.startswith(words)


def test_a_changed_score_moves_the_decision(database, make_study, work):
    """A better score than was measured makes another ledger, and Optuna still has the old one."""
    finished = work(make_study(search={"rounds": 2, "trials": 40}))
    change(database, update(tables.trial).where(search_trial(0)).values(score=1.0))
    checks = {check for check, _ in problems(database, finished)}
    assert {"ledger", "Optuna"} <= checks


def test_a_final_trial_without_its_opening_is_found(database, trained):
    """Who forgets an opening on purpose is found out by the trial that it left behind."""
    change(database, delete(tables.opening))
    assert problems(database, trained) == [
        ("openings", "1 final trials, but the test split was opened 0 times")
    ]


def test_another_test_figure_is_found(database, trained):
    """The figure of an opening is the score of its final trial."""
    change(database, update(tables.opening).values(result=json.dumps({"score": 1.5})))
    ((check, said),) = problems(database, trained)
    assert check == "openings"
    assert said.startswith("final 0: score 0.")


def test_verify_does_not_wait_for_writers(database_url, database, study, monkeypatch):
    """Optuna's rows too are read while somebody writes."""
    monkeypatch.setattr("hpsearch.store.engine.BUSY_SECONDS", 0)
    with closing(open_database(database_url)) as reader, database.writing():
        assert list(disagreements(reader, read_record(reader, study))) == []


def test_the_order_of_rows_is_no_disagreement(database, finished_study):
    """A server gives a trial's steps in any order."""
    mine = optuna_of(OPTUNA_STEPS.c.trial_id, 5) & (OPTUNA_STEPS.c.step == 1)
    with database.writing() as connection:
        row = dict(connection.execute(select(OPTUNA_STEPS).where(mine)).mappings().one())
        key = row.pop("trial_intermediate_value_id")
        connection.execute(delete(OPTUNA_STEPS).where(OPTUNA_STEPS.c[0] == key))
        connection.execute(insert(OPTUNA_STEPS).values(row))
    assert problems(database, finished_study) == []


DAMAGES = {
    "values that are a list": update(tables.trial).values({"values": "[1]"}),
    "a box that is a list": update(tables.round_).values(box="[]"),
    "a range that is a word": update(tables.ledger).values(range='"x"'),
    "a spec without its tables": update(tables.study).values(spec="{}"),
    "a spec cut short": update(tables.study).values(spec="{"),
    "a winner without values": update(tables.study).values(winner='{"score": 1.0}'),
    "an opening without a score": update(tables.opening).values(result="{}"),
    "epochs that are a list": update(tables.epoch).values(metrics="[]"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_rows_that_cannot_be_read_are_one_line(database, trained, damage):
    """Whatever stands in a row, verify ends in a line that names the study, and no traceback."""
    change(database, DAMAGES[damage])
    with pytest.raises(DatabaseError, match=r"^small: one of its rows cannot be read \(.*--name$"):
        verified(database, trained, Sample(1, None, None, 0))


def test_trials_that_others_added_to_optunas_study_are_found(database, finished_study):
    """A trial that was asked for in Optuna's study is no trial of the search."""
    optuna_study = database.storage.get_study_id_from_name("small")
    database.storage.create_new_trial(optuna_study)
    assert problems(database, finished_study) == [("Optuna", "small: 1 of its trials are not ours")]


# ------------------------------------------------------------------------------ MLflow


def keys_of(verification):
    return verification._keys()


@pytest.mark.parametrize(
    ("change_of", "copied", "words", "verdict"),
    [
        (lambda keys: keys, 17, ["runs, one for each row"], ["ok"]),
        (lambda keys: keys - {"small/search/3"}, 17, ["small/search/3: missing"], ["wrong"]),
        (lambda keys: keys - {"small/search/3"}, 16, ["small/search/3: not copied"], ["warning"]),
        (lambda keys: keys | {"small/search/99"}, 17, ["small/search/99: no such"], ["wrong"]),
    ],
)
def test_runs_in_mlflow_are_compared_by_key(
    database, trained, monkeypatch, change_of, copied, words, verdict
):
    """A run that is missing although it was copied, or that no row stands behind, is wrong."""
    from collections import Counter

    verification = Verification(database, trained.name, EVERY, None)
    write_mirror(database, trained.id, "sqlite:///m.db", copied)
    runs = Counter(change_of(keys_of(verification)))
    monkeypatch.setattr(hpsearch.verification, "run_keys", lambda *_: runs)
    found = list(verification.mirrored("sqlite:///m.db", Commands()))
    assert [f.verdict for f in found] == verdict
    assert all(word in f.said for word, f in zip(words, found, strict=True))


def test_an_mlflow_that_has_nothing_or_is_away_is_left_out(database, trained):
    """Without a copy there is nothing to compare, and a server that is down is no disagreement."""
    verification = Verification(database, trained.name, EVERY, None)
    (found,) = verification.mirrored("sqlite:///m.db", Commands())
    assert found.verdict == Verdict.OK
    write_mirror(database, trained.id, "http://127.0.0.1:1", 17)
    (found,) = verification.mirrored("http://127.0.0.1:1", Commands())
    assert found.verdict == Verdict.WARNING
    assert "left out" in found.said
