"""A study is copied whole between databases of either kind, or not at all."""

import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter

import optuna
import pytest
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import func, select, text, update
from typer.testing import CliRunner

from hpsearch.cli.main import app
from hpsearch.errors import DatabaseError, HpsearchError, StudyFileError, UnknownStudyError
from hpsearch.store import copying, tables
from hpsearch.store.bulk import STUDY_TABLES, TRIAL_TABLES
from hpsearch.store.claims import claim
from hpsearch.store.copying import LEFT_OUT, copy_study
from hpsearch.store.database import open_database
from hpsearch.store.leases import hand_back
from hpsearch.store.mirroring import read_mirror, write_mirror
from hpsearch.store.openings import begin_opening, finish_opening
from hpsearch.store.reading import ranges_document, study_document, trials_document
from hpsearch.store.results import commit
from hpsearch.store.rounds import take_closing
from hpsearch.store.studies import load_study, study_names
from hpsearch.store.workers import live_workers, register_worker, worker_stopped
from hpsearch.worker import Worker
from tests.contract.conftest import empty


@pytest.fixture(scope="module")
def _postgres_target(_postgres):
    url = _postgres.url(_postgres.make())
    open_database(url, create=True).close()
    return url


@pytest.fixture
def target(request, database, tmp_path):
    """A database of the other kind, empty but for the tables."""
    if database.engine.dialect.name == "sqlite":
        url = request.getfixturevalue("_postgres_target")
        empty(url)
    else:
        shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "target.db")
        url = f"sqlite:///{tmp_path / 'target.db'}"
    opened = open_database(url)
    yield opened
    opened.close()


def documents(database, name):
    """All that people and programs read of a study, but for who is alive now."""
    study = load_study(database, name)
    shown = study_document(database, study)
    del shown["workers"]
    return shown, ranges_document(database, study), trials_document(database, study)


def optuna_trials(database, name):
    return optuna.load_study(study_name=name, storage=database.storage).trials


def without_ids(trials):
    """Every field of Optuna's trials but the database's id of them."""
    fields = [{**vars(trial), "_trial_id": None} for trial in trials]
    assert all("_values" in field and "_datetime_start" in field for field in fields)
    return fields


def rows(database, table):
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def everything(database):
    """How many rows each table of both tools has."""
    both = {**tables.metadata.tables, **BaseModel.metadata.tables}
    return {name: rows(database, table) for name, table in both.items()}


@pytest.fixture
def tested_study(database, finished_study, make_worker, complete_with):
    """A finished study whose test split was opened, with things that Optuna's users add."""
    worker_id = make_worker(finished_study)
    opening = begin_opening(database, finished_study, worker_id, again=False)
    finish_opening(database, opening, {"metric": "test_accuracy", "score": 0.5}, complete_with(0.5))
    worker_stopped(database, worker_id)
    mine = optuna.load_study(study_name="small", storage=database.storage)
    mine.set_user_attr("note", {"deep": [1, None, "ä"]})
    mine.enqueue_trial({"learning_rate": 0.5}, user_attrs={"why": "tried by hand"})
    return finished_study


def test_the_copy_of_a_copy_in_mlflow_is_typed_as_it_stands(tmp_path, finished_study, database):
    """What `copy` suggests names both addresses, MLflow's as the original has it, quoted."""
    write_mirror(database, finished_study.id, "sqlite:///my runs.db", 32)
    to = f"sqlite:///{tmp_path / 'my copy.db'}"
    result = CliRunner().invoke(app, ["copy", "small", "--database", database.url, "--to", to])
    said = " ".join(result.output.split())
    wanted = f"`hpsearch sync small --database '{to}' --tracking 'sqlite:///my runs.db'` copies"
    assert wanted.replace(" ", "") in said.replace(" ", "")


# ------------------------------------------------------------------------ equality


@pytest.mark.usefixtures("tested_study")
def test_every_document_and_every_trial_of_optuna_is_equal(database, target):
    """A finished, tested study reads the same from both places, through either tool."""
    report = copy_study(database, target.url, "small")
    assert documents(target, "small") == documents(database, "small")
    for name in ("small", "small/repeat", "small/confirmation", "small/final"):
        copied = optuna_trials(target, name)
        assert copied
        assert without_ids(copied) == without_ids(optuna_trials(database, name))
    theirs = optuna.load_study(study_name="small", storage=database.storage)
    ours = optuna.load_study(study_name="small", storage=target.storage)
    assert ours.user_attrs == theirs.user_attrs == {"note": {"deep": [1, None, "ä"]}}
    assert ours.directions == theirs.directions
    assert {t.name: t.rows for t in report.tables}["hpsearch_trial"] == 24 + 4 + 4 + 1
    assert report.trials == 24 + 1 + 4 + 4 + 1
    assert report.freed == 0


