"""One open database: Optuna's tables and ours, checked before anything is read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import Connection, Engine, Insert, create_engine, inspect, select, table, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, NoSuchModuleError

from hpsearch.errors import (
    DatabaseError,
    ForeignDatabaseError,
    NewDatabaseError,
    NoStudiesError,
    OldDatabaseError,
)
from hpsearch.store.bulk import BulkStorage
from hpsearch.store.driver_errors import explained
from hpsearch.store.engine import (
    DURABLE,
    READ_ONLY,
    looking_options,
    now,
    one_at_a_time,
    parse_url,
    reading_options,
    sqlite_file,
)
from hpsearch.store.file_systems import network_filesystem
from hpsearch.store.patience import Patience
from hpsearch.store.read_only import check_writable
from hpsearch.store.tables import SCHEMA_VERSION, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config

# Tables of MLflow that no Optuna database has.
_MLFLOW_TABLES = {"experiments", "registered_models"}
# What Optuna writes, one transaction each, after its tables: its version, the table of its schema's
# version, that version. Whoever is slower fails at one of them and finds it made.
_FIRST_STEPS = 3
# A database with neither Optuna's studies nor ours in it belongs to somebody else.
_OUR_TABLES = {"studies", VERSION_TABLE}
# `allow` opens SQLite files on a network all the same: people know their machine.
NETWORK_VARIABLE = "HPSEARCH_NETWORK_FILES"

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """Connections to one database, each for a moment: nobody holds one while training.

    Args:
        storage: Optuna's storage on the same tables.
        patience: What to do while the database is out of reach; None to say so at once.
    """

    def __init__(self, storage: BulkStorage, patience: Patience | None = None) -> None:
        self.storage = storage
        self.engine: Engine = storage.engine
        self._patience = patience

    @property
    def url(self) -> str:
        """The address, with the password, for another process of the same user."""
        return str(self.storage.url)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose reads all see the same moment; it never waits for writers."""
        with self._transaction(**reading_options(self.engine)) as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """One short write transaction; `durable` ones are on the disk when this returns."""
        with self._transaction(**{DURABLE: durable, READ_ONLY: False}) as connection:
            yield connection

    def call(self, operation: Callable[[], R]) -> R:
        """Call what may be called again, as often as this database's patience has it."""
        return self.call_knowing(lambda _again: operation())

    def call_knowing(self, operation: Callable[[bool], R]) -> R:
        """Call what must know whether it is called again, and may have done its work already.

        Args:
            operation: Told False the first time: nothing can be done then.
        """
        tries = count()

        def once() -> R:
            with explained(self.engine.url):
                return operation(next(tries) > 0)

        return once() if self._patience is None else self._patience(once)

    @contextmanager
    def _transaction(self, **options: Any) -> Iterator[Connection]:
        with explained(self.engine.url), self.engine.connect() as plain:
            connection = plain.execution_options(**options)
            with connection.begin():
                yield connection

    def rest(self) -> None:
        """Give idle connections back to a server, which has a hundred; a file has no such limit."""
        if self.engine.dialect.name != "sqlite":
            self.engine.dispose()

    def close(self) -> None:
        """Give every connection back."""
        self.storage.remove_session()
        self.engine.dispose()


