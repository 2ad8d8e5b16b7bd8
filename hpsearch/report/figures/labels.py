"""What values and trials are called in a figure: short, and told apart from each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpsearch.report.numbers import number
from hpsearch.space import Box, Choices, plain


def words(name: str) -> str:
    """A key as words: `learning_rate` as `learning rate`."""
    return name.replace("_", " ")


def same(value: Any) -> str:
    """Equal texts for equal values, whatever their form."""
    return json.dumps(plain(value), sort_keys=True)


def value_label(name: str, value: Any, options: Sequence[Any] = ()) -> str:
    """What a dimension's value is called: `adam`, `learning rate 0.01`, `with batch norm`.

    Args:
        name: The dimension.
        value: One of its values; a table may have a `name`.
        options: All its values, from which a table's label tells it apart.
    """
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {words(name)}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _table_label(value, options)
    return f"{words(name)} {number(value)}"


def _table_label(value: Mapping[str, Any], options: Sequence[Any]) -> str:
    """A table's name, and what else tells it from those of the same name."""
    name = value.get("name")
    rest = {key: entry for key, entry in value.items() if key != "name"}
    namesakes = [o for o in options if isinstance(o, Mapping) and o.get("name") == name]
    parts = [] if name is None else [str(name)]
    if name is None or len(namesakes) > 1:
        parts += [value_label(key, entry) for key, entry in rest.items()]
    return ", ".join(parts)


def options_of(space: Box, name: str) -> tuple[Any, ...]:
    """A dimension's choices, as JSON has them; none where it is an interval."""
    range_ = space[name]
    return tuple(map(plain, range_.options)) if isinstance(range_, Choices) else ()


def label_of(space: Box, values: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a trial is called by some of its dimensions; those with one choice say nothing."""
    shown = [name for name in names if name in values and len(options_of(space, name)) != 1]
    return ", ".join(value_label(n, values[n], options_of(space, n)) for n in shown)


def distinct(labels: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Labels in which those that stand twice, or are empty, carry the trial's number."""
    often = Counter(labels)
    pairs = zip(labels, numbers, strict=True)
    return [
        label if label and often[label] == 1 else f"{label} (trial {n})".strip()
        for label, n in pairs
    ]
