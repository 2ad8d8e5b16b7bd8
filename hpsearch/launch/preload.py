"""Imported once by the fork server, so that workers start with everything in memory."""

from __future__ import annotations

import scipy.stats.qmc  # noqa: F401 - the worker that closes a round plans the next

import hpsearch.final
import hpsearch.worker  # noqa: F401
