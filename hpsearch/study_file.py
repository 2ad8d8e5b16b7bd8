"""The study file: TOML in, a checked `StudySpec` out, or one line per mistake.

Every line names the file, the key and its value, and says what to do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpsearch.errors import StudyFileError
from hpsearch.keys import forms_of, inner_keys
from hpsearch.settings import ModelSpec, TrainingSpec
from hpsearch.space import plain
from hpsearch.study import ConfirmationSpec, DataSpec, Published, ReportSpec, SearchSpec, StudySpec
from hpsearch.wording import of_likeliest_form, place, sentence, shown

# TOML asks for 64-bit integers and no more.
_INTEGER_BITS = 63
# [model] initializer.normal is three deep; a table in a table among choices in [space] is six.
_DEEPEST = 8
_TABLES: dict[str, type[BaseModel]] = {
    "data": DataSpec,
    "model": ModelSpec,
    "training": TrainingSpec,
    "search": SearchSpec,
    "confirmation": ConfirmationSpec,
    "report": ReportSpec,
}
# Keys whose value has one of several forms; pydantic puts the form behind them in its path.
_UNIONS = frozenset(
    (name, key)
    for name, table in _TABLES.items()
    for key in table.model_fields
    if len(forms_of(table, key)) > 1
)


def load_study(path: Path) -> StudySpec:
    """Read and check a study file.

    Raises:
        StudyFileError: With one line per mistake: file, key, value and what to do.
    """
    return parse_study(read_study(path), str(path))


def parse_study(text: str, source: str) -> StudySpec:
    """Check the text of a study file; `source` names it in errors.

    Raises:
        StudyFileError: With one line per mistake.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise StudyFileError([f"{source}: nested too deeply"]) from error
    except ValueError as error:  # a TOMLDecodeError, or Python's own about very long numbers
        raise StudyFileError([f"{source}: not a TOML file: {error}"]) from error
    monsters = list(_monsters(document, ()))
    if monsters:
        raise StudyFileError([f"{source}: {line}" for line in monsters])
    return _validated(document, source)


def _monsters(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """What no study file has and Python cannot always print: depth, and very long numbers."""
    if len(path) > _DEEPEST:
        yield f"{place(path[:2])}: nested too deeply"
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _monsters(item, (*path, str(key)))
    elif isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        yield f"{place(path)}: must be a whole number of at most 64 bits"


def read_study(path: Path) -> str:
    """Text of a study file.

    Raises:
        StudyFileError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"{path}: no such study file; `hpsearch new NAME` writes one"
        raise StudyFileError([message]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError([f"{path}: cannot be read: {error}"]) from error


def overridden(
    spec: StudySpec, limits: Mapping[str, tuple[float, float]] | None = None, **overrides: Any
) -> StudySpec:
    """The study with some values of the command line put in, checked again.

    Args:
        spec: The study as its file has it.
        limits: How far ranges may grow, by their dimensions.
        **overrides: `name`, `seed`, `rounds`, `trials` or `control`; None leaves a value as it is.

    Raises:
        StudyFileError: If a value is not one the study file could have.
    """
    try:
        space = spec.space.with_limits(limits or {})
    except ValueError as error:
        raise StudyFileError([f"options: [space] {error}"]) from error
    document = spec.model_dump() | {"space": space}
    for key, value in overrides.items():
        if value is not None:
            table = document["search"] if key in SearchSpec.model_fields else document
            table[key] = value
    return _validated(document, "options")


def limits_from(options: Sequence[str]) -> dict[str, tuple[float, float]]:
    """How far ranges may grow, as `NAME=LOWEST..HIGHEST` on the command line.

    Raises:
        StudyFileError: If an option says something else.
    """
    limits = {}
    for option in options:
        name, _, ends = option.partition("=")
        low, _, high = ends.partition("..")
        if name.strip() in limits:
            raise StudyFileError([f"--limits {option}: {name.strip()} has limits already"])
        try:
            limits[name.strip()] = (float(low), float(high))
        except ValueError as error:
            example = "--limits learning_rate=1e-7..1"
            message = f"--limits {option}: write NAME=LOWEST..HIGHEST, such as {example}"
            raise StudyFileError([message]) from error
    return limits


def _validated(document: dict[str, Any], source: str) -> StudySpec:
    try:
        spec = StudySpec.model_validate(document)
    except ValidationError as error:
        raise StudyFileError(_problems(error, source)) from error
    _check_combinations(spec, source)
    return spec


def _check_combinations(spec: StudySpec, source: str) -> None:
    """Each value may be right and two of them not fit together; a worker must not find out."""
    for values in spec.space.corners():
        try:
            spec.settings(values)
        except ValidationError as error:
            _check_without_space(spec, source, error)
            said = ", ".join(f"{name} = {shown(plain(value))}" for name, value in values.items())
            message = f"{source}: [space] {said}: {sentence(error.errors()[0])}"
            raise StudyFileError([message]) from error


def _check_without_space(spec: StudySpec, source: str, found: ValidationError) -> None:
    """Where [model] and [training] do not fit together by themselves, no value is to blame."""
    try:
        spec.settings({})
    except ValidationError as error:
        message = sentence(error.errors()[0])
        if message == sentence(found.errors()[0]):
            raise StudyFileError([f"{source}: [training]: {message}"]) from error


def _problems(error: ValidationError, source: str) -> list[str]:
    """The lines about each key; of a key's several forms, the one that was meant speaks."""
    groups: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in error.errors():
        groups.setdefault(_key(detail), []).append(detail)
    meant = (of_likeliest_form(g, 2) if key in _UNIONS else g for key, g in groups.items())
    return [f"{source}: {line}" for group in meant for detail in group for line in _about(detail)]


def _key(detail: ErrorDetails) -> tuple[int | str, ...]:
    """The key an error is about; all branches of a union are about one."""
    where = detail["loc"]
    return where[:2] if where[:2] in _UNIONS else where


# ------------------------------------------------------ sentences for people


def _about(detail: ErrorDetails) -> list[str]:
    """`[table] key = value: what is wrong`, one line for each thing that is."""
    path = [str(part) for part in _written(detail)]
    kind, where, message = detail["type"], place(path), sentence(detail, _known_keys(path))
    if kind == "missing":
        return [f"{where}: missing; {_missing(path)}"]
    if kind == "extra_forbidden":
        return [f"{where}: {message}"]
    if kind == "value_error" and path in ([], ["space"]):
        # Each line of the message names its key itself.
        return [f"{where} {line}".lstrip() for line in message.split("\n")]
    if kind == "value_error" and isinstance(detail["input"], dict):
        return [f"{where}: {message}"]  # a whole table; its message names what it is about
    return [f"{where} = {shown(detail['input'])}: {message}"]


def _written(detail: ErrorDetails) -> tuple[int | str, ...]:
    """The path without the name of a union's branch, which people did not write."""
    where = detail["loc"]
    return where[:2] + where[3:] if where[:2] in _UNIONS else where


def _missing(path: list[str]) -> str:
    if path == ["name"]:
        return 'write name = "my-study" at the top'
    if path == ["space"]:
        return 'write learning_rate = { low = 1e-6, high = 1e-2, scale = "log" } under [space]'
    return "this key is needed"


def _known_keys(path: list[str]) -> list[str]:
    if path[:2] == ["report", "published"]:
        return list(Published.model_fields)
    table = _TABLES.get(path[0]) if len(path) > 1 else None
    if table is not None:
        return inner_keys(table, path[1]) if len(path) > 2 else list(table.model_fields)  # noqa: PLR2004 - [table] key.inner
    return list(StudySpec.model_fields)
