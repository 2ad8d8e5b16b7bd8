"""The base of all update rules: what happens around an update, and the members' rows of state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpsearch.nn.columns import column
from hpsearch.nn.decay import Decay
from hpsearch.nn.layers.layout import weight_count
from hpsearch.nn.penalties import Penalties
from hpsearch.nn.schedules import scheduled
from hpsearch.settings import own_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.settings import TrainingSpec


class Rule(ABC):
    """One update rule for a population whose members all follow it, each with its own numbers.

    Args:
        specs: One per member.
        weight_spans: (start, stop) of each layer's weights in a member's vector, contiguous, from
            0; what stands behind the last is neither penalised nor decayed.
        parameter_count: Length P of a member's vector.
        dtype: Of parameters and gradients, float32 or float64.
        total_steps: Updates of the whole training.
    """

    # Arrays (members, P) kept from step to step, and those used within a step.
    state_arrays: ClassVar[int] = 0
    scratch_arrays: ClassVar[int] = 0
    # What stands for a value the study leaves open.
    defaults: ClassVar[Mapping[str, float]] = own_values("sgd")

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        weight_spans: Sequence[tuple[int, int]],
        parameter_count: int,
        dtype: DTypeLike = np.float32,
        *,
        total_steps: int,
    ) -> None:
        self.specs = tuple(specs)
        self._spans = tuple(weight_spans)
        self._dtype = dtype
        self._parameter_count = parameter_count
        self._total_steps = total_steps
        self._steps = 0
        shape = (len(self.specs), parameter_count)
        self._state = [np.zeros(shape, dtype) for _ in range(self.state_arrays)]
        self._prepare()

    def step(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """One update of parameters (members, P), in place; gradients are used up."""
        self._penalties.add(parameters, gradients)
        self._update(parameters, gradients)
        self._steps += 1

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; state and schedules go on bit for bit."""
        self.specs = tuple(self.specs[index] for index in members)
        self._state = [array[list(members)] for array in self._state]
        self._prepare()

    @classmethod
    def value(cls, spec: TrainingSpec, name: str) -> float:
        """A hyperparameter: the study's number, or the rule's own where that is left open."""
        written: float | None = getattr(spec, name)
        return cls.defaults[name] if written is None else written

    @abstractmethod
    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """The rule itself; hands its step to `_apply`."""

    def _apply(self, parameters: NDArray[Any], step: NDArray[Any]) -> None:
        """W <- W - step, with decay W <- W - (step + lr weight_decay W); the step is used up."""
        self._decay.add(parameters, step)
        np.subtract(parameters, step, out=parameters)

    def _prepare(self) -> None:
        """Columns and room for the members as they are now."""
        shape = (len(self.specs), self._parameter_count)
        # Penalties and decay work in the first; memory nobody writes to costs nothing.
        self._scratch = [np.empty(shape, self._dtype) for _ in range(max(1, self.scratch_arrays))]
        self._prepare_prices()

    def _prepare_prices(self) -> None:
        """What penalties and decay need."""
        self._penalties = Penalties(self.specs, self._spans, self._scratch[0])
        shrink = self._shrink_values()
        self._decay = Decay(
            self._values("weight_decay"),
            lambda rows: self._scheduled(shrink, rows, weight_count(self._spans)),
            weight_count(self._spans),
            self._scratch[0],
        )

    def _shrink_values(self) -> list[float]:
        """Learning rate times weight_decay of every member, before any schedule."""
        rates, decays = self._values("learning_rate"), self._values("weight_decay")
        return [rate * decay for rate, decay in zip(rates, decays, strict=True)]

    def _values(self, name: str) -> list[float]:
        """A hyperparameter of every member."""
        return [self.value(spec, name) for spec in self.specs]

    def _column(self, values: Sequence[float]) -> NDArray[Any]:
        """Numbers of all members that stay the same from step to step."""
        return column(values, self._parameter_count, self._dtype)

    def _scheduled(
        self, values: Sequence[float], rows: slice = slice(None), length: int | None = None
    ) -> Iterator[NDArray[Any]]:
        """Numbers of some members that follow the schedule, from the next step on."""
        length = self._parameter_count if length is None else length
        specs, numbers = self.specs[rows], values[rows]
        return scheduled(numbers, specs, self._total_steps, self._steps, length, self._dtype)
