"""Work that ends soon after it was asked to stop, whatever keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from hpsearch.errors import NotHandedBackError
from hpsearch.store.leases import LEASE_SECONDS

R = TypeVar("R")

# A worker hands its trials back in a fraction of this; `start` ends one that takes 5 s.
STOP_SECONDS = 4.0
_LOOK_SECONDS = 0.1


def until_stopped(work: Callable[[], R], stop: threading.Event) -> R:
    """Do a worker's work, which ends by itself soon after `stop` is set.

    A server that is there but does not answer, or a file that another program has locked, can keep
    it: a call into a driver cannot be broken off. The process then ends without it.

    Returns:
        What the work returns.

    Raises:
        NotHandedBackError: If the work does not end in time; its thread dies with the process.
    """
    ended: Future[R] = Future()
    threading.Thread(target=_work, args=(work, ended), name="worker", daemon=True).start()
    while not stop.is_set():
        if wait([ended], _LOOK_SECONDS).done:
            return ended.result()
    if wait([ended], STOP_SECONDS).done:
        return ended.result()
    raise NotHandedBackError(
        f"stopped before it could hand back what it holds, which took more than {STOP_SECONDS:.0f} "
        f"s; others take that when its lease of {LEASE_SECONDS:.0f} s lapses, nothing is lost"
    )


def _work(work: Callable[[], R], ended: Future[R]) -> None:
    try:
        ended.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        ended.set_exception(error)
