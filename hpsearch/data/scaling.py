"""Bringing features to a common scale, with numbers taken from training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hpsearch.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hpsearch.data.rows import Rows

# Rows worked on at once: 4,096 rows of MNIST are 26 MB in float64, all 60,000 would be 376 MB.
_BLOCK = 4096


@dataclass(frozen=True)
class Scaling:
    """x becomes (x - offset) / divisor.

    Attributes:
        kind: "range", "standard" or "none".
        offset: One number per feature, or a single one for all.
        divisor: As `offset`; never 0.
    """

    kind: str
    offset: tuple[float, ...] = (0.0,)
    divisor: tuple[float, ...] = (1.0,)

    def apply(self, x: NDArray[Any], precision: str = "float32") -> NDArray[Any]:
        """Scaled copy of the rows.

        Args:
            x: (rows, features), of any numeric dtype.
            precision: "float32" or "float64".

        Returns:
            (rows, features) in this precision, C-contiguous. Computed in float64, rounded once.

        Raises:
            DataError: If a value does not fit the precision.
        """
        offset, divisor = np.array(self.offset), np.array(self.divisor)
        result = np.empty(x.shape, dtype=precision)
        with np.errstate(all="ignore"):
            for part in _blocks(len(x)):
                result[part] = (x[part] - offset) / divisor
                if not np.isfinite(result[part]).all():
                    raise DataError(
                        f"scaling = {self.kind!r}: a value is too large for {precision}; "
                        "write another scaling, or less noise"
                    )
        return result

    def undone(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Scaled rows as they were before, up to rounding: (rows, features) float64."""
        rows: NDArray[np.float64] = np.asarray(x, np.float64) * np.array(self.divisor)
        rows += np.array(self.offset)
        return rows

    def document(self) -> dict[str, Any]:
        """JSON form; `Scaling.from_document` reads it back equal."""
        return {"kind": self.kind, "offset": list(self.offset), "divisor": list(self.divisor)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The scaling whose `document()` this is."""
        return cls(document["kind"], tuple(document["offset"]), tuple(document["divisor"]))


def fitted(kind: str, training: Rows, largest: float | None, source: str) -> Scaling:
    """The scaling of this kind for these training rows.

    Args:
        kind: "range", "standard" or "none".
        training: The training rows, unscaled; only "standard" looks at them.
        largest: The largest value a feature of the source can have, if there is one.
        source: What to call the source in an error.

    Raises:
        DataError: If "range" is asked of a source whose values have no largest one.
    """
    if kind == "none":
        return Scaling(kind)
    if kind == "standard":
        return _standard(training.x)
    if largest is None:
        raise DataError(
            f'scaling = "range": {source} has no largest value; write scaling = "standard"'
        )
    return Scaling(kind, divisor=(largest,))


def _standard(x: NDArray[Any]) -> Scaling:
    """Mean and standard deviation per feature; a feature that never varies gets 1."""
    constant = x.min(axis=0) == x.max(axis=0)
    # The mean of many equal numbers need not be that number; for a constant feature it is.
    mean = np.where(constant, x[0], x.mean(axis=0, dtype=np.float64))
    with np.errstate(over="ignore"):
        squares = sum(((x[part] - mean) ** 2).sum(axis=0) for part in _blocks(len(x)))
    std = np.where(constant, 1.0, np.sqrt(squares / len(x)))
    if not np.isfinite(std).all():
        raise DataError('scaling = "standard": the values vary beyond float64; write less noise')
    return Scaling("standard", tuple(mean.tolist()), tuple(std.tolist()))


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _BLOCK):
        yield slice(start, start + _BLOCK)
