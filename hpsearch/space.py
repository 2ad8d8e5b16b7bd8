"""Dimensions, ranges and boxes: what is searched, and where.

A *range* is an `Interval` or a set of `Choices`. A *dimension* is a named range; a *box* is
one range for every dimension. Positions inside a range are numbers in [0, 1], even in log
space where the range is logarithmic, so that samplers and rules never need to know the scale.
A choice may be a table of the study file: `Entries`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Literal, Self

Scale = Literal["linear", "log"]
Scalar = float | int | str | bool

# The entry of a table that is the dimension's own value.
OWN = "name"
# Text that stands in a label without quotes: it is read neither as a number nor as two entries.
_WORD = re.compile(r"(?!(true|false)$)[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Entries:
    """A choice that is a table, such as `{ name = "adam", learning_rate = 0.001 }`.

    Two tables with the same entries are equal, in whatever order they were written.

    Attributes:
        items: (key, value) of every entry; `name` first, then by key.

    Raises:
        ValueError: If there is no entry.
    """

    items: tuple[tuple[str, Value], ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("a table needs at least one entry, got {}")
        ordered = sorted(self.items, key=lambda item: (item[0] != OWN, item[0]))
        object.__setattr__(self, "items", tuple(ordered))

    @property
    def named(self) -> bool:
        """Whether the table says the dimension's own value as `name`; else it is that value."""
        return self.items[0][0] == OWN


