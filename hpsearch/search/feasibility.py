"""Where trainings diverge: how probable it is that a place has a score at all.

Were diverged trials bad scores to the surface, they would pull it down in front of them, where
the best places often lie. So the score is modelled where there is one, and whether there is one
beside it (Gelbart, Snoek and Adams, *Bayesian Optimization with Unknown Constraints*, 2014). What
diverges mostly lies beyond some learning rate, which depends on the other values: a logistic
regression on positions, their squares and their products draws such a boundary, sharp where no
trial contradicts it and gradual where luck decides. Where fewer trials have diverged than that has
terms, chance alone could be drawn so: then a flat boundary, and a soft one.
"""

from __future__ import annotations

import math
import warnings
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Inverse strengths of the ridge penalty. Hardly any, so that a boundary may be sharp: with 1e3 the
# regret after 300 trials of the testbed cliff was 5.3 %, with 1e5 1.2 %, with 1e8 0.3 %. And
# scikit-learn's own for boundaries that few trials speak for.
_LOOSE, _FIRM = 1e8, 1.0
_MOST_STEPS, _PRECISE = 1000, 1e-6
# What was thought impossible and happened is told apart no further.
_LEAST_PROBABILITY = 1e-12


class Feasibility:
    """How probable a score is, given trials that have one and trials that diverged.

    Args:
        rows: (n, columns) float64, from `Features`.
        diverged: (n,) bool.
    """

    def __init__(self, rows: np.ndarray, diverged: np.ndarray) -> None:
        self._rows, self._diverged = rows, diverged
        self._is_mixed = bool(diverged.any() and not diverged.all())
        rarer = min(int(diverged.sum()), int((~diverged).sum()))
        self._is_curved = rarer >= _curved(rows).shape[1]
        self._model = self._fitted(rows) if self._is_mixed else None

    def probability(self, rows: np.ndarray) -> np.ndarray:
        """(m,) float64: of a score at each row; 1 where nothing has diverged."""
        if self._model is None:
            return np.ones(len(rows))
        return np.asarray(self._model.predict_proba(self._terms(rows))[:, 0])

    def effect(self, columns: slice) -> float:
        """How much better these columns explain which trials diverged.

        Returns:
            The logarithm of the ratio of the likelihoods with and without them, less half the
            logarithm of the number of trials for each term that they add (Schwarz, *Estimating the
            Dimension of a Model*, 1978).
        """
        if self._model is None:
            return 0.0
        less = np.delete(self._rows, columns, axis=1)
        without = self._fitted(less) if less.shape[1] else None
        gained = self._log_likelihood(self._model, self._rows) - self._log_likelihood(without, less)
        terms = _rank(self._terms(self._rows)) - _rank(self._terms(less))
        return gained - terms / 2 * math.log(len(self._rows))

    def _log_likelihood(self, model: LogisticRegression | None, rows: np.ndarray) -> float:
        """By a model; without one every trial diverges as often as all do."""
        diverging = np.full(len(rows), self._diverged.mean())
        if model is not None:
            diverging = model.predict_proba(self._terms(rows))[:, 1]
        seen = np.where(self._diverged, diverging, 1 - diverging)
        return float(np.log(np.maximum(seen, _LEAST_PROBABILITY)).sum())

    def _fitted(self, rows: np.ndarray) -> LogisticRegression:
        from scipy.linalg import LinAlgWarning
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        strength = _LOOSE if self._is_curved else _FIRM
        model = LogisticRegression(
            C=strength, solver="newton-cholesky", max_iter=_MOST_STEPS, tol=_PRECISE
        )
        with warnings.catch_warnings():
            # A boundary that no trial contradicts has no sharpest form, and needs none.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", LinAlgWarning)
            return model.fit(self._terms(rows), self._diverged)

    def _terms(self, rows: np.ndarray) -> np.ndarray:
        """(n, terms) float64: what the logarithm of the odds is a sum of."""
        return _curved(rows) if self._is_curved else rows


def _curved(rows: np.ndarray) -> np.ndarray:
    """(n, terms) float64: every column, and every product of two."""
    pairs = combinations_with_replacement(range(rows.shape[1]), 2)
    return np.column_stack([rows, *(rows[:, i] * rows[:, j] for i, j in pairs)])


def _rank(terms: np.ndarray) -> int:
    """How many of the terms are no sum of others: columns of a choice add up to a constant."""
    return int(np.linalg.matrix_rank(np.column_stack([np.ones(len(terms)), terms])))
