"""Rows as a source gives them, before scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Unscaled rows of a source.

    Attributes:
        x: (rows, features), uint8 or float64, as the source has them.
        y: (rows,) int64, the class of each row, from 0.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.y.shape[0])

    def take(self, indices: NDArray[np.intp]) -> Rows:
        """The rows at these indices, in their order, copied."""
        return Rows(self.x[indices], self.y[indices])
