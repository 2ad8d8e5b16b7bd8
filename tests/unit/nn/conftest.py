"""Suites that must hold whichever kernels do the elementwise work."""

import pytest
from threadpoolctl import threadpool_limits

from hpsearch.nn.kernels import VARIABLE, kernels


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Products run on one thread, as in a worker.

    Several test processes with a pool each keep each other waiting: on two busy cores the tests of
    real widths took 48 s instead of 3 (2026-11, AMD EPYC).
    """
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=["numpy", "numba"])
def each_kernels(request):
    """Everything in the module twice: with NumPy's operations and with the fused kernels."""
    if request.param == "numba":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, request.param)
        yield kernels()
