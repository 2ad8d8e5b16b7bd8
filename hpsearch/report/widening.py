"""How to look beyond edges of the ranges with the trials there are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from hpsearch.errors import StudyFileError
from hpsearch.search.ledger import End
from hpsearch.space import Interval
from hpsearch.study import StudySpec
from hpsearch.study_file import overridden

# Shares of its declared width that a range may grow by, the first that its key takes.
_SHARES = (1.0, 0.5, 0.25, 0.125)


def further_ends(spec: StudySpec, dimension: str, ends: Sequence[End]) -> dict[End, float]:
    """How far a range may grow at some of its ends; without those beyond which the key takes none.

    Args:
        spec: The study with its amendments.
        dimension: A dimension with a range of numbers.
        ends: Where it is to grow.
    """
    found: dict[End, float] = {}
    for end in ends:
        wider = (_grown(spec, dimension, end, share) for share in _SHARES)
        legal = next((value for value in wider if _is_legal(spec, dimension, end, value)), None)
        if legal is not None:
            found[end] = legal
    return found


def limits_option(spec: StudySpec, dimension: str, ends: Mapping[End, float]) -> str:
    """`--limits learning_rate=1e-06..100`: the widest range, but for some ends."""
    limits = _with_ends(spec, dimension, ends)
    return f"--limits {dimension}={'..'.join(map(json.dumps, limits))}"


def _grown(spec: StudySpec, dimension: str, end: End, share: float) -> float:
    """An end of the widest range, moved out by a share of the declared one."""
    declared, widest = spec.space[dimension], spec.space.widest[dimension]
    if not isinstance(declared, Interval) or not isinstance(widest, Interval):
        raise TypeError(f"{dimension} is no range of numbers")
    if declared.scale == "log":
        factor = (declared.high / declared.low) ** share
        value = widest.low / factor if end == "lower" else widest.high * factor
        return _rounded(value, value, integer=declared.integer)
    step = (declared.high - declared.low) * share
    value = widest.low - step if end == "lower" else widest.high + step
    return _rounded(value, step, integer=declared.integer)


def _with_ends(spec: StudySpec, dimension: str, ends: Mapping[End, float]) -> tuple[float, float]:
    widest = spec.space.widest[dimension]
    if not isinstance(widest, Interval):
        raise TypeError(f"{dimension} is no range of numbers")
    return ends.get("lower", widest.low), ends.get("upper", widest.high)


def _rounded(value: float, measure: float, *, integer: bool) -> float:
    """To two digits of what it is measured in."""
    if integer or not math.isfinite(value):
        return value if math.isinf(value) else round(value)
    return round(value, 1 - math.floor(math.log10(abs(measure)))) if measure else value


def _is_legal(spec: StudySpec, dimension: str, end: End, value: float) -> bool:
    """Whether the study may have this limit, and it lies beyond the one of now."""
    limits, now = _with_ends(spec, dimension, {end: value}), _with_ends(spec, dimension, {})
    if not math.isfinite(value) or limits == now:
        return False
    try:
        overridden(spec, {dimension: limits})
    except StudyFileError:
        return False
    return True
