"""The two decays of a population: l2 and weight_decay, applied to weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.study import TrainingSpec


class Decay:
    """l2 and weight_decay of a population, applied to weights alone.

    Members without decay are left out by a mask instead of being given a zero: 0 W is not 0 where
    W has overflown, and -0.0 + 0.0 is not -0.0.
    """

    def __init__(self, specs: Sequence[TrainingSpec], weight_count: int, dtype: DTypeLike) -> None:
        self._weights = slice(0, weight_count)
        self._l2 = column([spec.l2 for spec in specs], dtype)
        rates = [spec.learning_rate * spec.weight_decay for spec in specs]
        self._shrink = column(rates, dtype)
        self._scratch = np.empty((len(specs), weight_count), dtype=dtype)
        self._with_l2 = _mask(self._l2)
        self._with_shrink = _mask(self._shrink)

    def add_l2(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """Add l2 to the gradients: g <- g + l2 W, in place; both (members, P)."""
        if self._with_l2 is False:
            return
        g = gradients[:, self._weights]
        np.multiply(parameters[:, self._weights], self._l2, out=self._scratch)
        np.add(g, self._scratch, out=g, where=self._with_l2)

    def shrink(self, parameters: NDArray[Any]) -> None:
        """Shrink the weights: W <- W - lr weight_decay W, in place; (members, P)."""
        if self._with_shrink is False:
            return
        w = parameters[:, self._weights]
        np.multiply(w, self._shrink, out=self._scratch)
        np.subtract(w, self._scratch, out=w, where=self._with_shrink)


def column(values: Sequence[float], dtype: DTypeLike) -> NDArray[Any]:
    """One value per member as (members, 1), to be spread over the members' rows."""
    return np.array(values, dtype=dtype).reshape(-1, 1)


def _mask(values: NDArray[Any]) -> NDArray[np.bool_] | bool:
    """Which members have a value, for numpy's `where`: True for all, False for nobody."""
    present = values != 0
    # The plain True, no array: numpy then takes its unmasked loop, five times as fast.
    if present.all():
        return True
    return present if present.any() else False
