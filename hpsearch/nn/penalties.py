"""Penalties: what the weights of a member cost it, added to the gradient of its loss.

Omega(W) = l2/2 sum w^2 + l1 sum |w| + linf sum over layers of max |w|. Biases and batch-norm
parameters are no weights and cost nothing.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.columns import column
from hpsearch.nn.layers.layout import weight_count

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from hpsearch.nn.layers.layout import Spans
    from hpsearch.settings import TrainingSpec


def penalty_values(
    specs: Sequence[TrainingSpec], weight_spans: Spans, parameters: NDArray[Any]
) -> NDArray[np.float64]:
    """Omega of every member, as above.

    Args:
        specs: One per member; l2, l1 and linf are read.
        weight_spans: Where each layer's weights stand in a member's vector.
        parameters: (members, P).

    Returns:
        (members,) float64; 0 for members without a penalty.
    """
    layers = [parameters[:, start:stop].astype(np.float64) for start, stop in weight_spans]
    omega = np.zeros(len(specs))
    for index, spec in enumerate(specs):
        for w in (layer[index] for layer in layers):
            if spec.l2:
                omega[index] += spec.l2 / 2 * np.square(w).sum()
            if spec.l1:
                omega[index] += spec.l1 * np.abs(w).sum()
            if spec.linf:
                omega[index] += spec.linf * np.abs(w).max()
    return omega


class Penalties:
    """Adds the gradient of Omega to the gradients of a population.

    Members without a penalty are left out instead of being given a zero: 0 W is not 0 where W has
    overflown, and -0.0 + 0.0 is not -0.0. Left out are stretches of rows, not masked elements,
    because numpy's masked loops are five times as slow.

    Args:
        specs: One per member.
        weight_spans: Where each layer's weights stand in a member's vector.
        scratch: (members, P), contiguous; nothing in it outlives a call.
        only: The penalties to add; whoever leaves some out adds them elsewhere.
    """

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        weight_spans: Spans,
        scratch: NDArray[Any],
        only: Collection[str] = ("l2", "l1", "linf"),
    ) -> None:
        self._spans = tuple(weight_spans)
        self._weight_count = weight_count(weight_spans)
        self._scratch = scratch
        self._l2, self._l1, self._linf = (
            self._stretches([getattr(spec, name) for spec in specs]) if name in only else []
            for name in ("l2", "l1", "linf")
        )

    def add(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """Add dOmega/dW to the gradients, in place; both (members, P)."""
        for rows, l2 in self._l2:  # g <- g + l2 W
            w, g, s = self._weights_of(rows, parameters, gradients, self._scratch)
            np.multiply(w, l2, out=s)
            np.add(g, s, out=g)
        for rows, l1 in self._l1:  # g <- g + l1 sign(W)
            w, g, s = self._weights_of(rows, parameters, gradients, self._scratch)
            np.sign(w, out=s)
            np.multiply(s, l1, out=s)
            np.add(g, s, out=g)
        for rows, linf in self._linf:
            for start, stop in self._spans:
                self._add_largest(
                    parameters[rows, start:stop], gradients[rows, start:stop], linf[:, 0]
                )

    def _add_largest(self, w: NDArray[Any], g: NDArray[Any], linf: NDArray[Any]) -> None:
        """g_j <- g_j + linf sign(w_j) for the j of largest |w_j|, the first of equals."""
        # argmax would copy an array that is not contiguous.
        sizes = self._scratch.reshape(-1)[: w.size].reshape(w.shape)
        np.abs(w, out=sizes)
        largest = np.arange(len(w)), sizes.argmax(axis=1)
        g[largest] += linf * np.sign(w[largest])

    def _stretches(self, values: Sequence[float]) -> list[tuple[slice, NDArray[Any]]]:
        """Rows that have a value, and their columns."""
        return [
            (rows, column(values[rows], self._weight_count, self._scratch.dtype))
            for rows in stretches(values)
        ]

    def _weights_of(self, rows: slice, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        return [array[rows, : self._weight_count] for array in arrays]


def stretches(values: Sequence[float]) -> list[slice]:
    """Neighbouring rows whose values are not 0, as slices from top to bottom."""
    runs = groupby(range(len(values)), key=lambda index: values[index] != 0)
    rows = [list(run) for present, run in runs if present]
    return [slice(run[0], run[-1] + 1) for run in rows]
