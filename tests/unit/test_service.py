"""How a search lets its workers go."""

import time

import pytest

from hpsearch import service
from hpsearch.service import Search, StartOptions
from hpsearch.study_file import parse_study
from tests.acceptance.conftest import SMALL_STUDY


class Stubborn:
    """A launcher whose workers leave only if they are killed."""

    def __init__(self):
        self.did = []

    def stop(self):
        self.did.append("stop")

    def wait(self, _seconds):
        self.did.append("wait")
        return False

    def kill(self):
        self.did.append("kill")


@pytest.fixture
def search(monkeypatch):
    """A search whose workers have an hour to leave."""
    monkeypatch.setattr(service, "_STOP_SECONDS", 3600.0)
    options = StartOptions("sqlite:///nothing.db", "none")
    return Search(parse_study(SMALL_STUDY, "small.toml"), SMALL_STUDY, options)


def interrupt(search):
    search._stop._on_signal(2, None)


def test_a_second_ctrl_c_ends_workers_at_once(search):
    """After the first they have their time; with the second nobody waits for them any more."""
    launcher = Stubborn()
    interrupt(search)
    interrupt(search)
    search._dismiss(launcher)
    assert launcher.did == ["stop", "wait", "kill"]


def test_a_second_ctrl_c_is_heard_while_workers_are_waited_for(search):
    """It ends the waiting that the first has begun."""
    launcher, interrupt_now = Stubborn(), lambda: interrupt(search)
    launcher.wait = lambda _seconds: launcher.did.append("wait") or interrupt_now()
    interrupt(search)
    search._dismiss(launcher)
    assert launcher.did == ["stop", "wait", "kill"]


def test_after_one_ctrl_c_workers_have_their_time(search, monkeypatch):
    """Without a second they are ended once the time to leave is over, not before."""
    launcher, now = Stubborn(), iter([0.0, 1800.0, 3599.0, 3601.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    interrupt(search)
    search._dismiss(launcher)
    assert launcher.did == ["stop", "wait", "wait", "wait", "kill"]
