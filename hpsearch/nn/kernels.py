"""Which code does the elementwise work: NumPy's own operations, or loops fused by numba.

The one place that decides it. NumPy's text is the reference; the fused kernels compute the same
with one pass over memory where NumPy needs several, and differ in the last bits. The large matrix
products are BLAS's either way.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from hpsearch.errors import UserError
from hpsearch.nn.layers import Neurons
from hpsearch.nn.losses import LOSSES, Loss
from hpsearch.nn.optimizers import OPTIMIZERS, Rule

# Names the kernels to use; without it numba's where it is installed.
VARIABLE = "HPSEARCH_KERNELS"


@dataclass(frozen=True)
class Kernels:
    """Everything that exists in two forms.

    Attributes:
        name: "numpy", or "numba" and its version: part of what a result's bits depend on.
        neurons: Biases and activations.
        losses: Losses by name.
        optimizers: Update rules by name.
    """

    name: str
    neurons: type[Neurons]
    losses: Mapping[str, Callable[..., Loss]]
    optimizers: Mapping[str, type[Rule]]


def kernels() -> Kernels:
    """The kernels that new populations, losses and optimizers use.

    Raises:
        UserError: If HPSEARCH_KERNELS names none, or what is not installed or cannot be imported.
    """
    if kernels_name() == "numpy":
        return _NUMPY
    fused = _numba()
    if isinstance(fused, Kernels):
        return fused
    if os.environ.get(VARIABLE):
        raise UserError(
            f'{VARIABLE} is "numba", which cannot be imported ({fused}): '
            f"reinstall numba or set {VARIABLE}=numpy"
        ) from fused
    _warn(str(fused))
    return _NUMPY


def kernels_name() -> str:
    """Which are meant, "numpy" or "numba", without importing either.

    Raises:
        UserError: As `kernels`.
    """
    name = os.environ.get(VARIABLE) or _default()
    if name not in ("numpy", "numba"):
        raise UserError(f'{VARIABLE} must be "numpy" or "numba", got "{name}"')
    if name == "numba" and not _has_numba():
        raise UserError(
            f'{VARIABLE} is "numba", which is not installed: pip install "hpsearch[fast]"'
        )
    return name


def _default() -> str:
    return "numba" if _has_numba() else "numpy"


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


@cache
def _numba() -> Kernels | ImportError | OSError:
    """The fused kernels, or why there are none; tried once in a process."""
    try:
        import numba

        from hpsearch.nn.fused import FUSED_LOSSES, FUSED_OPTIMIZERS, FusedNeurons
    except (ImportError, OSError) as error:
        # A numba that does not suit this NumPy, or an llvmlite whose library cannot be loaded.
        return error
    return Kernels(f"numba {numba.__version__}", FusedNeurons, FUSED_LOSSES, FUSED_OPTIMIZERS)


@cache
def _warn(reason: str) -> None:
    """Say once that training is slower than it could be."""
    warnings.warn(
        f"numba is installed but cannot be imported ({reason}); NumPy trains instead, more slowly: "
        f"reinstall numba, or set {VARIABLE}=numpy to train without it",
        RuntimeWarning,
        stacklevel=3,
    )


_NUMPY = Kernels("numpy", Neurons, LOSSES, OPTIMIZERS)