def test_curves_and_infinities_arrive(database, make_study, work, diverging_objective, target):
    """Values that are no numbers stand in the copy as they do in the original."""
    work(make_study(), diverging_objective())
    copy_study(database, target.url, "small")
    copied, original = (optuna_trials(d, "small") for d in (target, database))
    assert str([t.intermediate_values for t in copied]) == str(
        [t.intermediate_values for t in original]
    )
    assert "nan" in str(copied[0].intermediate_values)
    assert documents(target, "small") == documents(database, "small")


def digests(report):
    """What says that rows are equal, but for the two tables that hold the study's name."""
    named = {"studies", "hpsearch_study"}
    return {t.name: (t.rows, t.digest) for t in report.tables if t.name not in named}


@pytest.mark.usefixtures("tested_study")
def test_there_and_back_is_the_same(database, target):
    """Copied to the other place and back under a new name, every table has the same digest."""
    there = digests(copy_study(database, target.url, "small", "other"))
    back = digests(copy_study(target, database.url, "other", "third"))
    again = digests(copy_study(database, target.url, "small"))
    assert there == back == again
    assert study_names(database) == ["small", "third"]
    shown, ranges, trials = documents(database, "third")
    assert shown.pop("study") == "third"
    original = documents(database, "small")
    assert original[0].pop("study") == "small"
    assert (shown, ranges, trials) == original


@pytest.mark.usefixtures("tested_study")
def test_new_ids_do_not_meet_those_of_other_studies(database, target):
    """A study that is at the target already keeps every row, and the copy every reference."""
    copy_study(database, target.url, "small", "first")
    before = documents(target, "first"), without_ids(optuna_trials(target, "first"))
    copy_study(database, target.url, "small", "second")
    assert (documents(target, "first"), without_ids(optuna_trials(target, "first"))) == before
    assert documents(target, "second")[2] == documents(database, "small")[2]


@pytest.mark.usefixtures("tested_study")
def test_a_copy_within_one_database(database):
    """Source and target may be the same; the copy then needs a name of its own."""
    copy_study(database, database.url, "small", "twin")
    assert documents(database, "twin")[2] == documents(database, "small")[2]


def test_every_table_is_copied_or_left_out_on_purpose():
    """A table that joins the schema must be copied, or be named among what is left out."""
    copied = {
        *STUDY_TABLES,
        *TRIAL_TABLES,
        tables.study,
        tables.trial,
        *copying._OUR_STUDY_PARTS,
        *copying._OUR_TRIAL_PARTS,
    }
    optunas = {"version_info", "trial_heartbeats"}
    known = {table.name for table in (*copied, *LEFT_OUT)} | optunas
    assert known == {*tables.metadata.tables, *BaseModel.metadata.tables}


@pytest.mark.usefixtures("finished_study")
def test_large_studies_are_copied_piece_by_piece(database, target, monkeypatch):
    """Studies larger than what is in memory at once are copied whole, and progress is told."""
    monkeypatch.setattr(copying, "_TRIALS_AT_ONCE", 5)
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 3)
    told = []
    copy_study(database, target.url, "small", watch=lambda *news: told.append(news))
    assert documents(target, "small") == documents(database, "small")
    assert [done for what, done, _ in told if what == "copied"] == [5, 10, 15, 20, 25, 30, 32]
    assert [done for what, done, _ in told if what == "checked"] == [5, 10, 15, 20, 25, 30, 32]
    assert {total for *_, total in told} == {32}


# ------------------------------------------------------- what belongs to one place


@pytest.fixture
def half_done(database, make_study, make_worker, quick_objective):
    """A study whose worker has died amid its second claim, with the first one committed."""
    study = make_study(space={"learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"}})
    worker_id = make_worker(study)
    done = claim(database, study.id, worker_id, 5)
    commit(database, done, {t.id: quick_objective().result(t.values, t.seed) for t in done.trials})
    held = claim(database, study.id, worker_id, 4)
    vanish(database)
    return held


