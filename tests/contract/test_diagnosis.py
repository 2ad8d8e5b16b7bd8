"""What `hpsearch doctor` finds in a database, and that it leaves it as it was."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import column, insert, table, update

import hpsearch.diagnosis
import hpsearch.store.database
import hpsearch.store.inspection
from hpsearch.diagnosis import diagnose
from hpsearch.errors import ForeignDatabaseError, NoStudiesError
from hpsearch.findings import Commands, Verdict, worst
from hpsearch.search.amendments import Change
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.amendments import amend
from hpsearch.store.bulk import models
from hpsearch.store.claims import claim
from hpsearch.store.database import open_database
from hpsearch.store.mirroring import write_mirror
from hpsearch.store.openings import begin_opening
from hpsearch.store.results import commit
from hpsearch.store.studies import create_study
from hpsearch.store.tables import VERSION_TABLE
from hpsearch.store.workers import worker_stopped

OPTUNA = models.TrialModel.__table__
OPTUNA_STATES = models.TrialState


@pytest.fixture(autouse=True)
def _calm_machine(monkeypatch):
    """This machine has space and answers soon, whatever else it does."""
    monkeypatch.setattr(hpsearch.diagnosis, "_SLOW_SECONDS", 60.0)
    have_space(monkeypatch, 1 << 40)


def have_space(monkeypatch, free):
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(hpsearch.diagnosis, "disk_usage", lambda _: usage)


def look(url, tracking="none"):
    return list(diagnose(url, tracking, Commands()))


def not_ok(findings):
    return [f for f in findings if f.verdict != Verdict.OK]


@pytest.fixture
def claimed(database, study, worker_id):
    """A study whose first trials are being trained."""
    return claim(database, study.id, worker_id, 4)


# ------------------------------------------------------------------------- healthy


def test_a_running_study_is_well(database_url, database, claimed, complete_with):
    """With trials waiting, running and finished nothing is found, and a worker is counted."""
    commit(database, claimed, {claimed.trials[0].id: complete_with(0.5)})
    findings = look(database_url)
    assert not_ok(findings) == []
    assert "1 alive" in [f.said for f in findings]


@pytest.mark.usefixtures("finished_study")
def test_a_finished_study_is_well(database_url):
    """After the confirmation nothing is found."""
    assert not_ok(look(database_url)) == []


def test_a_study_with_trials_that_diverged_or_failed_is_well(
    database_url, study, work, diverging_objective
):
    """Optuna's words for them are PRUNED and FAIL, and that is no disagreement."""
    work(study, diverging_objective())
    assert not_ok(look(database_url)) == []


def test_a_look_changes_no_file(tmp_path, make_spec):
    """Database and folder are the same afterwards, whether a log is there or not."""
    url, copy = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "killed"
    database = open_database(url, create=True)
    create_study(database, make_spec(), "", "0" * 64, 100)
    copy.mkdir()
    for file in tmp_path.glob("a.db*"):  # as a killed process leaves them
        shutil.copy(file, copy)
    database.close()
    for folder in (tmp_path, copy):
        before = contents(folder)
        assert not_ok(look(f"sqlite:///{folder / 'a.db'}")) == []
        assert contents(folder) == before
    assert {"a.db", "a.db-wal"} <= set(contents(copy))
    assert "a.db-wal" not in contents(tmp_path)


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file but the index of the log, which readers may write to."""
    files = [file for file in folder.iterdir() if file.is_file() and not file.match("*-shm")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# ------------------------------------------------------------------------- damaged


def first_of(claimed):
    return tables.trial.c.id == claimed.trials[0].id


DAMAGES = {
    "running without an attempt that runs": lambda c: [
        tables.attempt.delete().where(tables.attempt.c.trial_id == c.trials[0].id)
    ],
    "not running, but an attempt at them is": lambda c: [
        update(tables.trial).where(first_of(c)).values(state=TrialState.WAITING),
        update(OPTUNA)
        .where(OPTUNA.c.trial_id == c.trials[0].optuna_trial_id)
        .values(state=OPTUNA_STATES.WAITING),
    ],
    "not finished, but with measured epochs": lambda c: [
        insert(tables.epoch).values(trial_id=c.trials[0].id, epoch=1, metrics="{}")
    ],
    "finished, but Optuna's state says otherwise": lambda c: [
        update(tables.trial).where(first_of(c)).values(state=TrialState.DIVERGED),
        update(tables.attempt)
        .where(tables.attempt.c.trial_id == c.trials[0].id)
        .values(outcome="finished"),
    ],
    "not among Optuna's trials": lambda c: [
        models.TrialParamModel.__table__.delete(),
        OPTUNA.delete().where(OPTUNA.c.trial_id == c.trials[0].optuna_trial_id),
    ],
}


@pytest.mark.parametrize("said", list(DAMAGES))
def test_rows_without_their_partner_are_wrong(database_url, database, claimed, said):
    """Each damage is one finding that names the study, the trial and the command that mends it."""
    with database.writing() as connection:
        for statement in DAMAGES[said](claimed):
            connection.execute(statement)
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict, found.study) == ("rows", Verdict.WRONG, "small")
    assert found.said == f"search 0: {said}"
    assert found.command == "hpsearch start small --name small-again"


@pytest.mark.usefixtures("study")
def test_waiting_trials_in_a_closed_round_are_wrong(database_url, database):
    """Nobody would ever claim them; of twelve only three are named."""
    with database.writing() as connection:
        connection.execute(update(tables.round_).values(state="closed"))
    (found,) = not_ok(look(database_url))
    assert found.said == (
        "search 0, search 1, search 2 and 9 others: not finished in a round that is closed"
    )
    assert found.verdict == Verdict.WRONG


def test_a_study_that_ended_before_its_last_round_is_wrong(database_url, database, finished_study):
    """Complete with fewer rounds than an amendment gave it, it would never go on."""
    amend(database, finished_study, lambda *_: Change(undo=2))
    assert not_ok(look(database_url)) == []
    with database.writing() as connection:
        connection.execute(update(tables.amendment).values(document='{"rounds": 4}'))
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("rows", Verdict.WRONG)
    assert found.said == "is complete after 2 rounds, and was given 4"
    assert found.command == "hpsearch start small --name small-again"


@pytest.mark.usefixtures("study")
def test_a_trial_taken_through_optuna_is_a_warning(database_url, database):
    """`study.ask()` takes a waiting row, and hpsearch's next claim takes it back."""
    optuna_study = database.storage.get_study_id_from_name("small")
    (first, *_) = database.storage.get_all_trials(optuna_study)
    database.storage.set_trial_state_values(first._trial_id, OPTUNA_STATES.RUNNING)
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("rows", Verdict.WARNING)
    assert found.command == "hpsearch start small"


