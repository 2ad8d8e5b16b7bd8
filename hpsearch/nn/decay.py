"""Decoupled weight decay: W <- W - lr_t weight_decay W, apart from gradient and update rule.

Loshchilov & Hutter 2019, Algorithm 2 line 12, with their eta_t alpha as lr_t, as AdamW is commonly
built: the decay follows the schedule of the learning rate. Weights alone decay.
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

    def shrink(self, parameters: NDArray[Any]) -> None:
        """One step's decay of parameters (members, P), in place."""
        for rows, rates in self._stretches:
            w, s = (array[rows, : self._weight_count] for array in (parameters, self._scratch))
            # Two passes: 1 - lr weight_decay would lose most of a small decay to rounding.
            np.multiply(w, next(rates), out=s)
            np.subtract(w, s, out=w)
