"""[space] of the study file: one dimension a line, checked against the key it is named after.

A choice may be a table that sets several keys at once. Whatever it brings along is checked as if
it stood in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ValidationError, field_validator
from pydantic_core import ErrorDetails

from hpsearch.keys import Number, Table, forms_of, inner_keys, is_counted
from hpsearch.space import (
    OWN,
    Box,
    Choices,
    Dimension,
    Entries,
    Interval,
    Range,
    Value,
    frozen,
    plain,
    setting,
)
from hpsearch.wording import key_text, nearest, of_likeliest_form, sentence, shown


class IntervalTable(Table):
    """A range: all numbers between two."""

    _ENDS: ClassVar[tuple[str, str]] = ("low", "high")
    low: Number
    high: Number
    scale: Literal["linear", "log"] = "linear"
    limits: tuple[Number, Number] | None = None

    @field_validator("limits", mode="before")
    @classmethod
    def _two_numbers(cls, limits: Any) -> Any:
        is_pair = isinstance(limits, list | tuple) and len(limits) == len(cls._ENDS)
        if limits is not None and not is_pair:
            raise ValueError("write limits = [lowest, highest]")
        return limits


class ChoicesTable(Table):
    """A range: one of a list."""

    choices: list[Any]


class SpaceReader:
    """Reads [space]; a dimension is a key of one of these tables.

    Args:
        *owners: The tables whose keys can be searched.
    """

    def __init__(self, *owners: type[BaseModel]) -> None:
        self._owners = {key: owner for owner in owners for key in owner.model_fields}

    def box(self, value: Any) -> Box:
        """The box of [space], from TOML or read before.

        Raises:
            ValueError: With one line per mistake, each naming its dimension.
        """
        if isinstance(value, Box):
            _raise([*self._illegal(value.dimensions), *_brought_twice(value.dimensions)])
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError("name at least one dimension, such as learning_rate")
        dimensions: list[Dimension] = []
        problems: list[str] = []
        for name, table in value.items():
            try:
                dimensions.append(self._dimension(name, table))
            except ValueError as error:
                problems.append(str(error))
            else:
                problems += self._illegal(dimensions[-1:])
        _raise([*problems, *_brought_twice(dimensions, tuple(value))])
        return Box(tuple(dimensions))

    # ------------------------------------------------------------------ one line

    def _dimension(self, name: str, table: Any) -> Dimension:
        """One line of [space] as a dimension; mistakes are raised with the dimension's name."""
        if name not in self._owners:
            raise ValueError(f"{key_text(name)}: unknown dimension{nearest(name, self._known)}")
        if not isinstance(table, dict):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
                f"{name} = {shown(table)}: write a range {{ low = ..., high = ... }} or "
                "{ choices = [...] }; a fixed value belongs in [model] or [training]"
            )
        form = ChoicesTable if "choices" in table else IntervalTable
        try:
            read = form.model_validate(table)
            return Dimension(name, self._range(name, read), self._limits(name, read))
        except ValidationError as error:
            # A key that there is not explains why another is missing.
            unknown = [e for e in error.errors() if e["type"] == "extra_forbidden"]
            detail = (unknown or error.errors())[0]
            key = ".".join(key_text(str(part)) for part in detail["loc"])
            is_there = detail["type"] not in {"missing", "extra_forbidden"}
            found = f" = {shown(detail['input'])}" if is_there else ""
            message = sentence(detail, list(form.model_fields))
            raise ValueError(f"{name}.{key}{found}: {message}") from error
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _range(self, name: str, table: IntervalTable | ChoicesTable) -> Range:
        if isinstance(table, ChoicesTable):
            return Choices(tuple(_choice(option) for option in table.choices))
        integer = is_counted(self._owners[name], name)
        if integer and table.low == int(table.low) and table.high == int(table.high):
            return Interval(int(table.low), int(table.high), table.scale, integer=True)
        return Interval(table.low, table.high, table.scale, integer)

    def _limits(self, name: str, table: IntervalTable | ChoicesTable) -> Interval | None:
        if isinstance(table, ChoicesTable) or table.limits is None:
            return None
        low, high = table.limits
        try:
            limits = self._range(name, table.model_copy(update={"low": low, "high": high}))
        except ValueError as error:
            raise ValueError(f"limits = [{low:g}, {high:g}]: {error}") from error
        return limits if isinstance(limits, Interval) else None

    @property
    def _known(self) -> list[str]:
        return list(self._owners)

    # ----------------------------------------------------------- values keys take

    def _illegal(self, dimensions: Sequence[Dimension]) -> Iterator[str]:
        """A line for every end and every choice that its key does not take."""
        for dimension in dimensions:
            name = dimension.name
            for number, end in enumerate(dimension.widest.ends()):
                if isinstance(end, Entries):
                    yield from self._illegal_table(name, f"{name}.choices.{number}", end)
                else:
                    where = name if end in dimension.range.ends() else f"{name}.limits"
                    faults = self._faults(name, end)
                    yield from (f"{where}: {shown(plain(end))}: {said}" for _, said in faults)

    def _illegal_table(self, dimension: str, where: str, table: Entries) -> Iterator[str]:
        if not table.named and not inner_keys(self._owners[dimension], dimension):
            example = f"{{ {OWN} = ..., {table.items[0][0]} = ... }}"
            yield f"{where} = {shown(plain(table))}: say which {dimension} as {OWN}: {example}"
        elif not table.named:
            faults = self._faults(dimension, table)
            yield from (f"{where}{inner}: {said}" for inner, said in faults)
        else:
            for key, value in table.items:
                yield from self._illegal_entry(dimension, f"{where}.{key_text(key)}", key, value)

    def _illegal_entry(self, dimension: str, where: str, key: str, value: Value) -> Iterator[str]:
        if key == dimension:
            yield f"{where} = {shown(plain(value))}: write {OWN} for the {dimension} itself"
        elif key != OWN and key not in self._owners:
            yield f"{where}: unknown key{nearest(key, [OWN, *self._known])}"
        else:
            for inner, said in self._faults(dimension if key == OWN else key, value):
                # What is wrong inside a table names its own value.
                yield f"{where}{inner or f' = {shown(plain(value))}'}: {said}"

    def _faults(self, key: str, value: Value) -> list[tuple[str, str]]:
        """Why a key does not take a value: where inside of it, and a sentence."""
        owner = self._owners[key]
        try:
            owner.model_validate({key: plain(value)})
        except ValidationError as error:
            # What is wrong with several keys together is judged beside the file's other values.
            details, depth = [detail for detail in error.errors() if detail["loc"]], 1
            if not details:
                return []
            if len(forms_of(owner, key)) > 1:
                details, depth = of_likeliest_form(details, 1), 2
            if not isinstance(value, Entries):
                return [("", sentence(details[0]))]
            return [_inner_fault(detail, depth, inner_keys(owner, key)) for detail in details]
        return []


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))