Value = Scalar | tuple[Scalar, ...] | Entries


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included.

    Raises:
        ValueError: If the interval is empty, not finite, or logarithmic from 0 or below.
    """

    low: float
    high: float
    scale: Scale = "linear"
    integer: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"low and high must be finite, got low={self.low}, high={self.high}")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log range must start above 0, got low={self.low}")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(
                f"low and high must be whole numbers, got low={self.low}, high={self.high}"
            )

    def at(self, position: float) -> float | int:
        """Value at `position` in [0, 1]; integers get equal shares of the positions."""
        if self.integer:
            # The half-open half unit on each side gives the end values a full share.
            low, high = self._forward(self.low - 0.5), self._forward(self.high + 0.5)
            value = round(self._backward(low + position * (high - low)))
            return int(min(max(value, self.low), self.high))
        low, high = self._forward(self.low), self._forward(self.high)
        return min(max(self._backward(low + position * (high - low)), self.low), self.high)

    def position(self, value: float) -> float:
        """Where `value` lies between `low` (0) and `high` (1) on this scale."""
        low, high = self._forward(self.low), self._forward(self.high)
        return (self._forward(value) - low) / (high - low)

    def between(self, low: float, high: float) -> Interval:
        """The part of this interval between two positions; integers are rounded outward."""
        start, end = (self._backward(self._unscaled(p)) for p in (low, high))
        if self.integer:
            start, end = math.floor(start + 1e-9), math.ceil(end - 1e-9)
            if start == end:
                start, end = start - 1, end + 1
        start, end = max(start, self.low), min(end, self.high)
        # exp(log(x)) need not be x: an end that was not moved stays what it was.
        start = self.low if low <= 0 else start
        end = self.high if high >= 1 else end
        return Interval(start, end, self.scale, self.integer)

    def ends(self) -> tuple[Value, ...]:
        """The two ends."""
        return (self.low, self.high)

    def holding(self, values: Sequence[Value]) -> Interval:
        """The smallest interval with all of this one and these numbers."""
        numbers = [value for value in values if isinstance(value, int | float)]
        low, high = min([self.low, *numbers]), max([self.high, *numbers])
        if self.integer:
            low, high = int(low), int(high)
        return replace(self, low=low, high=high)

    def contains(self, value: Value) -> bool:
        """Whether `value` is a number of this interval."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def document(self) -> dict[str, Any]:
        """JSON form: {"low", "high", "scale"}, with "integer" where it is one."""
        kind = {"integer": True} if self.integer else {}
        return {"low": self.low, "high": self.high, "scale": self.scale, **kind}

    def _unscaled(self, position: float) -> float:
        low, high = self._forward(self.low), self._forward(self.high)
        return low + position * (high - low)

    def _forward(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else float(value)

    def _backward(self, value: float) -> float:
        return math.exp(value) if self.scale == "log" else value


@dataclass(frozen=True)
class Choices:
    """A fixed set of options, in the order they were written.

    Raises:
        ValueError: If there is no option, or one stands there twice.
    """

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("choices must not be empty")
        labels = [label(option) for option in self.options]
        # 1 and 1.0 have two labels and are one value.
        if min(len(set(labels)), len(set(self.options))) < len(labels):
            options = [plain(option) for option in self.options]
            raise ValueError(f"choices must differ from each other, got {options}")

    def at(self, position: float) -> Value:
        """Option at `position` in [0, 1]; each has an equal share."""
        return self.options[min(int(position * len(self.options)), len(self.options) - 1)]

    def ends(self) -> tuple[Value, ...]:
        """All options: none lies between others."""
        return self.options

    def contains(self, value: Value) -> bool:
        """Whether `value` is one of the options."""
        return label(value) in {label(option) for option in self.options}

    def keeping(self, values: set[str]) -> Choices:
        """The options whose label is in `values`."""
        return Choices(tuple(option for option in self.options if label(option) in values))

    def document(self) -> dict[str, Any]:
        """JSON form: {"choices": [...]}."""
        return {"choices": [plain(option) for option in self.options]}


Range = Interval | Choices


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter and the range it is searched in.

    Attributes:
        name: The key it sets.
        range: Where it is searched.
        limits: How far the range may grow; None where it may not.

    Raises:
        ValueError: If there are limits and the range is none of numbers, lies partly outside, or
            has another scale.
    """

    name: str
    range: Range
    limits: Interval | None = None

    def __post_init__(self) -> None:
        if self.limits is None:
            return
        if not isinstance(self.range, Interval):
            raise ValueError("limits are for ranges of numbers, not for choices")  # noqa: TRY004
        if self.limits.low > self.range.low or self.limits.high < self.range.high:
            raise ValueError(
                f"limits = [{self.limits.low:g}, {self.limits.high:g}] must hold the whole range "
                f"from {self.range.low:g} to {self.range.high:g}"
            )

    @property
    def widest(self) -> Range:
        """The range beyond which no trial is ever placed."""
        return self.limits or self.range

    def ends(self) -> list[dict[str, Value]]:
        """What each end of the widest range sets, all choices being ends: mostly this one key."""
        return [setting(self.name, end) for end in self.widest.ends()]

    def sets(self, *keys: str) -> bool:
        """Whether a value of the dimension sets one of these keys."""
        return any(key in end for end in self.ends() for key in keys)


@dataclass(frozen=True)
class Box:
    """One range for every dimension of a study, in the study file's order.

    Raises:
        ValueError: If there is no dimension, or two share a name.
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise ValueError("a space needs at least one dimension")
        if len(set(self.names)) != len(self.dimensions):
            raise ValueError(f"dimension names must differ, got {list(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, in order."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def widest(self) -> Box:
        """The box that no trial ever leaves."""
        return Box(tuple(Dimension(d.name, d.widest) for d in self.dimensions))

    def __getitem__(self, name: str) -> Range:
        return next(d.range for d in self.dimensions if d.name == name)

    def at(self, positions: list[float]) -> dict[str, Value]:
        """Values at one position per dimension, each in [0, 1]."""
        pairs = zip(self.dimensions, positions, strict=True)
        return {dimension.name: dimension.range.at(position) for dimension, position in pairs}

    def holding(self, given: Sequence[dict[str, Value]]) -> Box:
        """The smallest box with all of this one and these values; choices stay what they are."""
        return Box(
            tuple(
                Dimension(d.name, d.range.holding([values[d.name] for values in given]))
                if isinstance(d.range, Interval)
                else Dimension(d.name, d.range)
                for d in self.dimensions
            )
        )

    def with_limits(self, limits: Mapping[str, tuple[float, float]]) -> Box:
        """The same ranges, some of which may grow to other limits.

        Raises:
            ValueError: Naming the dimension, if there is none of that name or it cannot have them.
        """
        for name in limits:
            if name not in self.names:
                raise ValueError(f"{name}: no such dimension; there are {', '.join(self.names)}")
        return Box(
            tuple(_limited(d, *limits[d.name]) if d.name in limits else d for d in self.dimensions)
        )

    def contains(self, values: dict[str, Value]) -> bool:
        """Whether every value lies in its dimension's range."""
        return all(d.range.contains(values[d.name]) for d in self.dimensions)

    @property
    def size(self) -> int:
        """How many combinations of choices there are.

        Raises:
            ValueError: If a range is an interval, which has no end of values.
        """
        return math.prod(len(choices.options) for choices in self._choices())

    def combinations(self) -> list[dict[str, Value]]:
        """Every combination of choices, in the order written; the last dimension runs fastest.

        Raises:
            ValueError: If a range is an interval.
        """
        options = [choices.options for choices in self._choices()]
        return [dict(zip(self.names, values, strict=True)) for values in product(*options)]

    def _choices(self) -> Iterator[Choices]:
        for dimension in self.dimensions:
            if not isinstance(dimension.range, Choices):
                raise ValueError(f"{dimension.name}: an interval has no combinations")  # noqa: TRY004
            yield dimension.range

    def corners(self) -> Iterator[dict[str, Value]]:
        """Both ends or all choices of every two dimensions, the others at their first value.

        Of the widest ranges: whatever may be tried later is legal if these are.
        """
        ends = {d.name: list(d.widest.ends()) for d in self.dimensions}
        first = {name: values[0] for name, values in ends.items()}
        for name, values in ends.items():
            yield from (first | {name: value} for value in values)
        for one, other in combinations(ends, 2):
            yield from (first | {one: x, other: y} for x, y in product(ends[one], ends[other]))

    def document(self) -> dict[str, dict[str, Any]]:
        """JSON form: {DIMENSION: range}; `Box.from_document` reads it back equal.

        A range that may grow has "limits": [low, high] beside its ends.
        """
        return {dimension.name: _document(dimension) for dimension in self.dimensions}

    @classmethod
    def from_document(cls, document: dict[str, dict[str, Any]]) -> Self:
        """The box whose `document()` this is."""
        return cls(tuple(_dimension(name, entry) for name, entry in document.items()))


def _document(dimension: Dimension) -> dict[str, Any]:
    limits = dimension.limits
    further = {} if limits is None else {"limits": [limits.low, limits.high]}
    return dimension.range.document() | further


def _dimension(name: str, document: dict[str, Any]) -> Dimension:
    range_ = range_from_document(document)
    if "limits" not in document or not isinstance(range_, Interval):
        return Dimension(name, range_)
    low, high = document["limits"]
    return Dimension(name, range_, replace(range_, low=low, high=high))


def _limited(dimension: Dimension, low: float, high: float) -> Dimension:
    if not isinstance(dimension.range, Interval):
        raise ValueError(  # noqa: TRY004 - as Dimension says it
            f"{dimension.name}: limits are for ranges of numbers, not for choices"
        )
    if dimension.range.integer and float(low).is_integer() and float(high).is_integer():
        low, high = int(low), int(high)
    try:
        limits = replace(dimension.range, low=low, high=high)
        return replace(dimension, limits=limits)
    except ValueError as error:
        raise ValueError(f"{dimension.name}: {error}") from error


def range_from_document(document: dict[str, Any]) -> Range:
    """The range whose `document()` this is."""
    if "choices" in document:
        return Choices(tuple(frozen(option) for option in document["choices"]))
    return Interval(
        document["low"], document["high"], document["scale"], document.get("integer", False)
    )


def setting(dimension: str, value: Value) -> dict[str, Value]:
    """Every key that a dimension's value sets: one, unless a table brings others along."""
    if isinstance(value, Entries) and value.named:
        return {dimension if key == OWN else key: entry for key, entry in value.items}
    return {dimension: value}


def label(value: Value) -> str:
    """Unambiguous short text of a value: `relu`, `0.1`, `[50, 20]`, `adam, learning_rate=0.001`."""
    if isinstance(value, Entries):
        return ", ".join(_entry(key, entry) for key, entry in value.items)
    return value if isinstance(value, str) else json.dumps(plain(value))


def _entry(key: str, value: Value) -> str:
    text = label(value)
    if isinstance(value, str) and not _WORD.fullmatch(value):
        text = json.dumps(value)
    if isinstance(value, Entries):
        text = f"{{{text}}}"
    return text if key == OWN else f"{key}={text}"


def plain(value: Any) -> Any:
    """The value as JSON and TOML have it: tuples as lists, entries as an object."""
    if isinstance(value, Entries):
        return {key: plain(entry) for key, entry in value.items}
    return list(value) if isinstance(value, tuple) else value


def frozen(value: Any) -> Value:
    """The value whose `plain` this is, such that it can be hashed and compared."""
    if isinstance(value, dict):
        return Entries(tuple((key, frozen(entry)) for key, entry in value.items()))
    return tuple(value) if isinstance(value, list) else value
