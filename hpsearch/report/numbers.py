"""How numbers, ranges and times are written for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpsearch.space import OWN, Dimension, Interval

_MINUTE, _HOUR = 60, 3600


def number(value: Any) -> str:
    """Three significant digits; text as it is; a table as `adam (learning_rate=0.001)`."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(number(item) for item in value) + "]"
    if isinstance(value, Mapping):
        entries = ", ".join(f"{key}={number(v)}" for key, v in value.items() if key != OWN)
        own = number(value[OWN]) if OWN in value else ""
        return f"{own} ({entries})" if own and entries else own or entries
    return str(value)


def score(value: float | None) -> str:
    """An accuracy with four digits."""
    return "-" if value is None else f"{value:.4f}"


def shown_range(document: Mapping[str, Any]) -> str:
    """`1e-06 .. 0.01`, or the choices."""
    if "choices" in document:
        return ", ".join(number(choice) for choice in document["choices"])
    return f"{number(document['low'])} .. {number(document['high'])}"


def dimension_text(dimension: Dimension) -> str:
    """`1e-06 .. 0.01, log, may grow to 1e-07 .. 1`, or the choices."""
    parts = [shown_range(dimension.range.document())]
    if isinstance(dimension.range, Interval) and dimension.range.scale == "log":
        parts.append("log")
    if dimension.limits is not None:
        parts.append(f"may grow to {shown_range(dimension.limits.document())}")
    return ", ".join(parts)


def shown_values(values: Mapping[str, Any]) -> str:
    """`learning_rate 0.0093, weight_decay 1.3e-06`."""
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def count(number_of: int, noun: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{number_of} {noun}" + ("" if number_of == 1 else "s")
