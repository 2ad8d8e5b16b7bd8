"""Where MLflow keeps what it is told; looked at without importing MLflow."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from hpsearch.errors import TrackingError

# Where processes that are started for somebody find the two addresses.
DATABASE_VARIABLE = "HPSEARCH_DATABASE"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"

_SERVERS = {"http", "https", "databricks"}
_FOLDERS = {"", "file"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_DEFAULT_PORT = {"postgresql": 5432}

# A password ends at the last @, even if somebody forgot to escape an @ or a slash in it.
_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)\S*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&\s]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with *** for every password of an address in it: what is shown and stored.

    >>> redacted("http://user:secret@127.0.0.1:5000/")
    'http://user:***@127.0.0.1:5000/'
    """
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


def without_login(address: str) -> str:
    """A server's address for a browser, which asks for user and password by itself."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_destination(database_url: str, tracking_uri: str) -> None:
    """Refuse a tracking URI that cannot work, before anything is written.

    Args:
        database_url: Where the study lives.
        tracking_uri: Where MLflow shall keep its copy.

    Raises:
        TrackingError: If both are one database, or MLflow could not open the second.
    """
    option = f"--tracking {redacted(tracking_uri)}"
    if tracking_uri == "none":
        raise TrackingError(
            f"{option}: there is no MLflow to copy to; leave --tracking out or name an address, "
            "such as sqlite:///mlflow.db"
        )
    if not _is_address(tracking_uri):
        raise TrackingError(
            f"{option}: not an address MLflow takes; write sqlite:///mlflow.db, http://HOST:PORT "
            "or a folder"
        )
    if _is_address(database_url) and _place(database_url) == _place(tracking_uri):
        raise TrackingError(
            f"{option}: is the --database too; MLflow needs one of its own, "
            "such as sqlite:///mlflow.db"
        )
    place = folder(tracking_uri)
    if place is not None and not place.is_dir() and (place.exists() or place.suffix == ".db"):
        raise TrackingError(f"{option}: names a file, not a folder; write sqlite:///{tracking_uri}")
    path = sqlite_file(tracking_uri) or place
    if path is not None and path != place and path.is_dir():
        raise TrackingError(f"{option}: is a folder; name a file in it")
    if path is not None and not path.parent.is_dir():
        raise TrackingError(f"{option}: the folder {path.parent} does not exist; make it first")


def is_server(tracking_uri: str) -> bool:
    """Whether an MLflow server answers there, rather than a database."""
    return _backend(tracking_uri) in _SERVERS


def folder(tracking_uri: str) -> Path | None:
    """The folder of a `file:` address or a path, resolved; None for every other address."""
    if not tracking_uri or _backend(tracking_uri) not in _FOLDERS:
        return None
    return Path(unquote(urlsplit(tracking_uri).path)).expanduser().resolve()


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of a `sqlite:///` address, resolved; None for every other address.

    Raises:
        TrackingError: If the address names no file.
    """
    if _backend(tracking_uri) != "sqlite":
        return None
    path = _path(tracking_uri)
    if path is None:
        raise TrackingError(
            f"--tracking {redacted(tracking_uri)}: names no file; write sqlite:///mlflow.db"
        )
    return path


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


def _is_address(address: str) -> bool:
    """Whether it can be taken apart and is of a kind that is known here."""
    try:
        known = bool(address) and _backend(address) in _SERVERS | _DATABASES | _FOLDERS
        _ = urlsplit(address).port
    except ValueError:  # a port that is no number, half a bracket
        return False
    return known


def _place(address: str) -> tuple[str, ...]:
    """What two addresses of one database have in common, however they are written."""
    path = _path(address) if _backend(address) == "sqlite" else None
    if path is not None:
        return ("sqlite", str(path))
    parts: SplitResult = urlsplit(address)
    backend = _backend(address)
    port = parts.port or _DEFAULT_PORT.get(backend, 0)
    host = (parts.hostname or "localhost").replace("127.0.0.1", "localhost")
    return (backend, host, str(port), parts.path.strip("/"))


def _path(address: str) -> Path | None:
    """The file an SQLite address names; None for a database in memory."""
    name = unquote(urlsplit(address).path.removeprefix("/"))
    return Path(name).expanduser().resolve() if name not in {"", ":memory:"} else None
