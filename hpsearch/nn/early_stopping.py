"""Early stopping (Goodfellow et al. 2016, Algorithm 7.1): the best weights, not the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


@dataclass
class EarlyStopping:
    """Watches one member, measurement by measurement.

    Better is what ranks trials: a higher validation accuracy, and where that is equal a lower
    validation loss.

    Args:
        patience: Measurements in a row without a better one after which the member stops.
    """

    patience: int
    best_step: int = field(default=0, init=False)
    _best: tuple[float, float] = field(default=(float("-inf"), float("-inf")), init=False)
    _waited: int = field(default=0, init=False)
    _numbers: NDArray[Any] | None = field(default=None, init=False)

    def note(
        self, step: int, metrics: Mapping[str, float], numbers: Callable[[], NDArray[Any]]
    ) -> None:
        """Look at a measurement.

        Args:
            step: The epoch or iteration it was made after.
            metrics: With validation_accuracy and validation_loss.
            numbers: Gives a copy of the member's numbers; called only where they are worth it.
        """
        rank = (metrics["validation_accuracy"], -metrics["validation_loss"])
        if rank > self._best:
            self._best, self.best_step = rank, step
            self._numbers, self._waited = numbers(), 0
        else:
            self._waited += 1

    @property
    def stops(self) -> bool:
        """Whether patience has run out."""
        return self._waited >= self.patience

    @property
    def best_numbers(self) -> NDArray[Any]:
        """The member's numbers at the best measurement.

        Raises:
            ValueError: If nothing has been measured yet.
        """
        if self._numbers is None:
            raise ValueError("nothing has been measured yet, so there is no best measurement")
        return self._numbers
