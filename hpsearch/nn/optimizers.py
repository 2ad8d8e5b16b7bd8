"""Update rules, each for a whole population: every hyperparameter is a column (members, 1).

Symbols are the papers': W parameters, g gradient, lr learning rate. Two decays exist and have
different names: `l2` is added to the gradient (g + l2 W), `weight_decay` is decoupled,
W <- W - lr weight_decay W, before the update (Loshchilov & Hutter 2019, Algorithm 2 line 12, with
their eta_t alpha as lr, as AdamW is commonly built). For plain SGD the two are the same. Biases
never decay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.decay import Decay, column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.study import TrainingSpec


# Adam's corrections are worked out for this many steps at a time: one step's alone cost 6 us, an
# eighth of the whole step of a small network.
_TABLE_STEPS = 128


class Optimizer:
    """Base of the update rules: the decays around an update, and the members' rows of state.

    Args:
        specs: One per member.
        weight_count: How many numbers at the start of a member's vector are weights.
        parameter_count: Length P of a member's vector.
        dtype: Of parameters and gradients.
    """

    # Arrays (members, P) kept from step to step.
    state_arrays = 0

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        weight_count: int,
        parameter_count: int,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self._specs = tuple(specs)
        self._weight_count = weight_count
        self._dtype = dtype
        shape = (len(self._specs), parameter_count)
        self._state = [np.zeros(shape, dtype) for _ in range(self.state_arrays)]
        self._prepare()

    def step(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """One update of parameters (members, P), in place; gradients are used up."""
        self._decay.add_l2(parameters, gradients)
        self._decay.shrink(parameters)
        self._update(parameters, gradients)

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; their state goes on bit for bit."""
        self._specs = tuple(self._specs[index] for index in members)
        self._state = [array[list(members)] for array in self._state]
        self._prepare()

    def _prepare(self) -> None:
        """Columns of the members as they are now."""
        self._decay = Decay(self._specs, self._weight_count, self._dtype)
        self._learning_rate = self._column([spec.learning_rate for spec in self._specs])

    def _column(self, values: Sequence[float]) -> NDArray[Any]:
        return column(values, self._dtype)

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """W <- W - lr g (Robbins & Monro 1951)."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        np.multiply(gradients, self._learning_rate, out=gradients)
        np.subtract(parameters, gradients, out=parameters)


class Momentum(Optimizer):
    """v <- a v - lr g; W <- W + v (Polyak 1964; Sutskever et al. 2013, eqs. 1-2)."""

    state_arrays = 1

    def _prepare(self) -> None:
        super()._prepare()
        self._momentum = self._column([spec.momentum for spec in self._specs])

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        (v,) = self._state
        np.multiply(v, self._momentum, out=v)
        np.multiply(gradients, self._learning_rate, out=gradients)
        np.subtract(v, gradients, out=v)
        np.add(parameters, v, out=parameters)


class Adam(Optimizer):
    r"""Kingma & Ba 2015, Algorithm 1, with both bias corrections.

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

    _steps = 0

    def _prepare(self) -> None:
        super()._prepare()
        self._table: tuple[NDArray[Any], NDArray[Any]] | None = None
        # Corrections are computed in float64 and rounded once.
        self._b1, self._b2, self._epsilon, self._lr = (
            column([getattr(spec, name) for spec in self._specs], np.float64)
            for name in ("beta1", "beta2", "epsilon", "learning_rate")
        )
        self._beta1 = self._b1.astype(self._dtype)
        self._beta2 = self._b2.astype(self._dtype)

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        first, second = self._state
        rate, epsilon = self._corrected()
        np.multiply(first, self._beta1, out=first)
        np.add(first, gradients, out=first)
        np.multiply(gradients, gradients, out=gradients)
        np.multiply(second, self._beta2, out=second)
        np.add(second, gradients, out=second)
        np.sqrt(second, out=gradients)
        np.add(gradients, epsilon, out=gradients)
        np.divide(first, gradients, out=gradients)
        np.multiply(gradients, rate, out=gradients)
        np.subtract(parameters, gradients, out=parameters)

    def _corrected(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The columns lr (1 - b1) / ((1 - b1^t) c) and epsilon / c of the next step t."""
        place = self._steps % _TABLE_STEPS
        if place == 0 or self._table is None:
            self._table = self._corrections(self._steps - place + 1)
        self._steps += 1
        rates, epsilons = self._table
        return rates[place], epsilons[place]

    def _corrections(self, first: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both columns of many steps from t = `first` on: (steps, members, 1) each."""
        t = np.arange(first, first + _TABLE_STEPS).reshape(-1, 1, 1)
        c = np.sqrt((1 - self._b2) / (1 - self._b2**t))
        rates = self._lr * (1 - self._b1) / ((1 - self._b1**t) * c)
        return rates.astype(self._dtype), (self._epsilon / c).astype(self._dtype)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}
