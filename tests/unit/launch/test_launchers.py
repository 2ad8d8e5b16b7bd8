"""Every launcher starts, counts, stops and reports workers the same way."""

import multiprocessing
import threading
import time
from dataclasses import replace

import pytest

from hpsearch.data.prepared import prepare
from hpsearch.errors import HpsearchError, Interrupted, LeaseLostError, UserError
from hpsearch.launch.dask import DaskLauncher
from hpsearch.launch.inline import InlineLauncher
from hpsearch.launch.local import LocalLauncher, run_in_process
from hpsearch.store.database import open_database
from hpsearch.store.studies import create_study, load_study
from hpsearch.study_file import parse_study
from hpsearch.worker import WorkerOptions

STUDY = """
name = "tiny"
[data]
source = "moons"
samples = 60
[model]
hidden = [2]
[training]
epochs = 1
[space]
learning_rate = { low = 1e-3, high = 1e-1, scale = "log" }
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 1
trials = 6
[confirmation]
finalists = 1
seeds = 1
most_seeds = 1
winner_seeds = 0
"""

LAUNCHERS = [InlineLauncher, LocalLauncher, DaskLauncher]


@pytest.fixture
def options(tmp_path):
    """A stored study that nobody has worked on."""
    url = f"sqlite:///{tmp_path}/tiny.db"
    database = open_database(url, create=True)
    spec = parse_study(STUDY, "tiny.toml")
    prepared = prepare(spec, None)
    create_study(database, spec, STUDY, prepared.fingerprint, len(prepared.validation()))
    database.close()
    return WorkerOptions(database=url, study="tiny")


@pytest.fixture(params=LAUNCHERS)
def launch(request):
    """Makes a launcher, and leaves nothing of it behind."""
    made = []

    def make(options):
        made.append(request.param(options))
        return made[-1]

    yield make
    for launcher in made:
        launcher.kill()
        launcher.close()


def test_workers_finish_the_study_and_leave(launch, options):
    """Two workers complete a study, end by themselves, and are reported as finished."""
    launcher = launch(options)
    launcher.start(2)
    assert launcher.wait(60)
    assert launcher.alive() == 0
    ends = launcher.ended()
    assert [end.finished for end in ends] == [True, True]
    assert launcher.ended() == []
    database = open_database(options.database)
    assert load_study(database, "tiny").state == "complete"
    database.close()


def test_a_mistake_is_reported_in_its_own_words(launch, options):
    """A worker that cannot work says why, and that another could not either."""
    launcher = launch(WorkerOptions(database=options.database, study="other"))
    launcher.start(1)
    assert launcher.wait(60)
    (end,) = launcher.ended()
    assert end.mistake
    assert end.message == "other: no such study; there is tiny"


def test_a_crash_is_reported_as_one(launch, options):
    """An error nobody foresaw ends the worker, is reported in its words."""
    launcher = launch(replace(options, lease_seconds="never"))
    launcher.start(1)
    assert launcher.wait(60)
    (end,) = launcher.ended()
    assert not end.finished
    assert not end.mistake
    assert end.message.startswith("TypeError: ")


def test_stop_is_obeyed(launch, options):
    """Workers that were asked to stop leave within seconds."""
    launcher = launch(options)
    launcher.start(1)
    launcher.stop()
    assert launcher.wait(20)


def test_run_in_process_hands_errors_back(capfd):
    """Errors raised on purpose keep their words, without a traceback; deaths name the cause."""
    run_in_process(time.sleep, 0)
    with pytest.raises(UserError, match="it was me"):
        run_in_process(_mistake)
    with pytest.raises(HpsearchError, match=r"^somebody was faster$"):
        run_in_process(_slow)
    with pytest.raises(HpsearchError, match="killed by signal 9"):
        run_in_process(_die)
    assert "Traceback" not in capfd.readouterr().err


def test_nobody_waits_for_a_process_longer_than_they_want_to():
    """Whatever is raised while a process runs ends the wait, and the process with it."""

    def look():
        raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run_in_process(time.sleep, 30, meanwhile=look)
    assert multiprocessing.active_children() == []


def _mistake():
    raise UserError("it was me")


def _slow():
    raise LeaseLostError("somebody was faster")


def _die():
    import os
    import signal

    assert threading.current_thread() is threading.main_thread()
    os.kill(os.getpid(), signal.SIGKILL)
