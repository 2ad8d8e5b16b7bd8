"""The process that workers are forked from: it has imported what they need before they start.

Nothing heavy is imported here, so that the server can be started first of all.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hpsearch.launch.threads import one_blas_thread


def warm_up() -> None:
    """Start the fork server in the background, while this process does something else."""
    from multiprocessing import forkserver

    one_blas_thread()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["hpsearch.launch.preload"])
    with _deaf_to_ctrl_c():
        forkserver.ensure_running()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C from its first moment, imports included."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