def retried(
    function: Callable[Concatenate[Database, P], R],
) -> Callable[Concatenate[Database, P], R]:
    """Let a function that works on a database be called again while that is out of reach.

    For functions that may have done their work already when the connection broke: the second
    call must find that out, and do nothing twice.
    """

    @wraps(function)
    def call(database: Database, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return database.call(lambda: function(database, *args, **kwargs))

    return call


def clock(connection: Connection) -> float:
    """Seconds since 1970 by the database's clock."""
    return float(connection.execute(select(now())).scalar_one())


def inserted_id(connection: Connection, statement: Insert) -> int:
    """Insert one row and return its key."""
    key = connection.execute(statement).inserted_primary_key
    if key is None:
        raise DatabaseError("the database returned no key for a new row")
    return int(key[0])


def open_database(
    url: str,
    *,
    create: bool = False,
    write: bool = False,
    patience: Patience | None = None,
) -> Database:
    """Open a database that holds studies, or make one.

    Args:
        url: `sqlite:///FILE.db` or `postgresql://USER@HOST/NAME`.
        create: Whether to create or migrate the tables where needed; the tables only appear
            in a database that was empty or held Optuna studies.
        write: Whether results will be written, which SQLite cannot do safely everywhere;
            who creates writes too.
        patience: What to do while it is out of reach, now and later; None to say so at once.

    Raises:
        DatabaseError: If it cannot be opened or written, belongs to another tool, is of another
            version, lies where SQLite's locks cannot be trusted, or is missing and not to be
            created.
    """
    address = check_address(url, create=create)
    if create or write:
        _check_place(address)
    opened = partial(_opened, address, create=create, patience=patience)
    database = opened() if patience is None else patience(opened)
    if not (create or write):
        # Optuna's own questions too then take no lock, for which they would wait for writers.
        database.engine.update_execution_options(**{READ_ONLY: True})
    return database


def _opened(address: URL, *, create: bool, patience: Patience | None) -> Database:
    with explained(address):
        _check_tables(address, create=create)
        url = address.render_as_string(hide_password=False)
        database = Database(_open_storage(url, create=create), patience)
        try:
            if create:
                _migrate(database.engine)
        except BaseException:
            database.close()  # whoever tries again opens another
            raise
        return database


def _open_storage(url: str, *, create: bool) -> BulkStorage:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for _ in range(_FIRST_STEPS):
        try:
            return _storage(url, create=create)
        except (DBAPIError, StorageInternalError) as error:
            if not _was_slower(error):
                raise
    return _storage(url, create=create)


def _was_slower(error: Exception) -> bool:
    """Whether another process, started at the same time, has just made the same thing."""
    said = f"{error} {error.__cause__}"
    return any(phrase in said for phrase in ("already exists", "duplicate key", "UNIQUE"))


def _storage(url: str, *, create: bool) -> BulkStorage:
    try:
        return BulkStorage(url, create=create)
    except RuntimeError as error:  # Optuna's word for a schema of another Optuna
        raise DatabaseError(f"{parse_url(url)}: {error}") from error


# -------------------------------------------------------------- before opening


def check_address(url: str, *, create: bool) -> URL:
    """The address taken apart, after what can be known without asking the database.

    Raises:
        NoStudiesError: If its file is missing and not to be created.
        DatabaseError: If nothing can be opened there.
    """
    address = parse_url(url)
    _check_file(address, create=create)
    _check_driver(address)
    return address


def _check_driver(address: URL) -> None:
    try:
        address.get_dialect().import_dbapi()
    except ImportError as error:
        raise DatabaseError(
            f'{address}: the driver is missing; pip install "hpsearch[postgres]"'
        ) from error
    except NoSuchModuleError as error:
        raise DatabaseError(
            f"--database {address}: {address.drivername} is not supported; use sqlite:///FILE.db "
            "or postgresql://USER@HOST/NAME"
        ) from error


def _check_file(address: URL, *, create: bool) -> None:
    path = sqlite_file(address)
    if path is None:
        return
    if path.is_dir():
        raise DatabaseError(f"{path}: is a folder; give a file, sqlite:///{path}/hpsearch.db")
    if not path.exists() and not create:
        raise NoStudiesError(
            f"{path}: no database here; `hpsearch start` makes one, --database names another"
        )
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: the folder {path.parent} does not exist; make it first")


def _check_place(address: URL) -> None:
    path = sqlite_file(address)
    if path is None:
        return
    check_writable(path)
    kind = None if network_files_allowed() else network_filesystem(path)
    if kind is not None:
        raise DatabaseError(
            f"{path}: lies on a network file system ({kind}), where SQLite's locks cannot be "
            "trusted and its write-ahead log lacks shared memory; use a file in a local folder or "
            f"PostgreSQL, or set {NETWORK_VARIABLE}=allow if you know that it is safe"
        )


def network_files_allowed() -> bool:
    """Whether somebody answers for the locks of SQLite files on a network."""
    return os.environ.get(NETWORK_VARIABLE) == "allow"


def _check_tables(address: URL, *, create: bool) -> None:
    """Look before touching: another tool's database is left as it was found."""
    if address.get_backend_name() == "sqlite" and not _exists(address):
        return
    engine = create_engine(address, **looking_options(address))
    try:
        with engine.connect() as connection:
            check_schema(connection, create=create)
    finally:
        engine.dispose()


def check_schema(connection: Connection, *, create: bool) -> None:
    """Make sure that these tables are ours, and of the version this hpsearch writes.

    Args:
        connection: Only read.
        create: Whether missing tables would be made, and older ones brought up to date.

    Raises:
        NoStudiesError: If hpsearch has not made its tables yet and is not to make them.
        OldDatabaseError: If they are older and not to be brought up to date.
        NewDatabaseError: If this hpsearch does not know their version.
        ForeignDatabaseError: If the tables are another program's.
    """
    address = connection.engine.url
    names = set(inspect(connection).get_table_names())
    version = _version(connection) if VERSION_TABLE in names else None
    if names >= _MLFLOW_TABLES:
        raise ForeignDatabaseError(
            f"--database {address}: this is MLflow's tracking database; hpsearch "
            "needs one of its own, such as sqlite:///hpsearch.db"
        )
    if names and not names & _OUR_TABLES:
        raise ForeignDatabaseError(
            f"--database {address}: holds another program's tables ({min(names)}, ...); hpsearch "
            "needs a database of its own, such as sqlite:///hpsearch.db"
        )
    if version is None and not create:
        raise NoStudiesError(f"{address}: holds no hpsearch studies; `hpsearch start` makes one")
    if version is not None and version != SCHEMA_VERSION:
        _check_older(address, version, create=create)


def _check_older(address: URL, version: str, *, create: bool) -> None:
    if version not in _known_versions():
        raise NewDatabaseError(
            f"{address}: written by another version of hpsearch (schema {version}, "
            f"this one knows {SCHEMA_VERSION}); use that version or another "
            "--database"
        )
    if not create:
        raise OldDatabaseError(
            f"{address}: written by an older hpsearch (schema {version}, this one writes "
            f"{SCHEMA_VERSION}); `hpsearch start` brings it up to date"
        )


def _exists(address: URL) -> bool:
    name = str(address.database)
    return name.startswith("file:") or Path(name).exists()


def _version(connection: Connection) -> str | None:
    row = connection.execute(select(text("version_num")).select_from(table(VERSION_TABLE)))
    return row.scalar_one_or_none()


def _known_versions() -> set[str]:
    """Every version this hpsearch knows, from its migrations."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrations_config())
    return {script.revision for script in scripts.walk_revisions()}


# ------------------------------------------------------------------ migrations


def migrations_config() -> Config:
    """Alembic's configuration for our own tables."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        exists = inspect(connection).has_table(VERSION_TABLE)
        if exists and _version(connection) == SCHEMA_VERSION:
            _check_writable(connection)
            return
    from alembic import command

    config = migrations_config()
    with engine.begin() as connection:
        one_at_a_time(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_writable(connection: Connection) -> None:
    """Find out now, not when the first trial ends."""
    connection.rollback()
    with connection.begin():
        connection.execute(
            text(f"UPDATE {VERSION_TABLE} SET version_num = version_num")  # noqa: S608 - constant
        )
