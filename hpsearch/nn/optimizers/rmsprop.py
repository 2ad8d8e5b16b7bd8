"""RMSProp: a rate for every parameter, from recent gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpsearch.nn.optimizers.rule import Rule
from hpsearch.settings import own_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class RMSProp(Rule):
    """v <- rho v + (1 - rho) g^2;  W <- W - lr g / (sqrt(v) + epsilon).

    Tieleman & Hinton 2012, lecture 6e of "Neural Networks for Machine Learning", whose rho is 0.9.
    v is a true moving average, starts at 0 and is not corrected for that: the first step is
    lr / sqrt(1 - rho) long. The lecture has no epsilon; here it stands OUTSIDE the root (Goodfellow
    et al. 2016, Algorithm 8.5, have it inside) and is 1e-8, as in Adam.

    Kept is V = v / (1 - rho), so that V <- rho V + g^2, and the same update reads
    W <- W - [lr / sqrt(1 - rho)] g / (sqrt(V) + epsilon / sqrt(1 - rho)): one pass fewer.
    """

    state_arrays = 1
    scratch_arrays = 1
    defaults: ClassVar[Mapping[str, float]] = own_values("rmsprop")

    def _prepare(self) -> None:
        super()._prepare()
        rhos = self._values("rho")
        self._rho = self._column(rhos)
        self._lr = self._scheduled(_over_root(self._values("learning_rate"), rhos))
        self._epsilon = self._column(_over_root(self._values("epsilon"), rhos))

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (v,), s = self._state, self._scratch[0]
        np.multiply(v, self._rho, out=v)
        np.multiply(gradients, gradients, out=s)
        np.add(v, s, out=v)  # V <- rho V + g^2
        np.sqrt(v, out=s)
        np.add(s, self._epsilon, out=s)  # sqrt(V) + epsilon / sqrt(1 - rho)
        np.divide(gradients, s, out=gradients)
        np.multiply(gradients, next(self._lr), out=gradients)
        self._apply(parameters, gradients)


def _over_root(values: list[float], rhos: list[float]) -> list[float]:
    """Every value / sqrt(1 - rho)."""
    return [value / math.sqrt(1 - rho) for value, rho in zip(values, rhos, strict=True)]
