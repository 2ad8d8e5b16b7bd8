"""Decoupled weight decay: W <- W - (u + lr_t weight_decay W), u being the update rule's own step.

Loshchilov & Hutter 2019, Algorithm 2 line 12, in the form PyTorch made common: the paper decays by
eta_t lambda, eta_t being the schedule's factor alone; here the learning rate alpha is a factor too,
lr_t = eta_t alpha. Weights alone decay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.penalties import stretches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


class Decay:
    """Shrinks the weights of those members that have a weight_decay; the others stay untouched.

    It is added to the step, not subtracted by itself: W - lr weight_decay W is W again in float32
    wherever lr weight_decay is below 3e-8. Together with a step, which differs from update to
    update, such a decay is rounded up as often as it should be, and acts in the mean.

    Args:
        values: weight_decay of every member.
        rates: Gives the columns of lr_t weight_decay, step by step, for a stretch of rows.
        weight_count: How many numbers at the start of a member's vector are weights.
        scratch: (members, P); nothing in it outlives a call.
    """

    def __init__(
        self,
        values: Sequence[float],
        rates: Callable[[slice], Iterator[NDArray[Any]]],
        weight_count: int,
        scratch: NDArray[Any],
    ) -> None:
        self._weight_count = weight_count
        self._scratch = scratch
        self._stretches = [(rows, rates(rows)) for rows in stretches(values)]

    def __bool__(self) -> bool:
        """Whether any member decays."""
        return bool(self._stretches)

    def add(self, parameters: NDArray[Any], step: NDArray[Any]) -> None:
        """Add lr_t weight_decay W to the step, in place; both (members, P)."""
        for rows, rates in self._stretches:
            w, u, s = (
                array[rows, : self._weight_count] for array in (parameters, step, self._scratch)
            )
            np.multiply(w, next(rates), out=s)
            np.add(u, s, out=u)
