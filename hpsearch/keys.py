"""Keys of the study file: what a table is, what a number is, what forms a value may have."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def a_number(value: Any) -> Any:
    """Refuse true, false and "10" where a number is meant; they would pass for one."""
    if isinstance(value, bool | str):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Number = Annotated[float, BeforeValidator(a_number), Field(allow_inf_nan=False)]
# The largest is that of an SQL INTEGER.
Count = Annotated[int, BeforeValidator(a_number), Field(ge=1, le=2**31 - 1)]
CountFromZero = Annotated[int, BeforeValidator(a_number), Field(ge=0, le=2**31 - 1)]


def _a_number_or_full(value: Any) -> Any:
    """Refuse other words than "full" in one sentence instead of two."""
    if isinstance(value, str) and value != "full":
        raise ValueError('expected a whole number or "full"')
    return value


BatchSize = Annotated[Count | Literal["full"], BeforeValidator(_a_number_or_full)]


class Table(BaseModel):
    """A table of the study file: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def forms_of(table: type[BaseModel], key: str) -> list[Any]:
    """The types a key's value may have, without None; a single one for most keys."""
    annotation = table.model_fields[key].annotation
    if get_origin(annotation) not in {Union, UnionType}:
        return [annotation]
    return [form for form in get_args(annotation) if form is not NoneType]


def inner_keys(table: type[BaseModel], key: str) -> list[str]:
    """Keys of the tables that a key's value may be; none where it may be no table."""
    tables = [f for f in forms_of(table, key) if isinstance(f, type) and issubclass(f, BaseModel)]
    return list(dict.fromkeys(name for form in tables for name in form.model_fields))


def is_counted(table: type[BaseModel], key: str) -> bool:
    """Whether a key takes whole numbers, perhaps among other things."""
    annotation = table.model_fields[key].annotation
    forms = [annotation, *get_args(annotation)]
    forms += [form for part in forms for form in get_args(part)]
    return int in forms and float not in forms
