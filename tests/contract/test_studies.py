"""A study is made once, whoever else makes it, and never out of somebody else's."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from hpsearch.errors import DatabaseError
from hpsearch.store import tables
from hpsearch.store.database import open_database
from hpsearch.store.studies import create_study, find_study, refresh_report, study_names


def create(database, spec):
    return create_study(database, spec, "", "0" * 64, 100)


def rows(database, table):
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_a_new_study_has_its_ledger_and_its_trials(database, make_spec):
    """What is created is the study, a reason for each range, and round 1 with its trials."""
    study = create(database, make_spec())
    assert study == find_study(database, "small")
    found = (tables.study, tables.round_, tables.ledger, tables.trial)
    assert [rows(database, table) for table in found] == [1, 1, 4, 12]


def test_a_new_study_that_finds_no_space_is_told_as_one(database, make_spec, monkeypatch):
    """Optuna wraps what the disk said to it in words of its own; a person reads the disk's."""

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        raise StorageInternalError from OperationalError("INSERT", {}, error)

    monkeypatch.setattr(database.storage, "create_new_study", full)
    with pytest.raises(DatabaseError, match="the disk is full; free some space"):
        create(database, make_spec())
    assert find_study(database, "small") is None


def test_a_study_that_is_there_is_not_created(database, make_spec):
    """Whoever comes second is told, so that other settings are never taken for its own."""
    first = create(database, make_spec())
    assert create(database, make_spec(training={"epochs": 50})) is None
    assert find_study(database, "small") == first
    assert rows(database, tables.trial) == 12


def test_of_many_creators_one_creates(database, database_url, make_spec):
    """Of processes that create a study at the same moment one does, and none fails."""
    start = threading.Barrier(4)

    def race(_):
        own = open_database(database_url)
        start.wait(timeout=30)
        created = create(own, make_spec())
        own.close()
        return created

    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(race, range(4)))
    assert created.count(None) == 3
    assert (study_names(database), rows(database, tables.trial)) == (["small"], 12)


def test_a_foreign_study_with_trials_is_left_alone(database, make_spec):
    """Trials that somebody made with Optuna are not taken over by a study of the same name."""
    foreign = optuna.create_study(
        storage=database.storage, study_name="small", direction="maximize"
    )
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(DatabaseError, match="not made by hpsearch"):
        create(database, make_spec())
    assert (study_names(database), len(foreign.trials)) == ([], 1)


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "maximize"]])
def test_a_study_with_other_directions_is_refused(database, make_spec, directions):
    """Scores are never written where Optuna would take the worst for the best."""
    optuna.create_study(storage=database.storage, study_name="small", directions=directions)
    with pytest.raises(DatabaseError, match="does not maximise") as caught:
        create(database, make_spec())
    assert "\n" not in str(caught.value)
    assert study_names(database) == []


def test_an_empty_maximising_study_becomes_ours(database, make_spec):
    """What a killed `start` has left behind, or somebody prepared, is used."""
    optuna.create_study(storage=database.storage, study_name="small", direction="maximize")
    assert create(database, make_spec()) is not None


def test_a_changed_report_is_stored_with_its_text_and_nothing_else(database, make_spec):
    """A study whose file has another [report] gets that table and that text; all else stays."""
    study = create(database, make_spec())
    told = make_spec(report={"figures": ["table"]}, seed=9)
    now = refresh_report(database, study, told, "the new text")
    assert now == find_study(database, "small")
    assert (now.spec.figures, now.source) == (("table",), "the new text")
    assert now.spec.model_copy(update={"report": study.spec.report}) == study.spec
    assert refresh_report(database, now, told, "not looked at") == now
