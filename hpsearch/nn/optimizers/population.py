"""The optimizer of a population whose members may follow different rules."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.optimizers.adadelta import AdaDelta
from hpsearch.nn.optimizers.adagrad import AdaGrad
from hpsearch.nn.optimizers.adam import Adam, AdamW
from hpsearch.nn.optimizers.momentum import Momentum, Nesterov
from hpsearch.nn.optimizers.rmsprop import RMSProp
from hpsearch.nn.optimizers.rule import Rule
from hpsearch.nn.optimizers.sgd import SGD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from hpsearch.settings import TrainingSpec

OPTIMIZERS: dict[str, type[Rule]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": AdaDelta,
    "adam": Adam,
    "adamw": AdamW,
}


class PopulationOptimizer:
    """Updates a population; every rule works on its own rows and keeps state for them alone.

    Args:
        specs: One per member; members with one optimizer must stand together (`grouping_order`
            gives such an order).
        weight_spans: (start, stop) of each layer's weights in a member's vector, contiguous, from
            0. What stands behind the last (biases, batch-norm parameters) is neither penalised nor
            decayed.
        parameter_count: Length P of a member's vector.
        dtype: Of parameters and gradients, float32 or float64.
        total_steps: Updates of the whole training; schedules end with the last of them.
        rules: The rules by name; other forms of the same may stand in for NumPy's.

    Raises:
        ValueError: If members with one optimizer do not stand together, or the spans are not
            contiguous from 0, or do not fit into P.

    Example:
        >>> specs = [TrainingSpec(optimizer="sgd"), TrainingSpec(optimizer="adam")]
        >>> optimizer = PopulationOptimizer(specs, [(0, 6), (6, 10)], 15, total_steps=100)
        >>> optimizer.step(parameters, gradients)  # both (2, 15) float32
    """

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        weight_spans: Sequence[tuple[int, int]],
        parameter_count: int,
        dtype: DTypeLike = np.float32,
        *,
        total_steps: int,
        rules: Mapping[str, type[Rule]] = OPTIMIZERS,
    ) -> None:
        _check_spans(weight_spans, parameter_count)
        self._owners = [spec.optimizer for spec in specs]
        self._rules = {
            name: rules[name](
                specs[rows], weight_spans, parameter_count, dtype, total_steps=total_steps
            )
            for name, rows in _stretches(self._owners).items()
        }
        self._place()

    def step(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        """One update of parameters (members, P), in place; gradients are used up."""
        for rows, rule in self._rows:
            rule.step(parameters[rows], gradients[rows])

    def select(self, members: Sequence[int]) -> None:
        """Keep these members, in this order; they go on bit for bit.

        Raises:
            ValueError: If members with one optimizer would not stand together.
        """
        before, owners = _stretches(self._owners), [self._owners[member] for member in members]
        after = _stretches(owners)
        for name, rows in after.items():
            self._rules[name].select([member - before[name].start for member in members[rows]])
        self._rules = {name: self._rules[name] for name in after}
        self._owners = owners
        self._place()

    def _place(self) -> None:
        """Which rows follow which rule, from top to bottom."""
        places = _stretches(self._owners)
        self._rows = [(rows, self._rules[name]) for name, rows in places.items()]


def grouping_order(specs: Sequence[TrainingSpec]) -> list[int]:
    """Places of the members in an order in which those with one optimizer stand together.

    Optimizers come in the order of their first member, members of one in their own: specs already
    grouped stay as they are.
    """
    names = [spec.optimizer for spec in specs]
    return sorted(range(len(names)), key=lambda index: names.index(names[index]))


def _stretches(owners: Sequence[str]) -> dict[str, slice]:
    """The rows of every optimizer, from top to bottom."""
    rows: dict[str, slice] = {}
    for name, run in groupby(range(len(owners)), key=owners.__getitem__):
        if name in rows:
            raise ValueError(f"members with one optimizer must stand together, got {owners}")
        first, *rest = run
        rows[name] = slice(first, first + 1 + len(rest))
    return rows


def _check_spans(weight_spans: Sequence[tuple[int, int]], parameter_count: int) -> None:
    position = 0
    for start, stop in weight_spans:
        if start != position or stop <= start:
            raise ValueError(f"weight_spans must be contiguous from 0, got {weight_spans}")
        position = stop
    if position > parameter_count:
        raise ValueError(f"weight_spans end at {position}, a member has {parameter_count} numbers")
