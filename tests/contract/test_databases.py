"""Which databases are opened, which are refused in one line, and what is made in them."""

import json
import os
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages._rdb.storage import _VersionManager
from sqlalchemy import CheckConstraint, create_engine, inspect, select, text, update
from sqlalchemy.engine.default import DefaultDialect as Dialect
from sqlalchemy.exc import DBAPIError

import hpsearch.store.database
from hpsearch.errors import DatabaseError
from hpsearch.store import tables
from hpsearch.store.claims import claim
from hpsearch.store.database import migrations_config, open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.inspection import inspecting
from hpsearch.store.reading import study_document, trials_document
from hpsearch.store.results import commit
from hpsearch.store.studies import load_study
from hpsearch.store.tables import SCHEMA_VERSION, VERSION_TABLE
from hpsearch.worker import Worker


def run(url, *statements):
    """Run statements on a database as any other program would."""
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def table_names(url):
    engine = create_engine(parse_url(url))
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def refusal(url, *, create=True):
    """The one line with which a database is refused."""
    with pytest.raises(DatabaseError) as caught:
        open_database(url, create=create)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    return message


# ------------------------------------------------------------------ migrations


def test_the_schema_version_is_the_newest_migration():
    """`SCHEMA_VERSION` is alembic's head, and there is only one head."""
    scripts = ScriptDirectory.from_config(migrations_config())
    assert scripts.get_heads() == [SCHEMA_VERSION]


def test_migrations_end_at_the_schema_of_the_tables(empty_url):
    """Migrating an empty database gives what `tables.metadata` says, column by column."""
    database = open_database(empty_url, create=True)

    def ours(name, kind, _):
        return kind != "table" or name.startswith("hpsearch_")

    with database.engine.connect() as connection:
        options = {"include_name": ours, "compare_type": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    assert set(tables.metadata.tables) <= table_names(empty_url)
    database.close()


def test_migrations_make_every_check_constraint(empty_url):
    """What alembic does not compare: the conditions that keep states and scores in order."""
    open_database(empty_url, create=True).close()
    engine = create_engine(parse_url(empty_url))
    for table in tables.metadata.tables.values():
        expected = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
        found = {c["name"] for c in inspect(engine).get_check_constraints(table.name)}
        assert found == expected
    engine.dispose()


def test_migrations_can_be_undone(empty_url):
    """Going back to nothing drops every table of ours and keeps Optuna's."""
    database = open_database(empty_url, create=True)
    config = migrations_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    database.close()
    assert not set(tables.metadata.tables) & table_names(empty_url)
    assert "studies" in table_names(empty_url)


def test_an_older_schema_is_migrated_only_by_who_may_write(database_url, monkeypatch):
    """Commands that only read say what brings an older database up to date."""
    monkeypatch.setattr(hpsearch.store.database, "SCHEMA_VERSION", "9999")
    assert "`hpsearch start` brings it up to date" in refusal(database_url, create=False)


# What the first schema's [data] and [search] said; everything since has a default.
FIRST_KEYS = {
    "data": {"source", "split", "limit", "scaling", "samples", "noise"},
    "search": {"rounds", "trials", "sampler", "seeds"},
}
# All that [training] said then, with the defaults written out.
FIRST_TRAINING = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "l2": 0.0,
    "momentum": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "epochs": 10,
    "batch_size": 32,
}


def as_of_the_first_schema(database):
    """Bring a database back to what the first version of hpsearch made of the same studies."""
    with database.writing() as connection:
        spec = json.loads(connection.scalar(select(tables.study.c.spec)))
        spec["training"] = FIRST_TRAINING | {
            key: value for key, value in spec["training"].items() if key in FIRST_TRAINING and value
        }
        for table, keys in FIRST_KEYS.items():
            spec[table] = {key: value for key, value in spec[table].items() if key in keys}
        connection.execute(update(tables.study).values(spec=json.dumps(spec)))
    config = migrations_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    database.close()


