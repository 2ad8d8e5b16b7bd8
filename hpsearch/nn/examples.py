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
        ValueError: If the shapes do not belong together, or a label is no class: the
            network's loops index with it, unchecked.
    """

    x: NDArray[np.float32] | NDArray[np.float64]
    y: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1]:  # noqa: PLR2004 - a matrix
            raise ValueError(f"x {self.x.shape} and y {self.y.shape} do not belong together")
        if self.y.size and not 0 <= self.y.min() <= self.y.max() < self.classes:
            row = int(np.argmax((self.y < 0) | (self.y >= self.classes)))
            raise ValueError(
                f"y: labels must be classes 0 to {self.classes - 1}, got {self.y[row]} in row {row}"
            )

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
