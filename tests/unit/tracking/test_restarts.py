"""When a mirror that dies is started again, told by a clock that stands where it is put."""

import io

import pytest

from hpsearch.tracking import process
from hpsearch.tracking.process import Mirror


class Dead:
    """A process that was killed."""

    stdin, returncode = None, -9

    def poll(self):
        return self.returncode


class Births:
    """Mirrors that die at once, when they were started, and a clock."""

    def __init__(self):
        self.now, self.times = 0.0, []

    def spawn(self):
        self.times.append(self.now)
        return Dead(), io.BytesIO()


@pytest.fixture
def births(monkeypatch):
    found = Births()
    monkeypatch.setattr(Mirror, "_spawned", lambda _mirror: found.spawn())
    monkeypatch.setattr(process.time, "monotonic", lambda: found.now)
    return found


def keep_up_for(mirror, births, seconds):
    """Look twice a second, as a search does."""
    for _ in range(2 * seconds):
        births.now += 0.5
        mirror.keep_up()


def test_pauses_double_up_to_a_minute(births):
    """One that dies whenever it is started costs a search less and less."""
    mirror = Mirror({}, "small")
    keep_up_for(mirror, births, 400)
    pairs = zip(births.times, births.times[1:], strict=False)
    pauses = [later - earlier for earlier, later in pairs]
    # Seen at the next look, half a second later.
    assert pauses == [1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 60.5, 60.5, 60.5, 60.5, 60.5]


def test_one_that_lived_long_is_started_again_soon(births, monkeypatch):
    """What happened an hour ago says nothing of the next mirror."""
    mirror = Mirror({}, "small")
    keep_up_for(mirror, births, 100)
    with monkeypatch.context() as patch:
        patch.setattr(Dead, "returncode", None)
        keep_up_for(mirror, births, 3600)
    before = len(births.times)
    keep_up_for(mirror, births, 2)
    assert len(births.times) == before + 1


def test_no_room_for_another_process_is_asked_again(births, monkeypatch):
    """A search goes on where its mirror cannot be started, and has one once there is room."""
    mirror = Mirror({}, "small")

    def refused(_mirror):
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "_spawned", refused)
        keep_up_for(mirror, births, 10)
    keep_up_for(mirror, births, 10)
    assert len(births.times) > 1