def vanish(database):
    """Workers are gone without a word, and were last heard of long ago."""
    with database.writing() as connection:
        connection.execute(update(tables.worker).values(process="gone", seen=0.0))


def test_what_a_dead_worker_held_waits_at_the_target(database, half_done, target):
    """Running trials arrive as waiting, blamed for nothing; finished ones as they are."""
    report = copy_study(database, target.url, "small")
    study = load_study(target, "small")
    trials = trials_document(target, study)
    assert Counter(t["state"] for t in trials) == {"complete": 5, "waiting": 7}
    assert report.freed == len(half_done.trials) == 4
    with target.reading() as connection:
        trial, attempt = tables.trial.c, tables.attempt.c
        held = connection.execute(select(tables.trial).where(trial.state == "waiting")).all()
        assert {(t.token, t.lease_until, t.worker_id, t.losses) for t in held} == {
            (None, None, None, 0)
        }
        outcomes = Counter(connection.scalars(select(attempt.outcome)))
        assert outcomes == {"finished": 5, "lost": 4}
        assert connection.scalar(select(tables.worker.c.stopped)) is not None
    states = Counter(t.state.name for t in optuna_trials(target, "small"))
    assert states == {"COMPLETE": 5, "WAITING": 7}
    assert live_workers(target, study.id) == 0


def test_the_original_stays_as_it_was(database, half_done, target):
    """Copying writes nothing where it reads: the dead worker's trials are still its own."""
    before = everything(database), documents(database, "small")[1:]
    copy_study(database, target.url, "small")
    assert (everything(database), documents(database, "small")[1:]) == before
    with database.reading() as connection:
        tokens = connection.scalars(
            select(tables.trial.c.token).where(tables.trial.c.state == "running")
        )
        assert set(tokens) == {half_done.token}


def test_a_copied_study_goes_on_to_the_same_table(
    database, half_done, work, quick_objective, target
):
    """An unfinished study ends at the target with the table of one that stayed."""
    copy_study(database, target.url, "small", "moved")
    moved = load_study(target, "moved")
    assert moved.spec.name == "moved"
    Worker(target, moved, quick_objective()).run(threading.Event(), lambda: False)
    hand_back(database, half_done)
    stayed = work(load_study(database, "small"))
    assert table(target, moved) == table(database, stayed)
    assert load_study(target, "moved").winner == stayed.winner is not None


def table(database, study):
    """A study's trials without what may differ between equal runs."""
    free = {"started", "finished", "worker", "attempts"}
    trials = trials_document(database, study)
    return [{k: v for k, v in trial.items() if k not in free} for trial in trials]


def test_a_leased_close_is_free_at_the_target(database, study, worker_id, complete_with, target):
    """A round that a dead worker was about to close can be closed by others at once."""
    while taken := claim(database, study.id, worker_id, 12):
        commit(database, taken, {t.id: complete_with(0.5) for t in taken.trials})
    assert take_closing(database, study.id, worker_id) is not None
    vanish(database)
    copy_study(database, target.url, "small")
    copied = load_study(target, "small")
    assert take_closing(target, copied.id, register_worker(target, copied.id, {})[0])


def test_an_unfinished_opening_is_finished_at_the_target(
    database, finished_study, make_worker, target, complete_with
):
    """An opening that was written down stays written down: taking it up counts no second one."""
    begin_opening(database, finished_study, make_worker(finished_study), again=False)
    copy_study(database, target.url, "small")
    study = load_study(target, "small")
    opening = begin_opening(target, study, register_worker(target, study.id, {})[0], again=False)
    assert opening.number == 1
    finish_opening(target, opening, {"score": 0.5}, complete_with(0.5))
    test = study_document(target, study)["test"]
    assert (test["score"], test["openings"]) == (0.5, 1)


def test_no_mirror_has_begun_at_the_target(database, finished_study, target):
    """How far MLflow's copy of the original is says nothing about the copy."""
    write_mirror(database, finished_study.id, "sqlite:///mlflow.db", 32)
    copy_study(database, target.url, "small")
    assert read_mirror(target, load_study(target, "small").id) is None
    assert read_mirror(database, finished_study.id) is not None


# ------------------------------------------------------------------------ refusals