@pytest.mark.usefixtures("claimed")
def test_lapsed_leases_are_a_warning(database_url, database):
    """Trials that nobody has renewed are named, with the command that goes on."""
    with database.writing() as connection:
        late = update(tables.trial).where(tables.trial.c.lease_until.is_not(None))
        connection.execute(late.values(lease_until=1.0))
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("leases", Verdict.WARNING)
    assert found.said == "search 0: not renewed in time"
    assert found.command == "hpsearch start small"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seen": 1.0}, "not heard of for"),
        ({"process": "gone"}, "its process is gone"),
    ],
)
@pytest.mark.usefixtures("worker_id")
def test_missing_workers_are_a_warning(database_url, database, monkeypatch, changes, said):
    """A worker that is silent for two leases, or whose process has ended, is named."""
    monkeypatch.setattr(hpsearch.store.inspection, "may_be_alive", lambda p: p != "gone")
    with database.writing() as connection:
        connection.execute(update(tables.worker).values(**changes))
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict, found.study) == ("workers", Verdict.WARNING, "small")
    assert said in found.said
    assert found.command == "hpsearch start small"


def test_an_opening_without_a_result_is_a_warning(
    database_url, database, finished_study, make_worker
):
    """An opening whose process is gone is named with the command that finishes it."""
    worker = make_worker(finished_study)
    begin_opening(database, finished_study, worker, again=False)
    assert not_ok(look(database_url)) == []  # it may still be at it
    worker_stopped(database, worker)
    (found,) = not_ok(look(database_url))
    assert found.said == "final 0: the opening of the test split has no result"
    assert found.command == "hpsearch test small"


# ------------------------------------------------------------------- the database itself


@pytest.mark.usefixtures("study")
def test_an_older_schema_is_brought_up_to_date_by_start(database_url, monkeypatch):
    """An older database is wrong, the command that mends it is named, and no row is read."""
    monkeypatch.setattr(hpsearch.store.database, "SCHEMA_VERSION", "9999")
    findings = look(database_url)
    (found,) = not_ok(findings)
    assert (found.check, found.verdict) == ("schema", Verdict.WRONG)
    assert found.command == "hpsearch start small"
    assert "rows" not in [f.check for f in findings]


@pytest.mark.usefixtures("study")
def test_a_slow_answer_is_a_warning(database_url, monkeypatch):
    """Workers would wait for it at every claim."""
    monkeypatch.setattr(hpsearch.diagnosis, "_SLOW_SECONDS", 0.0)
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("database", Verdict.WARNING)
    assert "workers will wait for it" in found.said


@pytest.mark.usefixtures("study")
def test_a_newer_schema_is_wrong(database_url, database):
    """A database that a newer hpsearch wrote is named as such."""
    with database.writing() as connection:
        connection.execute(
            update(table(VERSION_TABLE, column("version_num"))).values(version_num="9999")
        )
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("schema", Verdict.WRONG)
    assert "another version of hpsearch (schema 9999" in found.said


