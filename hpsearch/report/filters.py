"""Which trials are shown: conditions such as `round=2` or `score>=0.9`, and only the best."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpsearch.errors import UserError
from hpsearch.report.documents import JSON
from hpsearch.search.outcomes import Outcome, rank
from hpsearch.seeds import Purpose
from hpsearch.space import frozen, label
from hpsearch.wording import nearest

_EQUAL: dict[str, Callable[[Any, Any], bool]] = {"=": operator.eq, "!=": operator.ne}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*([\w.-]+)\s*(<=|>=|!=|==?|<|>)\s*(.*?)\s*")
# Of a trial, beside its dimensions; a dimension of the same name takes a field's place.
FIELDS = (
    "purpose",
    "number",
    "round",
    "state",
    "score",
    "loss",
    "epochs",
    "elite",
    "seed",
    "worker",
    "attempts",
)


@dataclass(frozen=True)
class Condition:
    """A comparison of one field of a trial with a value, as it was typed."""

    field: str
    comparison: str
    value: str

    def holds(self, trial: JSON) -> bool:
        """Whether it holds of a trial; of a field that has no value it never does, but for `!=`.

        Raises:
            UserError: If the two cannot be put in order.
        """
        found = field_of(trial, self.field)
        if found is None:
            return self.comparison == "!="
        if self.comparison in _EQUAL:
            return _EQUAL[self.comparison](*self._alike(found))
        mine, given = self._alike(found)
        if isinstance(mine, str):
            raise UserError(
                f"--where {self.field}{self.comparison}{self.value}: {label(frozen(found))} and "
                f"{self.value} have no order; compare them with = or !="
            )
        return _ORDER[self.comparison](mine, given)

    def _alike(self, found: Any) -> tuple[Any, Any]:
        """Both as numbers, else both as text."""
        if isinstance(found, int | float) and not isinstance(found, bool):
            try:
                return float(found), float(self.value)
            except ValueError as error:
                raise UserError(
                    f"--where {self.field}{self.comparison}{self.value}: {self.field} is a number"
                ) from error
        return label(frozen(found)), self.value


def conditions(typed: Sequence[str], dimensions: Sequence[str]) -> list[Condition]:
    """Conditions as they were typed.

    Args:
        typed: Such as `round=2`.
        dimensions: Of the study.

    Raises:
        UserError: If one is none, or names no field.
    """
    return [_condition(text, (*FIELDS, *dimensions)) for text in typed]


def _condition(text: str, known: Sequence[str]) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UserError(f"--where {text}: write FIELD=VALUE, such as round=2 or score>=0.9")
    field, comparison, value = found.groups()
    if field not in known:
        raise UserError(f"--where {text}: {field} is no field of a trial{nearest(field, known)}")
    return Condition(field, comparison.replace("==", "="), value)


def field_of(trial: JSON, name: str) -> Any:
    """A trial's value of a dimension, else its field; `epochs` is how many were measured."""
    values: Mapping[str, Any] = trial["values"]
    if name in values or name not in FIELDS:
        return values.get(name)
    return len(trial["epochs"]) if name == "epochs" else trial.get(name)


def chosen(trials: Sequence[JSON], where: Sequence[Condition], top: int | None) -> list[JSON]:
    """The trials of which all conditions hold, in their order; of them perhaps only the best.

    Args:
        trials: Of `trials --json`.
        where: The conditions.
        top: How many, by score; those of the search unless a condition is about the purpose.
    """
    found = [trial for trial in trials if all(condition.holds(trial) for condition in where)]
    if top is None:
        return found
    if all(condition.field != "purpose" for condition in where):
        found = [trial for trial in found if trial["purpose"] == Purpose.SEARCH]
    scored = [trial for trial in found if trial["score"] is not None]
    return sorted(scored, key=_rank)[:top]


def _rank(trial: JSON) -> tuple[float, float, int]:
    """Best first; ties as in the search."""
    return rank(Outcome(trial["number"], trial["values"], trial["score"], trial["loss"]))
