"""Momentum, classical and Nesterov's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.optimizers.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Momentum(Rule):
    """v <- a v - (1 - dampening) lr g;  W <- W + v (Polyak 1964; Sutskever et al. 2013, eqs. 1-2).

    dampening = 0 is the classical form. dampening = a weights the gradient by 1 - a and makes v a
    moving average: v <- a v - (1 - a) lr g. v starts at 0, and the first step is dampened like all
    others (in PyTorch it is not). The rate stands inside v, as in the paper: a schedule acts on
    gradients to come, not on the velocity already gained.
    """

    state_arrays = 1

    def _prepare(self) -> None:
        super()._prepare()
        rates, dampenings = self._values("learning_rate"), self._values("dampening")
        self._lr = self._scheduled(
            [(1 - dampening) * lr for dampening, lr in zip(dampenings, rates, strict=True)]
        )
        self._a = self._column(self._values("momentum"))

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (v,) = self._state
        np.multiply(v, self._a, out=v)  # a v
        np.multiply(gradients, next(self._lr), out=gradients)  # (1 - dampening) lr g
        np.subtract(v, gradients, out=v)  # v <- a v - (1 - dampening) lr g
        if not self._decay:
            np.add(parameters, v, out=parameters)  # W <- W + v
            return
        np.negative(v, out=gradients)
        self._apply(parameters, gradients)


class Nesterov(Rule):
    """v <- a v - lr g(theta + a v);  theta <- theta + v (Sutskever et al. 2013, eqs. 3-4).

    W holds the looked-ahead parameters W = theta + a v, where the gradient is taken, so that the
    network computes g(W) as ever. In W, with v the new velocity, the two lines read

        v <- a v - lr g;  W <- W + a v - lr g

    Kept is u = a v, which is all the rule reads: u <- a (u - lr g), then W <- W - (lr g - u). The
    measured network is that of W; at the end theta and W are as close as v is small.
    """

    state_arrays = 1

    def _prepare(self) -> None:
        super()._prepare()
        self._lr = self._scheduled(self._values("learning_rate"))
        self._a = self._column(self._values("momentum"))

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (u,) = self._state
        np.multiply(gradients, next(self._lr), out=gradients)  # lr g
        np.subtract(u, gradients, out=u)  # v <- a v - lr g
        np.multiply(u, self._a, out=u)  # u = a v
        np.subtract(gradients, u, out=gradients)  # lr g - a v
        self._apply(parameters, gradients)  # W <- W + a v - lr g
