"""Nothing keeps a worker that was asked to stop."""

import threading

import pytest

from hpsearch.errors import NotHandedBackError, UserError
from hpsearch.launch import stopping
from hpsearch.launch.stopping import until_stopped


@pytest.fixture
def stop():
    """A wish to stop, which has been said already."""
    event = threading.Event()
    event.set()
    return event


def test_work_that_ends_in_time_is_heard_to_its_end(stop):
    """What it returns or raises last is what the caller gets."""
    assert until_stopped(lambda: 3, stop) == 3
    with pytest.raises(ZeroDivisionError):
        until_stopped(lambda: 1 / 0, stop)


def test_work_that_hangs_is_left_behind(stop, monkeypatch):
    """That is nobody's mistake: another worker would do better, and nothing is lost."""
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.0)
    never = threading.Event()
    with pytest.raises(NotHandedBackError, match="nothing is lost") as caught:
        until_stopped(never.wait, stop)
    assert not isinstance(caught.value, UserError)
    never.set()
