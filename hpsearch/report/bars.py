"""A range as a bar in a line of text, drawn within everything the study has searched."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.report.documents import JSON
from hpsearch.space import Interval, range_from_document

_WIDTH = 14
_INSIDE, _OUTSIDE = "━", "·"


def bars(ranges: Sequence[JSON]) -> list[str]:
    """One bar for each of a dimension's ranges; empty where it has choices.

    Args:
        ranges: Of the rounds, in order; the longest bar is as wide as all of them together.
    """
    found = [range_from_document(document) for document in ranges]
    intervals = [range_ for range_ in found if isinstance(range_, Interval)]
    if len(intervals) < len(found) or not intervals:
        return [""] * len(found)
    ends = [end for interval in intervals for end in interval.ends()]
    hull = intervals[0].holding(ends)
    return [_bar(hull, interval) for interval in intervals]


def _bar(hull: Interval, interval: Interval) -> str:
    first, last = (hull.position(float(end)) for end in (interval.low, interval.high))
    start = min(int(first * _WIDTH), _WIDTH - 1)
    end = max(round(last * _WIDTH), start + 1)
    return _OUTSIDE * start + _INSIDE * (end - start) + _OUTSIDE * (_WIDTH - end)