def test_a_running_study_goes_on_after_an_upgrade(
    database, database_url, study, worker_id, quick_objective, complete_with
):
    """A study begun under the first schema is trained to its end, its claims and results kept."""
    objective = quick_objective()
    taken = claim(database, study.id, worker_id, 1)
    results = {t.id: objective.result(t.values, t.seed) for t in taken.trials}
    assert len(commit(database, taken, results)) == 1
    held = claim(database, study.id, worker_id, 1)
    before = trials_document(database, study)
    as_of_the_first_schema(database)
    assert "`hpsearch start` brings it up to date" in refusal(database_url, create=False)
    upgraded = open_database(database_url, create=True)
    assert trials_document(upgraded, study) == before
    assert commit(upgraded, held, {t.id: complete_with(0.25) for t in held.trials})
    found = load_study(upgraded, study.name)
    assert found.spec.differences(study.spec) == []
    Worker(upgraded, found, objective).run(threading.Event(), lambda: False)
    document = study_document(upgraded, load_study(upgraded, study.name))
    assert (document["state"], document["complete"]) == ("complete", 24)
    with upgraded.reading() as connection:
        shapes = connection.execute(
            select(tables.round_.c.number, tables.trial.c.shape)
            .join_from(tables.trial, tables.round_)
            .where(tables.round_.c.purpose == "search")
        ).all()
    # The trials that waited at the upgrade have no shape; those planned since then have one.
    assert {number for number, shape in shapes if shape is None} == {1}
    assert {number for number, shape in shapes if shape is not None} == {2}
    upgraded.close()


def test_optunas_version_and_ours_stand_side_by_side(empty_url):
    """Both version tables hold the version of their own tool, and both tools open the file."""
    open_database(empty_url, create=True).close()
    database = open_database(empty_url)
    with database.reading() as connection:
        ours = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        theirs = connection.scalar(text("SELECT version_num FROM alembic_version"))
    assert ours == SCHEMA_VERSION
    assert theirs == database.storage.get_head_version()
    assert theirs == database.storage.get_current_version()
    database.close()


def test_an_optuna_database_becomes_ours_too(empty_url):
    """Studies that Optuna made before stay as they are when ours are added."""
    import optuna

    address = parse_url(empty_url).render_as_string(hide_password=False)
    storage = optuna.storages.RDBStorage(address)
    optuna.create_study(storage=storage, study_name="before").add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    storage.engine.dispose()
    database = open_database(empty_url, create=True)
    assert optuna.load_study(study_name="before", storage=database.storage).best_value == 1.0
    database.close()


