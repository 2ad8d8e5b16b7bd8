"""How scores go together: those of places alike, and those of trials that share a seed.

The last column of a row is no place but says which seed a trial shares with others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

# In the last column: a trial whose seed no other has, or a place that nobody has tried.
NO_SEED = -1.0


class OfPlaces(Matern):  # type: ignore[misc]
    """Matern over all columns but the last."""

    def __call__(self, rows: Any, others: Any = None, eval_gradient: bool = False) -> Any:
        """See scikit-learn."""
        others = None if others is None else others[:, :-1]
        return super().__call__(rows[:, :-1], others, eval_gradient)


class OfSeeds(ConstantKernel):  # type: ignore[misc]
    """What a seed does to all its trials alike; places without one expect the mean of all seeds."""

    def __call__(self, rows: Any, others: Any = None, eval_gradient: bool = False) -> Any:
        """See scikit-learn."""
        mine, theirs = rows[:, -1, None], (rows if others is None else others)[None, :, -1]
        shared = (mine == theirs) & (mine != NO_SEED)
        if not eval_gradient:
            return super().__call__(rows, others) * shared
        covariance, gradient = super().__call__(rows, others, eval_gradient=True)
        return covariance * shared, gradient * shared[:, :, None]

    def diag(self, rows: Any) -> Any:
        """See scikit-learn."""
        return np.where(rows[:, -1] == NO_SEED, 0.0, super().diag(rows))
