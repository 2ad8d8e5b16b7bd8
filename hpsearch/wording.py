"""Mistakes in a study file, said in its own words instead of a validator's."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

_TABLES = frozenset({"data", "model", "training", "space", "search", "confirmation", "report"})

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# What pydantic says in words of types, said in words of the study file.
_FORMS = {
    "greater_than": "must be above {gt:.10g}",
    "greater_than_equal": "must be {ge:.10g} or more",
    "less_than": "must be below {lt:.10g}",
    "less_than_equal": "must be {le:.10g} or less",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be 2147483647 or less",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list such as [50, 20]",
    "list_type": "must be a list",
    "string_type": "must be text in quotes",
    "model_type": "must be a table such as {{ ... }}",
    "missing": "is missing",
}


def sentence(detail: ErrorDetails, known: Sequence[str] = ()) -> str:
    """What is wrong, from pydantic's type of error, in words of the study file.

    Args:
        detail: One of pydantic's errors.
        known: Keys that may stand where an unknown one was found.
    """
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        return f"unknown key{nearest(name, known)}"
    if kind == "string_pattern_mismatch":
        return (
            "a name starts with a letter or digit and has at most 100 letters, digits, "
            "'.', '_' and '-'"
        )
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        close = difflib.get_close_matches(str(detail["input"]).lower(), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"expected {context['expected']}{hint}"
    if kind in _FORMS:
        return _FORMS[kind].format(**context)
    message = detail["msg"].replace("Input should be", "must be")
    return message[:1].lower() + message[1:]


def of_likeliest_form(details: Sequence[ErrorDetails], depth: int) -> list[ErrorDetails]:
    """Of a key that takes values of several forms, what is wrong with the form that was meant.

    Args:
        details: All that is said about the key, form after form.
        depth: Where in a detail's path the form stands, behind the key.
    """
    meant = max(details, key=_fit)["loc"][: depth + 1]
    found = [detail for detail in details if detail["loc"][: depth + 1] == meant]
    misspelt = any(detail["type"] == "extra_forbidden" for detail in found)
    return [d for d in found if d["type"] != "missing"] if misspelt else found


def _fit(detail: ErrorDetails) -> tuple[int, bool]:
    """The form that got furthest was meant; of several, a word for text, a check for the rest."""
    telling = "literal_error" if isinstance(detail["input"], str) else "value_error"
    return len(detail["loc"]), detail["type"] == telling


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean ...?`, or what is known, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def place(path: Sequence[str]) -> str:
    """Where a key stands: `[table] key`, or just `key` at the top."""
    keys = [key_text(part) for part in path]
    if path and path[0] in _TABLES:
        rest = ".".join(keys[1:])
        return f"[{path[0]}] {rest}".rstrip()
    return ".".join(keys)


def key_text(key: str) -> str:
    """A key as TOML wants it written: bare where it may be, else in quotes and on one line."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def shown(value: Any) -> str:
    """The value as the file has it, as nearly as JSON can say it."""
    try:
        return json.dumps(value)
    except TypeError:
        return repr(value)