def test_many_may_make_the_tables_at_once(empty_url):
    """Processes that start on an empty database together all open it."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(empty_url, create=True), range(4)))
    for database in opened:
        database.close()
    assert set(tables.metadata.tables) <= table_names(empty_url)


# -------------------------------------------------------------------- refusals


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_schema_is_refused(database_url, create):
    """A database of a version this program does not know is named as such and left alone."""
    run(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608
    message = refusal(database_url, create=create)
    assert "9999" in message
    assert SCHEMA_VERSION in message


@pytest.mark.parametrize("create", [True, False])
def test_mlflows_database_is_refused(empty_url, create):
    """A tracking database is recognised, and gets none of our tables."""
    run(
        empty_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "CREATE TABLE experiments (experiment_id INTEGER)",
        "CREATE TABLE registered_models (name VARCHAR(256))",
    )
    before = table_names(empty_url)
    assert "MLflow" in refusal(empty_url, create=create)
    assert table_names(empty_url) == before


def test_another_programs_database_is_refused(empty_url):
    """Tables of a program we do not know are not mixed with ours."""
    run(empty_url, "CREATE TABLE invoices (id INTEGER)")
    assert "invoices" in refusal(empty_url)
    assert table_names(empty_url) == {"invoices"}


def test_a_database_without_studies_is_not_filled_by_readers(empty_url):
    """Commands that only read make nothing, neither a file nor tables."""
    refusal(empty_url, create=False)
    if empty_url.startswith("sqlite"):
        assert not os.path.exists(parse_url(empty_url).database)  # noqa: PTH110
    else:
        assert table_names(empty_url) == set()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    """A file with something else in it is named and keeps its bytes."""
    file = tmp_path / "notes.txt"
    content = b"these are my notes, not a database\n" * 100
    file.write_bytes(content)
    assert "not an SQLite database" in refusal(f"sqlite:///{file}")
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_refused(tmp_path):
    """A folder is no file, and the line says which file would do."""
    assert "is a folder" in refusal(f"sqlite:///{tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path):
    """Folders are not made up from a mistyped path."""
    assert "does not exist" in refusal(f"sqlite:///{tmp_path / 'missing' / 'study.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def immutable_file(request, tmp_path):
    """A migrated database that this process, even as root, cannot write to."""
    file = tmp_path / "study.db"
    file.write_bytes(request.getfixturevalue("_sqlite_template").read_bytes())
    if os.geteuid():
        file.chmod(0o444)
        yield f"sqlite:///{file}"
        return
    # Permissions do not stop root; SQLite's own read-only mode does, with the same error.
    yield f"sqlite:///file:{file}?mode=ro&uri=true"


def test_a_read_only_database_is_refused(immutable_file):
    """A study cannot be started in a file that cannot be written, and is told before it begins."""
    assert "read-only" in refusal(immutable_file)


def test_a_path_that_cannot_be_opened_is_refused(tmp_path):
    """Where SQLite can open nothing the line names the path; a FIFO stops root too."""
    blocked = tmp_path / "study.db"
    os.mkfifo(blocked)
    assert str(blocked) in refusal(f"sqlite:///{blocked}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hpsearch.db", "not a database address"),
        ("mysql://localhost/x", "not supported"),
        ("nonsense://localhost/x", "not supported"),
        ("postgresql://nobody@127.0.0.1:1/x", "no server answers"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(url, said):
    """Mistyped addresses and servers that do not answer are each explained in one line."""
    assert said in refusal(url)


def test_a_password_is_never_printed():
    """The address in an error hides the password."""
    assert "secret" not in refusal("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in refusal("mysql://me:secret@127.0.0.1:1/x")
    assert "secret" not in refusal("postgresql://127.0.0.1:1/x?user=me&password=secret")
    assert "secret" not in refusal("postgresql:/me:secret@127.0.0.1:1/x")


def test_a_missing_driver_is_named():
    """Without psycopg the line says what to install."""
    script = """
import sys
sys.modules["psycopg"] = None
from hpsearch.errors import DatabaseError
from hpsearch.store.database import open_database
try:
    open_database("postgresql://me@127.0.0.1:1/x", create=True)
except DatabaseError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith('the driver is missing; pip install "hpsearch[postgres]"\n')
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("refusing", ["_migrate", "check_table_schema_compatibility"])
def test_an_opening_that_fails_leaves_no_connection(database_url, monkeypatch, refusing):
    """Who tries for ten minutes must not use up the server's connections meanwhile."""
    engines = []

    def make(*arguments, **keywords):
        engines.append(create_engine(*arguments, **keywords))
        return engines[-1]

    def refuse(asked):
        engine = getattr(asked, "engine", asked)
        engine.connect().close()
        raise RuntimeError("not as it should be")

    monkeypatch.setattr("sqlalchemy.engine.create_engine", make)
    owner = hpsearch.store.database if refusing == "_migrate" else _VersionManager
    monkeypatch.setattr(owner, refusing, refuse)
    with pytest.raises((DatabaseError, RuntimeError), match="not as it should be"):
        open_database(database_url, create=True)
    assert engines
    assert [engine.pool.checkedin() for engine in engines] == [0]


# ---------------------------------------------------------- whose mistake it is


