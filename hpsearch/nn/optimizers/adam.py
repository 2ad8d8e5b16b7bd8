"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpsearch.nn.columns import columns_by_step, side_by_side
from hpsearch.nn.optimizers.rule import Rule
from hpsearch.nn.schedules import factors_of
from hpsearch.settings import own_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Adam(Rule):
    """Kingma & Ba 2015, Algorithm 1, with both bias corrections.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
    W <- W - lr m^ / (sqrt(v^) + epsilon),  m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t).

    epsilon stands beside the CORRECTED root, as in the algorithm itself; the variant at the end of
    the paper's section 2 sets it beside the uncorrected one, which shortens the first steps where
    gradients are small (g = 1e-6 at t = 1: 0.990 lr here, 0.760 lr there).

    Kept are M = m / (1 - b1) and V = v / (1 - b2), so that M <- b1 M + g and V <- b2 V + g^2, and
    with c = sqrt((1 - b2) / (1 - b2^t)) the same update reads
    W <- W - [lr (1 - b1) / ((1 - b1^t) c)] M / (sqrt(V) + epsilon / c):
    ten passes over memory instead of fourteen.
    """

    state_arrays = 2
    defaults: ClassVar[Mapping[str, float]] = own_values("adam")

    def _prepare(self) -> None:
        super()._prepare()
        self._b1, self._b2 = self._values("beta1"), self._values("beta2")
        self._beta1, self._beta2 = self._column(self._b1), self._column(self._b2)
        self._rates = columns_by_step(self._rate_table, self._steps, self._dtype)
        self._epsilons = columns_by_step(self._epsilon_table, self._steps, self._dtype)

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        first, second = self._state
        np.multiply(first, self._beta1, out=first)
        np.add(first, gradients, out=first)  # M <- b1 M + g
        np.multiply(gradients, gradients, out=gradients)
        np.multiply(second, self._beta2, out=second)
        np.add(second, gradients, out=second)  # V <- b2 V + g^2
        np.sqrt(second, out=gradients)
        np.add(gradients, next(self._epsilons), out=gradients)  # sqrt(V) + epsilon / c
        np.divide(first, gradients, out=gradients)
        np.multiply(gradients, next(self._rates), out=gradients)
        self._apply(parameters, gradients)

    def _rate_table(self, updates: NDArray[np.int64]) -> NDArray[np.float64]:
        """The columns lr (1 - b1) / ((1 - b1^t) c) of t = updates + 1: (updates, members)."""
        lr, b1 = np.array(self._values("learning_rate")), np.array(self._b1)
        lr_t = lr * factors_of(self.specs, updates, self._total_steps)
        c = self._c(updates)
        rates: NDArray[np.float64] = lr_t * (1 - b1) / ((1 - powers(self._b1, updates + 1)) * c)
        return rates

    def _epsilon_table(self, updates: NDArray[np.int64]) -> NDArray[np.float64]:
        """The columns epsilon / c of t = updates + 1: (updates, members)."""
        epsilon = np.array(self._values("epsilon"))
        return epsilon / self._c(updates)

    def _c(self, updates: NDArray[np.int64]) -> NDArray[np.float64]:
        """sqrt((1 - b2) / (1 - b2^t)) of t = updates + 1: (updates, members)."""
        b2 = np.array(self._b2)
        c: NDArray[np.float64] = np.sqrt((1 - b2) / (1 - powers(self._b2, updates + 1)))
        return c


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2).

    The decay itself stands in `hpsearch.nn.decay` and is open to every rule; what makes it AdamW
    is that there is one without asking, of 0.01. Both are PyTorch's: the weights lose
    lr_t weight_decay of themselves, 1e-5 a step where nothing is said, while line 12 of the paper's
    algorithm takes eta_t lambda, without the learning rate alpha.
    """

    defaults: ClassVar[Mapping[str, float]] = own_values("adamw")


def powers(bases: Sequence[float], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    """b^t: (exponents, bases), or (exponents, 1) where all bases agree."""
    t = exponents.astype(np.float64)
    return side_by_side(bases, {base: np.power(base, t) for base in set(bases)})
