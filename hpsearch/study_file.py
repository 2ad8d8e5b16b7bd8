"""The study file: TOML in, a checked `StudySpec` out, or one line per mistake.

Every line names the file, the key and its value, and says what to do.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpsearch.errors import StudyFileError
from hpsearch.study import (
    ConfirmationSpec,
    DataSpec,
    ModelSpec,
    SearchSpec,
    Split,
    StudySpec,
    TrainingSpec,
)
from hpsearch.wording import place, sentence, shown


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
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError([f"{source}: not a TOML file: {error}"]) from error
    return _validated(document, source)


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


def overridden(spec: StudySpec, **overrides: Any) -> StudySpec:
    """The study with some values of the command line put in, checked again.

    Args:
        spec: The study as its file has it.
        **overrides: `name`, `seed`, `rounds` or `trials`; None leaves a value as it is.

    Raises:
        StudyFileError: If a value is not one the study file could have.
    """
    document = spec.model_dump() | {"space": spec.space}
    for key, value in overrides.items():
        if value is not None:
            table = document["search"] if key in SearchSpec.model_fields else document
            table[key] = value
    return _validated(document, "options")


def _validated(document: dict[str, Any], source: str) -> StudySpec:
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        raise StudyFileError(_problems(error, source)) from error


def _problems(error: ValidationError, source: str) -> list[str]:
    """One line per key: of a union's branches, the one that got furthest speaks for it."""
    lines: dict[str, str] = {}
    for detail in sorted(error.errors(), key=lambda d: len(d["loc"]), reverse=True):
        key = ".".join(str(part) for part in detail["loc"][:2])
        if key not in lines or not _is_union(detail):
            lines.setdefault(key, _problem(detail, source))
    order = [".".join(str(part) for part in detail["loc"][:2]) for detail in error.errors()]
    return [lines[key] for key in dict.fromkeys(order)]


def _is_union(detail: ErrorDetails) -> bool:
    return any(_is_union_branch(str(part)) for part in detail["loc"])


# ------------------------------------------------------ sentences for people


def _problem(detail: ErrorDetails, source: str) -> str:
    """`FILE: [table] key = value: what is wrong`, in one line."""
    path = [str(part) for part in detail["loc"] if not _is_union_branch(str(part))]
    return f"{source}: {_about(detail, path)}"


def _about(detail: ErrorDetails, path: list[str]) -> str:
    kind, where, message = detail["type"], place(path), sentence(detail, _known_keys(path))
    if kind == "missing":
        return f"{where}: missing; {_missing(path)}"
    if kind == "extra_forbidden":
        return f"{where}: {message}"
    if kind == "value_error" and path in ([], ["space"]):
        return f"[space] {message}"  # the message names the dimension itself
    if kind == "value_error" and isinstance(detail["input"], dict):
        return f"{where}: {message}"  # a whole table; its message names what it is about
    return f"{where} = {shown(detail['input'])}: {message}"


def _is_union_branch(part: str) -> bool:
    """Pydantic names the branch of a union in the path; people did not write it."""
    return part in {"FirstRows", "Normal", "int"} or "[" in part


def _missing(path: list[str]) -> str:
    if path == ["name"]:
        return 'write name = "my-study" at the top'
    if path == ["space"]:
        return 'write learning_rate = { low = 1e-6, high = 1e-2, scale = "log" } under [space]'
    return "this key is needed"


def _known_keys(path: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "data": DataSpec,
        "model": ModelSpec,
        "training": TrainingSpec,
        "search": SearchSpec,
        "confirmation": ConfirmationSpec,
    }
    if path[:2] == ["data", "split"]:
        return list(Split.model_fields)
    if path and path[0] in tables and len(path) > 1:
        return list(tables[path[0]].model_fields)
    return list(StudySpec.model_fields)
