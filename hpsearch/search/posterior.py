"""Narrowing by posterior: where the best values may lie, as a Gaussian process sees it.

The rule (docs/narrowing.md): draw many surfaces from the posterior of the score over everything
explored and take the place of each one's maximum. A dimension's next range holds all but a small
share of these places; a dimension that explains nothing keeps the range it was declared with; an
edge where many of the places lie is opened, as far as the study's limits allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from hpsearch.search.landscape import DRAWS, Landscape
from hpsearch.search.ledger import Edge, LedgerRow, decision_between
from hpsearch.space import Box, Choices, Dimension, Interval, Range, Value, label

RULE = "box of the posterior's maxima"
# All dimensions together leave out this share of the maxima. With 0.05 and a padding of 0.1 boxes
# were up to twice as large, and held the best no more often: in all of 20 studies on five testbeds.
_LEFT_OUT = 0.2
# A range is widened on each side by this share of itself, as its ends are themselves uncertain; of
# one that is hardly wide at all, by this share of this part of everything explored.
_PADDING, _HARDLY_WIDE = 0.05, 0.02
# How much better (natural logarithm) a dimension must explain the scores to be worth a decision.
_EFFECT = 4.0
# No range becomes narrower than this share of the one before in a single round.
_NARROWEST = 1 / 3
# An edge is open if more than this share of the maxima lies in the outer part of what was explored.
# With 0.1 that of a dimension without effect was named in 7 of 30 studies of mnist-500, now in 2.
_OPEN_SHARE, _OUTER_PART = 0.25, 0.05
_ENDS = ("lower", "upper")
# A choice that fewer of the maxima have is dropped.
_RARE_CHOICE = 0.02


@dataclass(frozen=True)
class Narrowed:
    """What the posterior decides.

    Attributes:
        rows: One per dimension, in the box's order.
        is_open: Whether the maximum may lie beyond everything explored, within the limits.
    """

    rows: tuple[LedgerRow, ...]
    is_open: bool


def narrow(box: Box, landscape: Landscape, elites: int, rng: Generator) -> Narrowed:
    """Decide every range of the next round.

    Args:
        box: The round's box.
        landscape: What all trials so far say.
        elites: How many trials of the round cannot be told from the best, for the ledger.
        rng: Draws the surfaces.
    """
    maxima = landscape.maxima(box, rng)
    rows, is_open = [], False
    for dimension in box.dimensions:
        found = _Found(dimension, landscape, [place[dimension.name] for place in maxima])
        decided = found.decide(_LEFT_OUT / (2 * len(box.dimensions)))
        rows.append(_row(dimension, decided, elites))
        is_open = is_open or decided.is_open
    return Narrowed(tuple(rows), is_open)


@dataclass(frozen=True)
class _Decided:
    range: Range
    edge: Edge | None
    reason: str
    is_open: bool = False


def _row(dimension: Dimension, decided: _Decided, elites: int) -> LedgerRow:
    decision = decision_between(dimension.range, decided.range)
    return LedgerRow(
        dimension.name,
        decided.range,
        dimension.range,
        elites,
        RULE,
        decision,
        decided.edge,
        f"{decision}: {decided.reason}",
    )


@dataclass(frozen=True)
class _Found:
    """What the landscape says about one dimension.

    Args:
        dimension: Its range in the round.
        landscape: What all trials say.
        maxima: This dimension's value at the maximum of each drawn surface.
    """

    dimension: Dimension
    landscape: Landscape
    maxima: Sequence[Value]

    def decide(self, tail: float) -> _Decided:
        """The next range.

        Args:
            tail: Share of the maxima that each end leaves out.
        """
        effect = self.landscape.effect(self.dimension.name)
        declared = self.landscape.declared[self.dimension.name]
        if effect < _EFFECT:
            again = "" if declared == self.dimension.range else ", so the declared range again"
            return _Decided(declared, None, f"no evidence that it matters{again}")
        if isinstance(declared, Choices):
            return self._choices(declared)
        return self._interval(tail)

    # -------------------------------------------------------------- intervals

    def _interval(self, tail: float) -> _Decided:
        interval = _numbers(self.dimension.range)
        widest = _numbers(self.landscape.declared.widest[self.dimension.name])
        explored = _numbers(self.landscape.explored[self.dimension.name])
        first, last = explored.position(interval.low), explored.position(interval.high)
        places = np.array([explored.position(float(v)) for v in self.maxima])  # type: ignore[arg-type]
        low, high = (float(q) for q in np.quantile(places, [tail, 1 - tail]))
        inside = f"{explored.at(low):.3g} .. {explored.at(high):.3g}"
        said = f"{1 - 2 * tail:.0%} of {DRAWS} plausible surfaces have their maximum in {inside}"
        margin = _PADDING * max(high - low, _HARDLY_WIDE)
        low, high = _no_narrower(low - margin, high + margin, (last - first) * _NARROWEST)
        opened = {end: _outer_share(places, end) for end in _ENDS}
        edges = [end for end, share in opened.items() if share > _OPEN_SHARE]
        for end in edges:
            said += f"; {opened[end]:.0%} at the {end} edge {_end(explored, end):.3g}"
        said += _where_next(explored, widest, edges)
        past = [end for end in _ENDS if end not in edges and self._share_past(end) > _OPEN_SHARE]
        for end in past:
            edge = _end(_numbers(self.landscape.declared[self.dimension.name]), end)
            said += f"; {self._share_past(end):.0%} beyond the declared {end} edge {edge:.3g}"
        range_ = _grown(explored, widest, low, high, edges)
        is_open = any(_end(explored, end) != _end(widest, end) for end in edges)
        return _Decided(range_, _edge([*edges, *past]), said, is_open=is_open)

    def _share_past(self, end: str) -> float:
        """Share of the maxima beyond a declared edge."""
        declared = _numbers(self.landscape.declared[self.dimension.name])
        places = np.array([declared.position(float(v)) for v in self.maxima])  # type: ignore[arg-type]
        return float((places < 0 if end == "lower" else places > 1).mean())

    # ---------------------------------------------------------------- choices

    def _choices(self, declared: Choices) -> _Decided:
        """Options that hardly any maximum has are dropped; dropped ones may come back."""
        counts = Counter(label(value) for value in self.maxima)
        labels = [label(option) for option in declared.options]
        kept = {name for name in labels if counts[name] >= _RARE_CHOICE * DRAWS}
        shares = ", ".join(f"{name} in {counts[name] / DRAWS:.0%}" for name in labels)
        said = f"of {DRAWS} plausible surfaces the maximum has {shares}"
        return _Decided(declared.keeping(kept), None, said)


def _numbers(range_: Range) -> Interval:
    if not isinstance(range_, Interval):
        raise TypeError(f"{range_} is no range of numbers")
    return range_


def _outer_share(places: np.ndarray, end: str) -> float:
    """Share of positions in the outer part at one end."""
    outer = places < _OUTER_PART if end == "lower" else places > 1 - _OUTER_PART
    return float(outer.mean())


def _no_narrower(low: float, high: float, least: float) -> tuple[float, float]:
    """Ends within [0, 1] that are at least so far apart, around the same middle where possible."""
    low, high = max(low, 0.0), min(high, 1.0)
    missing = max(least - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    if low < 0:
        return 0.0, min(high - low, 1.0)
    if high > 1:
        return max(low - (high - 1), 0.0), 1.0
    return low, high


def _grown(
    explored: Interval, widest: Interval, low: float, high: float, edges: Sequence[str]
) -> Interval:
    """The part of what was explored between two positions, opened at edges within the limits.

    An edge is opened by the width of everything explored.
    """
    inner = explored.between(low, high)
    first, last = widest.position(explored.low), widest.position(explored.high)
    further = {
        "lower": widest.between(max(first - (last - first), 0.0), last).low,
        "upper": widest.between(first, min(last + (last - first), 1.0)).high,
    }
    return replace(
        inner,
        low=further["lower"] if "lower" in edges else inner.low,
        high=further["upper"] if "upper" in edges else inner.high,
    )


def _edge(edges: Sequence[str]) -> Edge | None:
    if len(edges) > 1:
        return "both"
    return None if not edges else "lower" if edges[0] == "lower" else "upper"


def _end(interval: Interval, end: str) -> float:
    return interval.low if end == "lower" else interval.high


def _where_next(explored: Interval, widest: Interval, edges: Sequence[str]) -> str:
    """What becomes of edges where the maximum may lie beyond."""
    closed = [end for end in edges if _end(explored, end) == _end(widest, end)]
    if not closed:
        return ""
    return ": the optimum may lie beyond"
