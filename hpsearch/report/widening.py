"""How to look beyond an edge of the ranges with the trials there are."""

from __future__ import annotations

import json
import math

from hpsearch.errors import StudyFileError
from hpsearch.space import Interval
from hpsearch.study import StudySpec
from hpsearch.study_file import overridden

# Shares of its declared width that a range may grow by, the first that its key takes.
_SHARES = (1.0, 0.5, 0.25, 0.125)


def limits_option(spec: StudySpec, dimension: str, edge: str) -> str | None:
    """`--limits learning_rate=1e-06..100`; None where nothing that the key takes lies beyond.

    Args:
        spec: The study with its amendments.
        dimension: A dimension with a range of numbers.
        edge: "lower" or "upper".
    """
    wider = (_grown(spec, dimension, edge, share) for share in _SHARES)
    ends = next((ends for ends in wider if _is_legal(spec, dimension, ends)), None)
    return None if ends is None else f"--limits {dimension}={'..'.join(map(json.dumps, ends))}"


def _grown(spec: StudySpec, dimension: str, edge: str, share: float) -> tuple[float, float]:
    """The widest range, longer by a share of the declared one at an edge."""
    declared, widest = spec.space[dimension], spec.space.widest[dimension]
    if not isinstance(declared, Interval) or not isinstance(widest, Interval):
        raise TypeError(f"{dimension} is no range of numbers")
    side = -share if edge == "lower" else share
    if declared.scale == "log":
        factor = (declared.high / declared.low) ** side
        ends = (widest.low * min(factor, 1.0), widest.high * max(factor, 1.0))
    else:
        step = (declared.high - declared.low) * side
        ends = (widest.low + min(step, 0.0), widest.high + max(step, 0.0))
    low = widest.low if edge == "upper" else _rounded(ends[0], integer=declared.integer)
    high = widest.high if edge == "lower" else _rounded(ends[1], integer=declared.integer)
    return low, high


def _rounded(value: float, *, integer: bool) -> float:
    return round(value) if integer else float(f"{value:.2g}")


def _is_legal(spec: StudySpec, dimension: str, ends: tuple[float, float]) -> bool:
    """Whether the study may have these limits, and they are wider."""
    if not all(map(math.isfinite, ends)):
        return False
    try:
        overridden(spec, {dimension: ends})
    except StudyFileError:
        return False
    widest = spec.space.widest[dimension]
    return isinstance(widest, Interval) and ends != (widest.low, widest.high)
