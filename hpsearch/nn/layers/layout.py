"""Where the numbers of a network stand in one flat vector per member.

All numbers of a member stand in one row, so that an optimizer updates a whole population with a
few array operations, whatever the number of layers. Weights come first, layer by layer: what
decays is one contiguous stretch. Behind them stand the biases and, with batch normalisation, the
scales gamma. A normalised layer has no bias of its own: beta, which is added after the
normalisation, stands in its place, because the batch's mean would take any other out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    # (start, stop) of each layer's weights in a member's flat vector: contiguous, from 0.
    Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """Shapes of a network, and where each part stands in a member's flat vectors.

    A member has two vectors: the parameters, which are learned, and with batch normalisation the
    running statistics, which are measured while it learns.

    Attributes:
        widths: Numbers going into the first layer, then out of every layer: (64, 50, 10).
        batch_norm: Whether the outputs of all layers but the last are normalised.

    Raises:
        ValueError: If there is no layer, or a width is below 1.
    """

    widths: tuple[int, ...]
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:  # noqa: PLR2004 - one layer has two
            raise ValueError(f"a network needs widths of at least 1, got {self.widths}")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of every layer's weights."""
        return tuple(pairwise(self.widths))

    @property
    def hidden(self) -> tuple[int, ...]:
        """Numbers out of every layer but the last."""
        return self.widths[1:-1]

    @property
    def weight_spans(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of every layer's weights."""
        return tuple(pairwise(accumulate((i * o for i, o in self.shapes), initial=0)))

    @property
    def weight_count(self) -> int:
        """Numbers that are weights; they fill the start of the flat vector."""
        return weight_count(self.weight_spans)

    @property
    def bias_spans(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of every layer's biases; of its beta where it is normalised."""
        return tuple(pairwise(accumulate(self.widths[1:], initial=self.weight_count)))

    @property
    def parameter_count(self) -> int:
        """Length P of the flat vector of parameters."""
        gammas = sum(self.hidden) if self.batch_norm else 0
        return self.weight_count + sum(self.widths[1:]) + gammas

    @property
    def running_count(self) -> int:
        """Length R of the flat vector of running statistics; 0 without batch normalisation."""
        return 2 * sum(self.hidden) if self.batch_norm else 0

    def weights(self, flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, in, out) of `flat` (members, P), layer by layer."""
        for (start, stop), (fan_in, fan_out) in zip(self.weight_spans, self.shapes, strict=True):
            yield flat[:, start:stop].reshape(-1, fan_in, fan_out)

    def biases(self, flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, 1, out) of `flat` (members, P), layer by layer; beta where normalised."""
        return _vectors(flat, self.weight_count, self.widths[1:])

    def gammas(self, flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, 1, out) of `flat` (members, P), one per normalised layer."""
        start = self.weight_count + sum(self.widths[1:])
        return _vectors(flat, start, self.hidden if self.batch_norm else ())

    def running_means(self, running: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, 1, out) of `running` (members, R), one per normalised layer."""
        return _vectors(running, 0, self.hidden if self.batch_norm else ())

    def running_variances(self, running: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Views (members, 1, out) of `running` (members, R), one per normalised layer."""
        return _vectors(running, self.running_count // 2, self.hidden if self.batch_norm else ())


def weight_count(weight_spans: Spans) -> int:
    """Numbers at the start of a member's vector that are weights."""
    return weight_spans[-1][1] if weight_spans else 0


def _vectors(flat: NDArray[Any], start: int, widths: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    for begin, end in pairwise(accumulate(widths, initial=start)):
        yield flat[:, None, begin:end]