def refused(kind, *arguments):
    """The one line with which copying is refused."""
    with pytest.raises(kind) as caught:
        copy_study(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_study_in_training_is_refused(database, worker_id, target):
    """While workers are alive the line names them; once they have left it is copied."""
    with database.reading() as connection:
        name = connection.scalar(select(tables.worker.c.name))
    assert name in refused(DatabaseError, database, target.url, "small")
    assert study_names(target) == []
    worker_stopped(database, worker_id)
    copy_study(database, target.url, "small")


@pytest.mark.usefixtures("finished_study")
def test_a_name_that_is_taken_is_refused(database, target):
    """A study of that name at the target is left alone, whoever made it; another name is fine."""
    copy_study(database, target.url, "small")
    before = everything(target)
    message = refused(DatabaseError, database, target.url, "small")
    assert "--name small-2" in message
    optuna.create_study(storage=target.storage, study_name="theirs")
    assert "theirs" in refused(DatabaseError, database, target.url, "small", "theirs")
    assert everything(target) == before | {
        "studies": before["studies"] + 1,
        "study_directions": before["study_directions"] + 1,
    }
    copy_study(database, target.url, "small", "small-2")


@pytest.mark.usefixtures("finished_study")
def test_a_name_that_cannot_be_one_is_refused(database, target):
    """The new name must be one that a study file could have."""
    assert "a/b" in refused(StudyFileError, database, target.url, "small", "a/b")


@pytest.mark.usefixtures("finished_study")
def test_an_unknown_study_is_refused(database, target):
    """A misspelt study is answered with the one that was meant."""
    assert "small" in refused(UnknownStudyError, database, target.url, "smal")


@pytest.mark.usefixtures("finished_study")
def test_a_study_that_lost_trials_to_optuna_is_refused(database, target):
    """Where Optuna's rows were deleted nothing whole could arrive."""
    optuna.delete_study(study_name="small/confirmation", storage=database.storage)
    assert "4 of its trials" in refused(DatabaseError, database, target.url, "small")
    assert study_names(target) == []


# --------------------------------------------------------------- equal, or not at all


DAMAGES = [
    "UPDATE hpsearch_epoch SET metrics = '{}' WHERE epoch = 2",
    "UPDATE trial_params SET param_value = param_value + 1e-15 WHERE param_name = 'l2'",
    "UPDATE hpsearch_trial SET worker_id = NULL WHERE number = 3",
    "UPDATE hpsearch_trial SET optuna_trial_id = -optuna_trial_id WHERE number = 3",
    "DELETE FROM hpsearch_attempt WHERE started = (SELECT MIN(started) FROM hpsearch_attempt)",
    "DELETE FROM hpsearch_ledger WHERE round = 2",
    "UPDATE trials SET datetime_complete = datetime_start",
    "UPDATE hpsearch_study SET keep_sealed = NOT keep_sealed",
]


@pytest.mark.usefixtures("finished_study")
def test_a_copy_that_is_not_equal_is_not_kept(database, target, monkeypatch):
    """A row that arrives other than it left undoes everything."""
    compared = copying._compared
    for damage in DAMAGES:

        def damaged(original, copy, watch, damage=damage):
            assert copy.connection.execute(text(damage)).rowcount
            return compared(original, copy, watch)

        monkeypatch.setattr(copying, "_compared", damaged)
        assert "not equal" in refused(HpsearchError, database, target.url, "small"), damage
    left = everything(target)
    assert left.pop("version_info") == 1
    assert set(left.values()) == {0}


KILLED = """
import os, signal, sys
from hpsearch.store.copying import copy_study
from hpsearch.store import copying
from hpsearch.store.database import open_database

copying._TRIALS_AT_ONCE = 5

def watch(what, done, total):
    if (what, done) == ("checked", 32):
        os.kill(os.getpid(), signal.SIGKILL)

copy_study(open_database(sys.argv[1]), sys.argv[2], "small", watch=watch)
"""


@pytest.mark.usefixtures("finished_study")
def test_a_killed_copy_leaves_nothing(database, target):
    """Killed after its last look at the last row, the target has none of the study; then it works.

    All rows are written by then, in the one transaction that also ends every earlier death.
    """
    command = [sys.executable, "-c", KILLED, database.url, target.url]
    killed = subprocess.run(command, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert study_names(target) == []
    assert rows(target, STUDY_TABLES[0]) == rows(target, TRIAL_TABLES[0]) == 0
    copy_study(database, target.url, "small")
    assert documents(target, "small") == documents(database, "small")
