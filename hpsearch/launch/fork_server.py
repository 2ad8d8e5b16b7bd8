"""The process that workers are forked from: it has imported what they need before they start.

Nothing heavy is imported here, so that the server can be started first of all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hpsearch.launch.threads import one_blas_thread


def warm_up() -> None:
    """Start the fork server in the background, while this process does something else."""
    from multiprocessing import forkserver, resource_tracker

    one_blas_thread()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["hpsearch.launch.preload"])
    resource_tracker.ensure_running()  # not below: it lets Ctrl-C through when it is done
    with _ctrl_c_held_back():
        forkserver.ensure_running()


def end() -> None:
    """End the fork server, if there is one, and wait until it is gone.

    It would leave by itself, half a second after the prompt is back. Its workers are not touched.
    """
    module = sys.modules.get("multiprocessing.forkserver")
    server = getattr(module, "_forkserver", None)
    if server is None or server._forkserver_pid is None:  # noqa: SLF001 - no public name for it
        return
    os.kill(server._forkserver_pid, signal.SIGTERM)  # noqa: SLF001 - in the middle of its imports too
    server._stop()  # noqa: SLF001


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """What is started meanwhile never hears of Ctrl-C, imports included; we do, afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
