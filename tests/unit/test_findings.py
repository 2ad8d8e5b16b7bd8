"""What is suggested can be typed as it stands."""

import pytest

from hpsearch.cli.options import commands

DATABASE = "sqlite:///my studies.db"


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch):
    """Whoever runs the tests may have addresses of their own."""
    monkeypatch.delenv("HPSEARCH_DATABASE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_command_names_what_is_not_the_default():
    """Addresses are quoted for a shell, and left out where nobody has to type them."""
    typed = commands(DATABASE, "http://me:secret@mlflow:5000")
    addresses = "--database 'sqlite:///my studies.db' --tracking 'http://me:***@mlflow:5000'"
    assert typed.start("a") == f"hpsearch start a {addresses}"
    assert typed.sync("a") == f"hpsearch sync a {addresses}"
    assert commands("sqlite:///hpsearch.db", None).start("a") == "hpsearch start a"


def test_a_search_without_mlflow_goes_on_without_it():
    """`none` is typed again for `start`; `sync`, which copies to somewhere, does not take it."""
    typed = commands("sqlite:///hpsearch.db", "none")
    assert typed.start("a") == "hpsearch start a --tracking none"
    assert typed.sync("a") == "hpsearch sync a"
