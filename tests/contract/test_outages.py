"""A database that comes and goes: whoever is patient does everything once."""

import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

import hpsearch.worker as worker_module
from hpsearch.errors import DatabaseError, DatabaseUnavailableError
from hpsearch.final import open_sealed_test
from hpsearch.store import database as store
from hpsearch.store import openings, tables
from hpsearch.store import patience as patience_module
from hpsearch.store.database import Database, open_database
from hpsearch.store.driver_errors import explained
from hpsearch.store.mirroring import mirror_progress
from hpsearch.store.patience import Patience
from hpsearch.store.reading import ranges_document, trials_document
from hpsearch.store.studies import load_study
from hpsearch.store.workers import register_worker, worker_stopped, workers_heard_of
from hpsearch.worker import Worker, WorkerOptions, run_worker, wait_for_study
from tests.contract.conftest import NeverSet, QuickObjective


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Tries follow one another at once."""
    monkeypatch.setattr(patience_module, "_PAUSE_SECONDS", (0.0, 0.0))


@pytest.fixture
def breaking(monkeypatch):
    """Breaks the transactions of patient databases: a fifth before the commit, a fifth after it.

    Returns what was broken so far; which transactions they are is drawn from a seed.
    """
    draws, whole, broken = random.Random(0), Database._transaction, []  # noqa: S311 - no secret

    @contextmanager
    def transaction(self, **options):
        fate = draws.random() if self._patience else 0.5
        with whole(self, **options) as connection:
            yield connection
            if fate < 0.2:
                broken.append("before")
                raise DatabaseUnavailableError("the connection broke before the commit")
        if fate > 0.8:
            broken.append("after")
            raise DatabaseUnavailableError("the connection broke after the commit")

    monkeypatch.setattr(Database, "_transaction", transaction)
    return broken


def rows(database, study):
    """`trials --json` without what no two runs have in common."""
    free = ("started", "finished", "worker")
    return [{k: v for k, v in t.items() if k not in free} for t in trials_document(database, study)]


def test_broken_connections_change_nothing(database, database_url, make_study, work, breaking):
    """Every trial is trained once and every round closed at once, whenever the connection broke."""
    undisturbed, study = make_study(name="undisturbed"), make_study(name="disturbed")
    work(undisturbed)
    with closing(open_database(database_url, patience=Patience(threading.Event()))) as patient:
        objective = QuickObjective()
        Worker(patient, study, objective).run(NeverSet(), lambda: False)
    assert {"before", "after"} == set(breaking)
    assert len(breaking) > 10
    assert load_study(database, "disturbed").winner == load_study(database, "undisturbed").winner
    assert rows(database, study) == rows(database, undisturbed)
    assert all(trial["attempts"] == 1 for trial in rows(database, study))
    assert sorted(objective.trained) == sorted([*range(24), *range(4), *range(4)])


def test_a_lease_is_renewed_as_soon_as_the_database_is_back(database, study, monkeypatch):
    """The heartbeat tries again at once after a failure, and beats until the results are stored."""
    monkeypatch.setattr(worker_module, "_AGAIN_SECONDS", 0.0)
    tries, renewed = [], threading.Event()

    def renew(*arguments):
        tries.append(time.monotonic())
        if len(tries) == 2:  # the first try comes after a beat
            raise DatabaseUnavailableError("away")
        if len(tries) == 3:
            renewed.set()
        return whole_renew(*arguments)

    def commit(*arguments):
        beats.append(any(thread.name == "heartbeat" for thread in threading.enumerate()))
        return whole_commit(*arguments)

    class Patient(QuickObjective):
        def run(self, trials, values, should_stop):
            assert renewed.wait(30)
            return super().run(trials, values, should_stop)

    whole_renew, whole_commit, beats = worker_module.renew, worker_module.commit, []
    monkeypatch.setattr(worker_module, "renew", renew)
    monkeypatch.setattr(worker_module, "commit", commit)
    Worker(database, study, Patient(), lease_seconds=4.0).run(NeverSet(), lambda: False)
    assert tries[2] - tries[1] < tries[1] - tries[0]
    assert all(beats)


def test_broken_connections_register_every_worker_once(database, database_url, study, breaking):
    """No row is left of which nobody knows, whose process would seem to be at work for ever."""
    with closing(open_database(database_url, patience=Patience(threading.Event()))) as patient:
        with ThreadPoolExecutor(4) as threads:
            registered = threads.map(lambda _: register_worker(patient, study.id, {})[0], range(40))
        ids = sorted(registered)
    assert {"before", "after"} == set(breaking)
    with database.reading() as connection:
        assert ids == sorted(connection.scalars(select(tables.worker.c.id)))
    assert len(set(ids)) == 40


def test_broken_connections_open_the_test_split_once(
    database, database_url, make_real_study, breaking
):
    """However often the connection breaks around an opening, there is one, with its figure."""
    study = make_real_study()
    run_worker(WorkerOptions(database_url, study.name), threading.Event())
    breaking.clear()  # of what broke around the search
    for number in range(1, 9):
        open_sealed_test(database_url, study.name, None, again=True)
        assert openings.test_figure(database, study.id)["openings"] == number
    assert {"before", "after"} <= set(breaking)
    finals = [trial for trial in rows(database, study) if trial["purpose"] == "final"]
    assert [trial["attempts"] for trial in finals] == [1] * 8


def test_broken_connections_hide_no_result(database, database_url, finished_study, breaking):
    """What a finished search still has to read, it reads although the connection breaks."""
    ledger = ranges_document(database, finished_study)
    with closing(open_database(database_url, patience=Patience(threading.Event()))) as patient:
        for _ in range(10):
            assert ranges_document(patient, finished_study) == ledger
            assert mirror_progress(patient, "small") == (0, 32)
    assert {"before", "after"} == set(breaking)


# ------------------------------------------------------------------- what passes


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("08006", True),  # connection failure
        ("57P01", True),  # the server shuts down
        ("57P03", True),  # it cannot be connected to now
        ("53300", True),  # too many connections
        ("40P01", True),  # deadlock
        ("53100", False),  # disk full
        ("42501", False),  # rights are missing
        ("28P01", False),  # the password is wrong
    ],
)
def test_what_passes_by_itself_on_postgresql(state, passes):
    """An outage is told from what somebody must mend, by the server's own code."""
    psycopg = pytest.importorskip("psycopg")
    error = psycopg.errors.lookup(state)("said by the server")
    assert said(OperationalError("SELECT 1", {}, error)) is passes


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("connection failed: Connection refused", True),
        ("server closed the connection unexpectedly", True),
        ("connection timeout expired", True),
        ('FATAL: database "studies" does not exist', False),
        ("FATAL: password authentication failed for user", False),
        ("fe_sendauth: no password supplied", False),
        ('FATAL: role "reader" is not permitted to log in', False),
        ('FATAL: permission denied for database "studies"', False),
        ("SSL error: certificate verify failed", False),
    ],
)
def test_connections_that_could_not_be_made(words, passes):
    """Without a code of the server its words decide: one that answered no says so again."""
    psycopg = pytest.importorskip("psycopg")
    assert said(OperationalError("SELECT 1", {}, psycopg.OperationalError(words))) is passes