def _choice(option: Any) -> Value:
    if _can_be_chosen(option):
        return frozen(option)
    raise ValueError(
        f"a choice is a string, a number, true, false, a list or a table, got {option!r}"
    )


def _can_be_chosen(option: Any) -> bool:
    if isinstance(option, dict):
        return all(_can_be_chosen(entry) for entry in option.values())
    items = option if isinstance(option, list) else [option]
    return all(isinstance(item, str | int | float | bool) for item in items)


def _inner_fault(detail: ErrorDetails, depth: int, known: list[str]) -> tuple[str, str]:
    """What is wrong in a table that is a key's value; behind its entry stands what is there."""
    where = "".join(f".{key_text(str(part))}" for part in detail["loc"][depth:])
    if where and detail["type"] not in {"missing", "extra_forbidden"}:
        where += f" = {shown(detail['input'])}"
    return where, sentence(detail, known)


def _brought_twice(
    dimensions: Sequence[Dimension], names: Sequence[str] | None = None
) -> Iterator[str]:
    """A key has one value in a trial: it is a dimension, or one dimension's tables bring it."""
    names = [d.name for d in dimensions] if names is None else names
    first: dict[str, str] = {}
    for dimension in dimensions:
        for key, where in _brought(dimension).items():
            if key in names:
                yield f"{where}: {key} is a dimension of its own; remove one of the two"
            elif first.setdefault(key, dimension.name) != dimension.name:
                yield f"{where}: {first[key]} brings {key} along too; remove one of the two"


def _brought(dimension: Dimension) -> dict[str, str]:
    """Keys that a dimension's tables bring along, each with the first place where one does."""
    options = dimension.range.options if isinstance(dimension.range, Choices) else ()
    found: dict[str, str] = {}
    for number, option in enumerate(options):
        for key, value in setting(dimension.name, option).items():
            if key != dimension.name:
                where = f"{dimension.name}.choices.{number}.{key_text(key)}"
                found.setdefault(key, f"{where} = {shown(plain(value))}")
    return found
