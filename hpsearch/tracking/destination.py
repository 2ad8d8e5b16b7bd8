"""Where MLflow keeps what it is told; looked at without importing MLflow."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from hpsearch.errors import TrackingError

_SERVERS = {"http", "https", "databricks"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_DEFAULT_PORT = {"postgresql": 5432}


def check_destination(database_url: str, tracking_uri: str) -> None:
    """Refuse a tracking URI that cannot work, before anything is written.

    Args:
        database_url: Where the study lives.
        tracking_uri: Where MLflow shall keep its copy.

    Raises:
        TrackingError: If both are one database, or MLflow could not open the second.
    """
    scheme = _backend(tracking_uri)
    if scheme not in _SERVERS | _DATABASES:
        raise TrackingError(
            f"--tracking {tracking_uri}: not an address MLflow takes; write "
            "sqlite:///mlflow.db or http://HOST:PORT"
        )
    if _place(database_url) == _place(tracking_uri):
        raise TrackingError(
            f"--tracking {tracking_uri}: is the --database too; MLflow needs one of its own, "
            "such as sqlite:///mlflow.db"
        )
    path = sqlite_file(tracking_uri)
    if path is not None and path.is_dir():
        raise TrackingError(f"--tracking {tracking_uri}: is a folder; name a file in it")
    if path is not None and not path.parent.is_dir():
        raise TrackingError(
            f"--tracking {tracking_uri}: the folder {path.parent} does not exist; make it first"
        )


def is_server(tracking_uri: str) -> bool:
    """Whether an MLflow server answers there, rather than a database."""
    return _backend(tracking_uri) in _SERVERS


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of a `sqlite:///` address, resolved; None for every other address.

    Raises:
        TrackingError: If the address names no file.
    """
    parts = urlsplit(tracking_uri)
    if parts.scheme.split("+")[0] != "sqlite":
        return None
    name = unquote(parts.path.removeprefix("/"))
    if not name or name == ":memory:":
        raise TrackingError(f"--tracking {tracking_uri}: names no file; write sqlite:///mlflow.db")
    return Path(name).expanduser().resolve()


def file_identity(tracking_uri: str) -> tuple[int, int] | None:
    """Tells an SQLite file from another under the same name; None where there is none."""
    path = sqlite_file(tracking_uri)
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino


def _backend(address: str) -> str:
    """The kind of address, without the driver: `postgresql+psycopg` is `postgresql`."""
    return urlsplit(address).scheme.split("+")[0]


def _place(address: str) -> tuple[str, ...]:
    """What two addresses of one database have in common, however they are written."""
    path = sqlite_file(address)
    if path is not None:
        return ("sqlite", str(path))
    parts: SplitResult = urlsplit(address)
    backend = _backend(address)
    port = parts.port or _DEFAULT_PORT.get(backend, 0)
    host = (parts.hostname or "localhost").replace("127.0.0.1", "localhost")
    return (backend, host, str(port), parts.path.strip("/"))