def test_what_is_no_database_of_hpsearch_is_a_mistake(tmp_path):
    """A file that is not there, or is another program's, was typed by mistake."""
    with pytest.raises(NoStudiesError):
        look(f"sqlite:///{tmp_path / 'none.db'}")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(ForeignDatabaseError):
        look(f"sqlite:///{tmp_path / 'other.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_does_not_answer_is_wrong(tmp_path):
    """A damaged file and a server that is down are findings, not mistakes."""
    (tmp_path / "text.db").write_text("This is a text file, not a database. " * 40)
    for url in (f"sqlite:///{tmp_path / 'text.db'}", "postgresql://nobody@127.0.0.1:1/none"):
        findings = look(url, "sqlite:///mlflow.db")
        (found,) = not_ok(findings)
        assert (found.check, found.verdict) == ("database", Verdict.WRONG)
        assert findings[-1].said.startswith("left out: ")  # who knows what was copied?


def test_a_file_without_a_write_ahead_log_is_a_warning(tmp_path):
    """A file in another journal mode is named, and stays in it."""
    file = tmp_path / "a.db"
    open_database(f"sqlite:///{file}", create=True).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    (found,) = not_ok(look(f"sqlite:///{file}"))
    assert (found.check, found.verdict) == ("journal", Verdict.WARNING)
    assert found.command == "hpsearch list"
    assert not_ok(look(f"sqlite:///{file}")) == [found]


@pytest.mark.parametrize(("free", "verdict"), [(1 << 31, "ok"), (1 << 29, "warning"), (9, "wrong")])
def test_little_disk_space_is_said(tmp_path, monkeypatch, free, verdict):
    """Below 1 GB it is a warning, below 50 MB it is wrong; what to type is quoted for a shell."""
    monkeypatch.setenv("HPSEARCH_CACHE", "/my cache")
    url = f"sqlite:///{tmp_path / 'a.db'}"
    open_database(url, create=True).close()
    have_space(monkeypatch, free)
    findings = look(url)
    assert worst(findings) == verdict
    commands = {f.command for f in not_ok(findings)}
    assert commands <= {"rm -r '/my cache/prepared'"}


def test_a_network_file_system_is_wrong(tmp_path, monkeypatch):
    """SQLite on one is named with its kind; who answers for it is only reminded."""
    file = tmp_path / "my studies.db"
    url = f"sqlite:///{file}"
    open_database(url, create=True).close()
    monkeypatch.setattr(hpsearch.diagnosis, "network_filesystem", lambda _: "nfs4")
    (found,) = not_ok(look(url))
    assert found.command == f"mv '{file}'* /LOCAL/FOLDER/"
    assert (found.check, found.verdict) == ("file system", Verdict.WRONG)
    assert "nfs4" in found.said

    monkeypatch.setenv("HPSEARCH_NETWORK_FILES", "allow")
    (found,) = not_ok(look(url))
    assert (found.verdict, found.command) == (Verdict.WARNING, None)
    assert "HPSEARCH_NETWORK_FILES=allow" in found.said


# --------------------------------------------------------------------------- MLflow


def test_a_mirror_that_waits_is_a_warning(database_url, database, finished_study):
    """How far it is behind and its own words are said, with the command that catches up."""
    write_mirror(database, finished_study.id, "sqlite:///m.db", 20, message="no server answers")
    (found,) = not_ok(look(database_url))
    assert (found.check, found.verdict) == ("mirror", Verdict.WARNING)
    assert found.said == "12 of 32 trials behind: no server answers"
    assert found.command == "hpsearch sync small"


def test_a_mirror_at_work_is_well(database_url, database, finished_study):
    """One that was heard of a moment ago is on its way; later it is a warning."""
    write_mirror(database, finished_study.id, "sqlite:///m.db", 20)
    assert not_ok(look(database_url)) == []
    with database.writing() as connection:
        connection.execute(update(tables.mirror).values(seen=tables.mirror.c.seen - 3600))
    (found,) = not_ok(look(database_url))
    assert found.said == "12 of 32 trials behind"


def test_an_mlflow_that_is_away_is_a_warning(database_url, database, finished_study):
    """No trial is lost without MLflow, so nothing is wrong; the copy's command is given."""
    away = "http://127.0.0.1:1"
    (found,) = not_ok(look(database_url, away))
    assert (found.check, found.verdict) == ("MLflow", Verdict.WARNING)
    assert "no trial is lost" in found.said
    write_mirror(database, finished_study.id, away, 20, message="no server answers")
    found = not_ok(look(database_url, away))
    assert [(f.check, f.verdict) for f in found] == [
        ("mirror", Verdict.WARNING),
        ("MLflow", Verdict.WARNING),
    ]
    assert {f.command for f in found} == {"hpsearch sync small"}


def test_a_deleted_copy_is_a_warning(tmp_path, database_url, database, finished_study):
    """MLflow's file is looked for where the mirror has copied to, and not made."""
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    write_mirror(database, finished_study.id, tracking, 32)
    (found,) = not_ok(look(database_url, tracking))
    assert (found.check, found.command) == ("MLflow", "hpsearch sync small")
    assert not (tmp_path / "mlflow.db").exists()
