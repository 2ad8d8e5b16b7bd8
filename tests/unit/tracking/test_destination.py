"""Addresses of MLflow, judged without importing it."""

import pytest

from hpsearch.errors import TrackingError
from hpsearch.tracking.destination import (
    check_destination,
    folder,
    is_server,
    redacted,
    sqlite_file,
    without_login,
)


@pytest.mark.parametrize(
    ("database", "tracking"),
    [
        ("sqlite:///hpsearch.db", "sqlite:///hpsearch.db"),
        ("sqlite:///hpsearch.db", "sqlite:///./hpsearch.db"),
        ("postgresql://me:word@host/one", "postgresql+psycopg://you@host:5432/one"),
        ("postgresql://localhost/one", "postgresql://127.0.0.1/one"),
    ],
)
def test_one_database_for_both_is_refused(database, tracking):
    """However the two addresses are written, hpsearch and MLflow never share a database."""
    with pytest.raises(TrackingError, match="MLflow needs one of its own"):
        check_destination(database, tracking)


@pytest.mark.parametrize("tracking", ["ftp://host", "mysqlite:///a", ""])
def test_what_mlflow_does_not_take_is_refused(tracking):
    """Before anything is written."""
    with pytest.raises(TrackingError, match="not an address MLflow takes"):
        check_destination("sqlite:///hpsearch.db", tracking)


@pytest.mark.parametrize("tracking", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_refused(tracking):
    """What is only in memory would be gone with the mirror."""
    with pytest.raises(TrackingError, match="names no file"):
        check_destination("sqlite:///hpsearch.db", tracking)


def test_missing_folder_is_named(tmp_path):
    """The folder of an SQLite file has to be there, and the file must not be a folder."""
    with pytest.raises(TrackingError, match="does not exist"):
        check_destination("sqlite:///hpsearch.db", f"sqlite:///{tmp_path}/none/mlflow.db")
    with pytest.raises(TrackingError, match="is a folder"):
        check_destination("sqlite:///hpsearch.db", f"sqlite:///{tmp_path}")


def test_folders_are_told_from_files(tmp_path):
    """A path and a file: address name a folder, which may not be there yet; a file is none."""
    for tracking in (f"{tmp_path}/mlruns", f"file://{tmp_path}/mlruns"):
        check_destination("sqlite:///hpsearch.db", tracking)
        assert folder(tracking) == tmp_path / "mlruns"
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(TrackingError, match="names a file, not a folder; write sqlite:///"):
        check_destination("sqlite:///hpsearch.db", f"{tmp_path}/mlflow.db")
    with pytest.raises(TrackingError, match="does not exist"):
        check_destination("sqlite:///hpsearch.db", f"{tmp_path}/none/mlruns")
    assert folder("sqlite:///mlflow.db") is None


def test_good_addresses_pass(tmp_path):
    """Servers, other files and other databases are fine."""
    for tracking in ("http://localhost:5000", f"sqlite:///{tmp_path}/m.db", "postgresql://h/b"):
        check_destination("sqlite:///hpsearch.db", tracking)
    assert is_server("https://mlflow.example")
    assert sqlite_file(f"sqlite:///{tmp_path}/m.db") == tmp_path / "m.db"
    assert sqlite_file("http://localhost:5000") is None


def test_no_mlflow_is_not_a_destination():
    """Where something is to be copied, "none" is answered with what to do instead."""
    with pytest.raises(TrackingError, match=r"--tracking none: there is no MLflow .* leave"):
        check_destination("sqlite:///hpsearch.db", "none")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:secret@host:5000/", "http://user:***@host:5000/"),
        ("postgresql+psycopg://user:secret@host/db", "postgresql+psycopg://user:***@host/db"),
        ("postgresql://user:se@cr/et?@host/db", "postgresql://user:***@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        (
            "postgresql://host/db?user=u&password=secret&a=b",
            "postgresql://host/db?user=u&password=***&a=b",
        ),
        ("cannot open http://u:secret@h/x: refused", "cannot open http://u:***@h/x: refused"),
        ("http://user@host:5000/", "http://user@host:5000/"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
        ("none", "none"),
    ],
)
def test_passwords_are_not_shown(address, shown):
    """Whatever is shown or stored has *** for a password, and nothing else is changed."""
    assert redacted(address) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "tracking",
    [
        "ftp://user:secret@host/",
        "http://user:secret@host:port/",
        "http://user:se/cret@host/",
        "http://user:secret@[host/",
        "postgresql://user:secret@localhost/one",
    ],
)
def test_refusals_do_not_show_a_password(tracking):
    """An address that is refused, even one that cannot be read, is named without its password."""
    with pytest.raises(TrackingError) as refused:
        check_destination("postgresql://me@127.0.0.1/one", tracking)
    assert "cret" not in str(refused.value)


def test_a_browser_gets_no_password():
    """The browser's command line can be read by others, and a browser asks for a login itself."""
    assert without_login("http://user:secret@host:5000/a") == "http://host:5000/a"
    assert without_login("http://host:5000") == "http://host:5000"