@pytest.mark.parametrize(
    "words",
    [
        'could not extend file "base/5/1": No space left on device\nHINT:  Check free disk space.',
        'could not write to file "pg_wal/xlogtemp.31": No space left on device',
    ],
)
def test_a_full_disk_of_the_server_is_told_as_one(words):
    """Whichever file of the server's found no space, a person reads what to do about it."""
    psycopg = pytest.importorskip("psycopg")
    error = OperationalError("INSERT", {}, psycopg.errors.DiskFull(words))
    with pytest.raises(DatabaseError) as caught, explained("postgresql://db"):
        raise error
    assert "the server's disk is full; free some space there" in str(caught.value)


def said(error):
    """Whether an error of the driver is called an outage."""
    with pytest.raises(DatabaseError) as caught, explained("postgresql://db"):
        raise error
    return isinstance(caught.value, DatabaseUnavailableError)


def test_a_locked_file_is_waited_for(tmp_path, monkeypatch):
    """Another program that holds an SQLite file costs time, not the search."""
    monkeypatch.setattr("hpsearch.store.engine.BUSY_SECONDS", 0)
    url = f"sqlite:///{tmp_path}/study.db"
    open_database(url, create=True).close()
    holder = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    outages = []

    def told(outage):
        outages.append(outage)
        holder.execute("ROLLBACK")

    patience = Patience(threading.Event(), told=told)
    with closing(holder), closing(open_database(url, patience=patience)) as patient:

        @store.retried
        def write(database):
            with database.writing() as connection:
                return connection.exec_driver_sql("SELECT 1").scalar_one()

        assert write(patient) == 1
    assert len(outages) == 1
    assert "trying again" in outages[0]


