"""Rows and labels, as the network takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Attributes:
        x: (rows, features) float32 or float64, C-contiguous; may be a read-only memory map.
        y: (rows,) int64, the class of each row, from 0.
        classes: Number of classes of the source, also those absent from these rows.

    Raises:
        ValueError: If the shapes do not belong together.
    """

    x: NDArray[np.float32] | NDArray[np.float64]
    y: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1]:  # noqa: PLR2004 - a matrix
            raise ValueError(f"x {self.x.shape} and y {self.y.shape} do not belong together")

    @property
    def features(self) -> int:
        """Numbers in a row."""
        return int(self.x.shape[1])

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def joined(self, other: Examples) -> Examples:
        """These rows followed by the other's, copied into memory."""
        x, y = np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y])
        return Examples(x, y, self.classes)
