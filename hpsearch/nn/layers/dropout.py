"""Dropout (Srivastava et al. 2014), inverted: what is kept is scaled up in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


class Dropout:
    """y = x m / (1 - rate), m being 0 with probability `rate` and else 1; y = x in evaluation.

    Members may have rates of their own, 0 among them. Whether a number is kept depends on the
    member's own draws and rate alone.

    Args:
        rates: One per member, 0 or above and below 1.
        dtype: Of the activations.
    """

    def __init__(self, rates: Sequence[float], dtype: DTypeLike = np.float32) -> None:
        self._rates = np.array(rates, np.float32).reshape(-1, 1, 1)
        self._factors = np.array([1 / (1 - rate) for rate in rates], dtype).reshape(-1, 1, 1)

    def forward(
        self,
        values: NDArray[Any],
        draws: NDArray[np.float32],
        kept: NDArray[Any],
        out: NDArray[Any],
    ) -> None:
        """Write values with some of them dropped.

        Args:
            values: x, (members, rows, features).
            draws: Uniform in [0, 1), (members, rows, features), or (1, ...) shared by all.
            kept: As `values`; receives m / (1 - rate).
            out: As `values`; receives y.
        """
        np.greater_equal(draws, self._rates, out=kept, casting="unsafe")
        np.multiply(kept, self._factors, out=kept)
        np.multiply(values, kept, out=out)

    def backward(self, gradients: NDArray[Any], kept: NDArray[Any]) -> None:
        """Turn dL/dy into dL/dx, in place; `kept` is what `forward` left there."""
        np.multiply(gradients, kept, out=gradients)