class Unhurried(threading.Event):
    """A stop event that nobody sets, and on which nobody has to wait."""

    def wait(self, timeout=None):  # noqa: ARG002 - as the event's own
        return self.is_set()


def test_a_worker_may_come_before_its_server(database_url, study, monkeypatch):
    """Whoever waits for a study waits for the server too, and says so once."""
    outages, said = iter([True, True, True, False]), []

    def opened(url):
        return away() if next(outages) else open_database(url)

    monkeypatch.setattr("hpsearch.worker.open_database", opened)
    options = WorkerOptions(database_url, study.name)
    assert wait_for_study(options, Unhurried(), told=said.append)
    assert said == ["nobody there; trying again"]


# ------------------------------------------------------------------- connections


@pytest.mark.parametrize("crowd", [0, 1000])
def test_in_a_crowd_nobody_keeps_a_connection_while_training(
    database, database_url, study, monkeypatch, crowd
):
    """A server has a hundred connections: hundreds of workers hold one only while they speak."""
    monkeypatch.setattr("hpsearch.worker._LONG_IN_A_CROWD", -1.0)  # every training is a long one
    monkeypatch.setattr("hpsearch.worker.workers_heard_of", lambda _database: crowd)
    kept = []

    class Looking(QuickObjective):
        def run(self, trials, values, should_stop):
            kept.append(patient.engine.pool.checkedin())
            return super().run(trials, values, should_stop)

    with closing(open_database(database_url, patience=Patience(threading.Event()))) as patient:
        Worker(patient, study, Looking()).run(NeverSet(), lambda: False)
    file = database.engine.dialect.name == "sqlite"
    assert set(kept) == ({0} if crowd and not file else {1})


def test_workers_are_counted_over_all_studies(database, make_study, make_worker):
    """What a server has to serve is all of them; those that left need nothing."""
    workers = [make_worker(make_study(name=name)) for name in ("one", "other", "third")]
    worker_stopped(database, workers[0])
    assert workers_heard_of(database) == 2


# ---------------------------------------------------------------------- patience


def away():
    raise DatabaseUnavailableError("nobody there")


def test_patience_ends():
    """After its time the error says for how long, and that nothing is lost."""
    with pytest.raises(DatabaseUnavailableError, match=r"for 0 minutes.*nothing is lost"):
        Patience(threading.Event(), seconds=0.0)(away)


def test_an_outage_is_said_once(database_url, study, monkeypatch):
    """However many steps a question has, its error says for how long only once."""
    patience = Patience(threading.Event(), seconds=0.0)
    with closing(open_database(database_url, patience=patience)) as patient:
        monkeypatch.setattr(Database, "_transaction", lambda *_, **__: away())
        with pytest.raises(DatabaseUnavailableError) as caught:
            load_study(patient, study.name)
    assert str(caught.value).count("for 0 minutes") == 1


def test_a_wish_to_stop_ends_it_at_once():
    """Whoever is asked to stop does not wait for a database."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(DatabaseUnavailableError, match=r"^nobody there$"):
        Patience(stop)(away)


def test_the_forsaken_do_not_wait():
    """A worker whose `start` is gone does not wait for a database."""
    with pytest.raises(DatabaseUnavailableError, match=r"^nobody there$"):
        Patience(threading.Event(), forsaken=lambda: True)(away)


def test_patience_may_be_needed_within_patience():
    """A call that is tried again may itself try something again, and each has its own count."""
    patience, calls = Patience(threading.Event()), []

    def inner():
        calls.append("inner")
        if len(calls) % 2:
            away()

    def outer():
        patience(inner)
        if len(calls) < 6:
            away()

    patience(outer)
    assert calls == ["inner"] * 6
