"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.optimizers.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SGD(Rule):
    """W <- W - lr g (Robbins & Monro 1951)."""

    def _prepare(self) -> None:
        super()._prepare()
        self._lr = self._scheduled(self._values("learning_rate"))

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        np.multiply(gradients, next(self._lr), out=gradients)  # lr g
        self._apply(parameters, gradients)  # W <- W - lr g
