"""Whether the process that wrote an identity down still exists."""

import os
import signal
import subprocess
import sys

import pytest

from hpsearch.store.workers import may_be_alive, process_identity, worker_identity


@pytest.fixture
def child():
    """A process that does nothing until its input is closed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def test_this_process_is_alive():
    """An identity is stable, and that of a running process."""
    identity = process_identity(os.getpid())
    assert identity == process_identity(os.getpid())
    assert may_be_alive(identity)


def test_a_process_may_run_several_workers():
    """Each has an identity of its own, which tells whether the process is there."""
    identity, other = worker_identity(), worker_identity()
    assert identity != other
    assert may_be_alive(identity)
    *place, born, number = identity.split("|")
    assert not may_be_alive("|".join([*place, f"{born}0", number]))


def test_a_killed_process_is_dead(child):
    """Dead is dead, also while the parent has not asked for it yet (a zombie)."""
    identity = process_identity(child.pid)
    assert may_be_alive(identity)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not may_be_alive(identity)
    child.wait()
    assert not may_be_alive(identity)


def test_a_number_that_was_given_again_is_another_process():
    """A process with the same number and another start time is not the one that was meant."""
    *place, born = process_identity(os.getpid()).split("|")
    assert not may_be_alive("|".join([*place, f"{born}0"]))


def test_other_machines_and_other_boots_cannot_be_judged():
    """What cannot be seen from here may be alive."""
    host, boot, space, pid, born = process_identity(os.getpid()).split("|")
    assert may_be_alive("|".join(["elsewhere", boot, space, "1", "0"]))
    assert may_be_alive("|".join([host, "another-boot", space, "1", "0"]))
    assert may_be_alive("|".join([host, boot, "pid:[1]", pid, "0"]))
    assert not may_be_alive("|".join([host, boot, space, pid, f"{born}1"]))
