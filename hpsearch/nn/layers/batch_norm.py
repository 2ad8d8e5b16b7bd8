"""Batch normalisation (Ioffe & Szegedy 2015), between a linear layer and its activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Added to the variance, Algorithm 1's epsilon; the paper names no number, this one is common.
EPSILON = 1e-5
# Share of the running statistics that is kept at every step.
KEPT = 0.9


class BatchNorm:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, for every member and feature.

    In training mean and variance are the batch's own (Algorithm 1) and move the running ones:
    running <- 0.9 running + 0.1 of the batch, whose variance counts as m / (m - 1) (Algorithm 2,
    line 10). In evaluation the running ones stand in, so that a row's output depends on no other.

    Args:
        gammas: (members, 1, features), a view of the flat parameters.
        betas: As `gammas`.
        gamma_gradients: As `gammas`, a view of the flat gradients.
        beta_gradients: As `gamma_gradients`.
        running_means: (members, 1, features), a view of the flat running statistics.
        running_variances: As `running_means`.
    """

    def __init__(
        self,
        gammas: NDArray[Any],
        betas: NDArray[Any],
        gamma_gradients: NDArray[Any],
        beta_gradients: NDArray[Any],
        running_means: NDArray[Any],
        running_variances: NDArray[Any],
    ) -> None:
        self.gammas = gammas
        self.betas = betas
        self.gamma_gradients = gamma_gradients
        self.beta_gradients = beta_gradients
        self.running_means = running_means
        self.running_variances = running_variances
        self._mean, self._variance, self._inverse, self._scratch = np.empty(
            (4, *gammas.shape), gammas.dtype
        )

    def forward(self, values: NDArray[Any]) -> None:
        """Normalise values (members, rows, features) by the running statistics, in place."""
        scale = self.gammas / np.sqrt(self.running_variances + EPSILON)
        np.multiply(values, scale, out=values)
        np.add(values, self.betas - self.running_means * scale, out=values)

    def forward_training(self, values: NDArray[Any], ones: NDArray[Any], out: NDArray[Any]) -> None:
        """Normalise a batch by its own statistics, and move the running ones.

        Args:
            values: x, (members, rows, features); becomes (x - mean) / sqrt(variance + epsilon).
            ones: (1, 1, rows) of ones.
            out: As `values`; receives y, and is scratch before.
        """
        rows = values.shape[1]
        np.matmul(ones, values, out=self._mean)
        np.divide(self._mean, rows, out=self._mean)
        np.subtract(values, self._mean, out=values)
        np.multiply(values, values, out=out)
        np.matmul(ones, out, out=self._variance)
        np.divide(self._variance, rows, out=self._variance)
        np.add(self._variance, EPSILON, out=self._inverse)
        np.sqrt(self._inverse, out=self._inverse)
        np.reciprocal(self._inverse, out=self._inverse)
        np.multiply(values, self._inverse, out=values)
        np.multiply(values, self.gammas, out=out)
        np.add(out, self.betas, out=out)
        self._move_running(rows)

    def backward(
        self,
        gradients: NDArray[Any],
        normalized: NDArray[Any],
        ones: NDArray[Any],
        scratch: NDArray[Any],
    ) -> None:
        """Turn dL/dy into dL/dx, in place, and write dL/dgamma and dL/dbeta.

        With n for the normalised x, and sums over the batch's m rows (the paper's section 3):
        dL/dx = gamma / sqrt(variance + epsilon) (dL/dy - sum(dL/dy) / m - n sum(dL/dy n) / m).

        Args:
            gradients: dL/dy, (members, rows, features).
            normalized: What `forward_training` left in its `values`.
            ones: (1, 1, rows) of ones.
            scratch: As `gradients`.
        """
        rows = gradients.shape[1]
        np.matmul(ones, gradients, out=self.beta_gradients)
        np.multiply(gradients, normalized, out=scratch)
        np.matmul(ones, scratch, out=self.gamma_gradients)
        np.divide(self.gamma_gradients, rows, out=self._scratch)
        np.multiply(normalized, self._scratch, out=scratch)
        np.subtract(gradients, scratch, out=gradients)
        np.divide(self.beta_gradients, rows, out=self._scratch)
        np.subtract(gradients, self._scratch, out=gradients)
        np.multiply(self.gammas, self._inverse, out=self._scratch)
        np.multiply(gradients, self._scratch, out=gradients)

    def _move_running(self, rows: int) -> None:
        # A batch of one row has no variance to speak of; its 0 is taken as it is.
        unbiased = rows / max(rows - 1, 1)
        for running, batch, share in (
            (self.running_means, self._mean, 1 - KEPT),
            (self.running_variances, self._variance, (1 - KEPT) * unbiased),
        ):
            np.multiply(running, KEPT, out=running)
            np.multiply(batch, share, out=batch)
            np.add(running, batch, out=running)
