"""One BLAS thread per process: parallelism is over workers."""

from __future__ import annotations

import os

_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def one_blas_thread() -> None:
    """Set it for this process and its children; must come before NumPy is imported."""
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