@pytest.mark.parametrize(
    "statement",
    [
        "SELEC 1",
        "SELECT no_such_column FROM hpsearch_study",
        "INSERT INTO hpsearch_ledger (id) VALUES (1)",
    ],
)
def test_our_own_mistakes_are_not_the_users(database, statement):
    """A wrong statement or a broken constraint is a bug here, with a traceback."""
    with pytest.raises(DBAPIError), database.writing() as connection:
        connection.execute(text(statement))


def test_lost_tables_are_explained(database):
    """A file that was replaced under a running program is something a person can mend."""
    with pytest.raises(DatabaseError) as caught, database.reading() as connection:
        connection.execute(text("SELECT * FROM hpsearch_nothing"))
    assert "\n" not in str(caught.value)


def test_missing_rights_are_explained(request):
    """A PostgreSQL role that may not read the tables is told so in one line."""
    url, server = request.getfixturevalue("_postgres_url"), request.getfixturevalue("_postgres")
    role = f"reader_{uuid.uuid4().hex}"
    server.run(f"CREATE ROLE {role}")
    database = open_database(url)

    def read():
        with database.reading() as connection:
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            connection.execute(text("SELECT * FROM hpsearch_study"))

    with pytest.raises(DatabaseError, match="permission denied"):
        read()
    database.close()
    server.run(f"DROP ROLE {role}")


# ------------------------------------------------------------------- the engine


def test_sqlite_is_tuned(request, tmp_path):
    """Every connection waits for writers, keeps a write-ahead log and checks foreign keys."""
    file = tmp_path / "study.db"
    file.write_bytes(request.getfixturevalue("_sqlite_template").read_bytes())
    database = open_database(f"sqlite:///{file}")
    with database.writing(durable=True) as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA busy_timeout")) == 60_000
    with database.writing() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 1
    database.close()


def test_every_connection_has_an_end_to_its_patience(database_url, monkeypatch):
    """A network that is cut while `start` or `doctor` looks first is noticed as it is later."""
    told = []
    make = Dialect.connect

    def connect(self, *arguments, **keywords):
        told.append(keywords)
        return make(self, *arguments, **keywords)

    monkeypatch.setattr(Dialect, "connect", connect)
    open_database(database_url).close()
    with inspecting(database_url):
        pass
    if database_url.startswith("postgresql"):
        wanted = {"connect_timeout", "keepalives_idle", "keepalives_count", "tcp_user_timeout"}
        assert len(told) >= 3
        assert all(wanted <= set(keywords) for keywords in told)
    else:
        assert {keywords["timeout"] for keywords in told} == {60}


def test_readers_see_one_moment(database, study):
    """What is committed while a reader reads is not seen by its later statements."""
    count = text("SELECT count(*) FROM hpsearch_worker")
    with database.reading() as reader:
        before = reader.scalar(count)
        register(database, study)
        assert reader.scalar(count) == before == 0
    with database.reading() as reader:
        assert reader.scalar(count) == 1


def register(database, study):
    from hpsearch.store.workers import register_worker

    return register_worker(database, study.id, {})


def test_the_clock_is_the_databases(database):
    """Both databases tell seconds since 1970, to the millisecond, and agree with this machine."""
    import time

    from hpsearch.store.database import clock

    with database.reading() as connection:
        earlier, told, later = time.time(), clock(connection), time.time()
    assert isinstance(told, float)
    assert earlier - 0.01 <= told <= later + 0.01


def test_a_pickled_storage_is_tuned_again(database):
    """Optuna's users may pickle a storage; its transactions stay those of this program."""
    import pickle

    from hpsearch.store.engine import DURABLE

    copy = pickle.loads(pickle.dumps(database.storage))  # noqa: S301 - our own bytes
    with copy.engine.connect() as plain:
        connection = plain.execution_options(**{DURABLE: False})
        with connection.begin():
            assert connection.scalar(text("SELECT 1")) == 1
    assert copy.get_all_studies() == []
    copy.engine.dispose()
