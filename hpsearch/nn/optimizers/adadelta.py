"""AdaDelta: steps in the units of the parameters, without a learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpsearch.nn.optimizers.rule import Rule
from hpsearch.settings import own_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class AdaDelta(Rule):
    """Zeiler 2012, Algorithm 1, with RMS[x] = sqrt(E[x^2] + epsilon) (its eq. 9).

    E[g^2] <- rho E[g^2] + (1 - rho) g^2
    D = RMS[D] / RMS[g] g, with E[D^2] as it was before
    E[D^2] <- rho E[D^2] + (1 - rho) D^2
    W <- W - lr D

    The paper has no learning rate: 1.0 is its rule; E[D^2] averages D itself, whatever lr is.
    rho = 0.95 and epsilon = 1e-6 are those of its section 4.1.

    Kept are G = E[g^2] / (1 - rho) and X = E[D^2] / (1 - rho). With e = epsilon / (1 - rho) the
    ratio of the two RMS is sqrt((X + e) / (G + e)).
    """

    state_arrays = 2
    scratch_arrays = 2
    defaults: ClassVar[Mapping[str, float]] = own_values("adadelta")

    def _prepare(self) -> None:
        super()._prepare()
        rhos, epsilons = self._values("rho"), self._values("epsilon")
        self._lr = self._scheduled(self._values("learning_rate"))
        self._rho = self._column(rhos)
        self._e = self._column([e / (1 - rho) for e, rho in zip(epsilons, rhos, strict=True)])

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (g2, d2), (s, t) = self._state, self._scratch
        np.multiply(g2, self._rho, out=g2)
        np.multiply(gradients, gradients, out=s)
        np.add(g2, s, out=g2)  # G <- rho G + g^2
        np.add(g2, self._e, out=s)
        np.add(d2, self._e, out=t)
        np.divide(t, s, out=t)
        np.sqrt(t, out=t)  # RMS[D] / RMS[g]
        np.multiply(gradients, t, out=gradients)  # D
        np.multiply(d2, self._rho, out=d2)
        np.multiply(gradients, gradients, out=s)
        np.add(d2, s, out=d2)  # X <- rho X + D^2
        np.multiply(gradients, next(self._lr), out=gradients)
        self._apply(parameters, gradients)  # W <- W - lr D
