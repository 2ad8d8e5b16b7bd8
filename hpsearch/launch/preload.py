"""Imported once by the fork server, so that workers start with everything in memory."""

from __future__ import annotations

import gc
from contextlib import suppress

import scipy.stats.qmc  # noqa: F401 - the worker that closes a round plans the next

import hpsearch.final
import hpsearch.worker  # noqa: F401
from hpsearch.errors import UserError
from hpsearch.nn.warm_up import load_kernels

# Forking afterwards is safe: the kernels start no threads, and nothing here is still running.
with suppress(UserError):  # a worker will say it, to somebody who listens
    load_kernels()

# All of it stays: neither a worker nor the server's end need look for garbage in it.
gc.freeze()
