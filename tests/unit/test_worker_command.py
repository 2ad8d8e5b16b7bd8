"""What `hpsearch worker` says while it works."""

import signal

import pytest
from typer.testing import CliRunner

import hpsearch.worker
from hpsearch.cli.main import app

# A path may hold brackets, which are no markup.
OUTAGE = "sqlite:////data [/new]/a.db: is locked; trying again"


@pytest.fixture(autouse=True)
def _our_signals():
    """The command hears signals in its own way until its process ends, which is this one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("waits_for", ["wait_for_study", "run_worker"])
def test_an_outage_is_printed_as_it_was_said(monkeypatch, waits_for):
    """Whether the study is waited for or worked on, the words of the database are kept."""

    def tell(_options, _stop, *, told):
        told(OUTAGE)
        return 0

    monkeypatch.setattr(hpsearch.worker, waits_for, tell)
    monkeypatch.setattr("hpsearch.store.database.open_database", lambda *_args, **_options: store)
    monkeypatch.setattr("hpsearch.store.studies.load_study", lambda *_: store)
    store = Running()
    wait = ["--wait"] if waits_for == "wait_for_study" else []
    result = CliRunner().invoke(app, ["worker", "a", *wait])
    assert (result.exit_code, OUTAGE in result.output) == (0, True)


class Running:
    """A database, and in it a study that is not finished."""

    state = "running"

    def close(self):
        pass
