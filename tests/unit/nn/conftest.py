"""Suites that must hold whichever kernels do the elementwise work."""

import pytest

from hpsearch.nn.kernels import VARIABLE, kernels


@pytest.fixture(scope="module", params=["numpy", "numba"])
def each_kernels(request):
    """Everything in the module twice: with NumPy's operations and with the fused kernels."""
    if request.param == "numba":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, request.param)
        yield kernels()
