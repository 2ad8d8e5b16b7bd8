"""AdaGrad: a rate for every parameter, from all gradients so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpsearch.nn.optimizers.rule import Rule
from hpsearch.settings import own_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class AdaGrad(Rule):
    """h <- h + g^2;  W <- W - lr g / (sqrt(h) + epsilon) (Duchi et al. 2011, section 1.1).

    The diagonal form, with h starting at 0. epsilon stands beside the root and is 1e-7, as in
    Goodfellow et al. 2016, Algorithm 8.4. lr is 0.01 where the study does not say, the common
    choice for a rule whose steps only shrink.
    """

    state_arrays = 1
    scratch_arrays = 1
    defaults: ClassVar[Mapping[str, float]] = own_values("adagrad")

    def _prepare(self) -> None:
        super()._prepare()
        self._lr = self._scheduled(self._values("learning_rate"))
        self._epsilon = self._column(self._values("epsilon"))

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (h,), s = self._state, self._scratch[0]
        np.multiply(gradients, gradients, out=s)  # g^2
        np.add(h, s, out=h)  # h <- h + g^2
        np.sqrt(h, out=s)
        np.add(s, self._epsilon, out=s)  # sqrt(h) + epsilon
        np.divide(gradients, s, out=gradients)
        np.multiply(gradients, next(self._lr), out=gradients)  # lr g / (sqrt(h) + epsilon)
        self._apply(parameters, gradients)
