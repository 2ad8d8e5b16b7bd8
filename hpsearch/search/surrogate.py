"""A Gaussian process through everything tried: what the score may be between the trials.

Constant mean, Matern 5/2 with a length scale for every column, a level for every seed that trials
share, and white noise (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, 2006,
ch. 2, 4.2 and 5.4). Length scales and variances are those of the highest posterior density; the
noise has a prior: it was measured, or at least its lower bound is known. Scores may scatter by
more than the noise, each as far as whoever gives them says.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

# In units of a column's range: shorter is noise, longer is no effect at all.
_LENGTH_BOUNDS = (0.02, 20.0)
_FIRST_LENGTH = 0.3
# Standard deviation of a prior on the logarithm of a length below the first one: a score that
# nobody expected is noise rather than a hill of its own.
_SHORT_SD = 0.5
# Of the standardised scores.
_SIGNAL_BOUNDS = (1e-2, 1e3)
_NOISE_BOUNDS = (1e-7, 4.0)
# Standard deviations of the priors on the logarithms of the variances: of the signal, around 1; of
# the seeds' levels and of the noise, around the noise that was measured, or that is only supposed.
_SIGNAL_PRIOR_SD = 1.5
_MEASURED_SD, _SUPPOSED_SD = 1.0, 3.0
_LEAST_NOISE = 1e-6
# On the diagonal of what is fitted, so that it can be factored.
_LEAST_VARIANCE = 1e-10
_MOST_STEPS = 60
# Added to the diagonal of what is drawn from, as a share of the signal's variance.
_JITTER = 1e-6

# As in covariances.py, which imports scikit-learn.
_NO_SEED = -1.0

Objective = Callable[..., tuple[float, np.ndarray]]


@dataclass(frozen=True)
class _Scale:
    """Scores are modelled with mean 0 and standard deviation 1."""

    mean: float
    sd: float

    @classmethod
    def of(cls, scores: np.ndarray) -> _Scale:
        return cls(float(scores.mean()), max(float(scores.std()), 1e-12))


class Surrogate:
    """The posterior of the score, given trials.

    Args:
        rows: (n, columns) float64, from `Features`.
        scores: (n,) float64.
        noise: Standard deviation of a score around its mean over seeds, as it was estimated.
        seeds: (n,) float64: which trials share a seed; `NO_SEED` for those that share none.
        scatter: (n,) float64: standard deviations of what each score scatters beyond the noise that
            all have; None for nothing.
        start: Where the fit starts: `parameters` of another fit; None for the default.
        fitted: Whether `start` is to be taken as it stands.
        is_measured: Whether the noise was, or is only supposed.
    """

    def __init__(
        self,
        rows: np.ndarray,
        scores: np.ndarray,
        noise: float,
        seeds: np.ndarray | None = None,
        scatter: np.ndarray | None = None,
        start: np.ndarray | None = None,
        *,
        fitted: bool = False,
        is_measured: bool = True,
    ) -> None:
        self._rows, self._scale = rows, _Scale.of(scores)
        self._seeds = np.full(len(rows), _NO_SEED) if seeds is None else seeds
        self._targets = (scores - self._scale.mean) / self._scale.sd
        scatter = np.zeros(len(rows)) if scatter is None else scatter
        self._variances = (scatter / self._scale.sd) ** 2 + _LEAST_VARIANCE
        self._noise = float(np.log(max((noise / self._scale.sd) ** 2, _LEAST_NOISE)))
        self._noise_sd = _MEASURED_SD if is_measured else _SUPPOSED_SD
        start = _first(rows.shape[1], self._noise) if start is None else start
        self._process, self._evidence = self._fit(rows, start, fitted=fitted)

    @property
    def parameters(self) -> np.ndarray:
        """(columns + 3,) float64: logarithms of signal, length scales, seeds' levels, noise."""
        return np.asarray(self._process.kernel_.theta)

    @property
    def noise(self) -> float:
        """Standard deviation of a score around its mean, as fitted."""
        return float(np.exp(self.parameters[-1] / 2)) * self._scale.sd

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """(m,) float64: the expected score at each row, without noise."""
        return np.asarray(self._process.predict(_placed(rows))) * self._scale.sd + self._scale.mean

    def mean_and_deviation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected score at each row, and how uncertain it is, without noise: (m,) float64 both."""
        mean, deviation = self._process.predict(_placed(rows), return_std=True)
        variance = np.maximum(deviation**2 - np.exp(self.parameters[-1]), 0.0)
        scale = self._scale
        return mean * scale.sd + scale.mean, np.sqrt(variance) * scale.sd

    @property
    def lengths(self) -> np.ndarray:
        """(columns,) float64: length scales."""
        return np.asarray(np.exp(self.parameters[1:-2]))

    def draws(self, rows: np.ndarray, count: int, rng: Generator) -> np.ndarray:
        """Joint draws from the posterior of the score without noise.

        Returns:
            (count, m) float64.
        """
        mean, covariance = self._process.predict(_placed(rows), return_cov=True)
        # scikit-learn counts the noise of a new measurement in.
        signal, noise = np.exp(self.parameters[[0, -1]])
        covariance[np.diag_indices_from(covariance)] += _JITTER * signal + 1e-8 - noise
        factor = np.linalg.cholesky(covariance)
        drawn = mean[:, None] + factor @ rng.standard_normal((len(rows), count))
        return np.asarray(drawn.T) * self._scale.sd + self._scale.mean

    def effect(self, columns: slice) -> float:
        """How much better the trials are explained with these columns than without them.

        Returns:
            The logarithm of the ratio of the two highest posterior densities; at least about 0.

        Raises:
            ValueError: If the parameters were taken as they stood, so that there is no density.
        """
        if not math.isfinite(self._evidence):
            raise ValueError("a surrogate that was not fitted has no evidence to compare")
        dropped = np.arange(self._rows.shape[1])[columns]
        rows = np.delete(self._rows, dropped, axis=1)
        if not rows.shape[1]:
            return self._evidence - self._constant()
        start = np.delete(self.parameters, 1 + dropped)
        return self._evidence - self._fit(rows, start)[1]

    def _constant(self) -> float:
        """The highest log density where nothing has an effect: one column, the same for all."""
        return self._fit(np.zeros((len(self._targets), 1)), _first(1, self._noise))[1]

    def _fit(
        self, rows: np.ndarray, start: np.ndarray, *, fitted: bool = False
    ) -> tuple[GaussianProcessRegressor, float]:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel

        from hpsearch.search.covariances import OfPlaces, OfSeeds

        lengths = np.full(rows.shape[1], _FIRST_LENGTH)
        kernel = ConstantKernel(1.0, _SIGNAL_BOUNDS) * OfPlaces(lengths, _LENGTH_BOUNDS, nu=2.5)
        kernel = kernel + OfSeeds(1.0, _NOISE_BOUNDS) + WhiteKernel(1.0, _NOISE_BOUNDS)
        kernel = kernel.clone_with_theta(start)
        found: list[float] = []
        optimizer = (
            None if fitted else partial(_highest_density, self._noise, self._noise_sd, found)
        )
        process = GaussianProcessRegressor(kernel, alpha=self._variances, optimizer=optimizer)
        with warnings.catch_warnings():
            # A length scale at its bound is how a column without effect ends.
            warnings.simplefilter("ignore")
            process.fit(np.column_stack([rows, self._seeds]), self._targets)
        return process, found[0] if found else float("nan")


def _first(columns: int, noise: float) -> np.ndarray:
    return np.array([0.0, *np.full(columns, np.log(_FIRST_LENGTH)), noise, noise])


def _placed(rows: np.ndarray) -> np.ndarray:
    """Rows of places without a seed."""
    return np.column_stack([rows, np.full(len(rows), _NO_SEED)])


def _highest_density(
    noise: float,
    noise_sd: float,
    found: list[float],
    objective: Objective,
    start: np.ndarray,
    bounds: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Maximise the marginal likelihood times the priors; scikit-learn's own has none."""
    from scipy.optimize import minimize

    def negative(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(theta)
        signal = theta[0] / _SIGNAL_PRIOR_SD
        short = np.minimum(theta[1:-2] - math.log(_FIRST_LENGTH), 0.0) / _SHORT_SD
        excess = (theta[-2:] - noise) / noise_sd
        gradient = np.array(gradient)
        gradient[0] += signal / _SIGNAL_PRIOR_SD
        gradient[1:-2] += short / _SHORT_SD
        gradient[-2:] += excess / noise_sd
        return value + (signal**2 + float(short @ short) + float(excess @ excess)) / 2, gradient

    limited = np.clip(start, bounds[:, 0], bounds[:, 1])
    best: Any = minimize(
        negative,
        limited,
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"maxiter": _MOST_STEPS},
    )
    found.append(-float(best.fun))
    return best.x, float(best.fun)
