"""The next box, and the written reason for each of its ranges.

The rule (docs/narrowing.md): the *elites* of a round are its best fifth, widened to every trial
that cannot be told from the best given the noise of the validation score. A dimension's next
range is the hull of its elites plus a margin of 1.5 mean gaps on each side; an end beyond which
nothing worse was tried stays. It is only taken when so narrow a hull would be a rare accident: a
dimension that does not matter spreads its elites evenly, and even spreads are not evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.space import Box, Choices, Dimension, Interval, Range, label

Decision = Literal["declared", "narrowed", "kept", "widened", "undone"]
Edge = Literal["lower", "upper", "both"]

ELITE_SHARE = 0.2
MARGIN_GAPS = 1.5
# A range is narrowed when chance alone would gather the elites so closely, were the dimension
# without effect, in fewer than 1 of 100 rounds.
CHANCE = 0.01
# Between the two, the ledger says that there is some evidence, but not enough.
WEAK_CHANCE = 0.2
RULE = "hull of the elites plus 1.5 mean gaps, where chance is below 1 %"


@dataclass(frozen=True)
class LedgerRow:
    """Why a dimension has the range it has in a round.

    Attributes:
        dimension: Its name.
        range: The range from now on.
        previous: The range before, None where the study file declared it.
        elites: How many trials the decision rests on.
        rule: The rule that was applied.
        decision: What became of the range.
        edge: Declared edges that the elites reach, None for none.
        reason: One plain sentence for people.
    """

    dimension: str
    range: Range
    previous: Range | None
    elites: int
    rule: str
    decision: Decision
    edge: Edge | None
    reason: str


def declared(box: Box) -> list[LedgerRow]:
    """The ledger of the first round: what the study file says."""
    reason = "declared in the study file"
    return [
        LedgerRow(d.name, d.range, None, 0, "study file", "declared", None, reason)
        for d in box.dimensions
    ]


def narrow(
    box: Box, declared_box: Box, outcomes: Sequence[Outcome], validation_rows: int
) -> list[LedgerRow]:
    """Decide every range of the next round from the outcomes of this one.

    Args:
        box: The box the outcomes were drawn from.
        declared_box: The study file's box; no range ever leaves it.
        outcomes: All trials of the round, in any order.
        validation_rows: Rows behind each score, for its binomial error.

    Returns:
        One row per dimension, in the box's order.
    """
    best = elites(outcomes, validation_rows)
    return [_decide(d, declared_box[d.name], best, outcomes) for d in box.dimensions]


def box_of(rows: Sequence[LedgerRow]) -> Box:
    """The box that ledger rows of one round describe."""
    return Box(tuple(Dimension(row.dimension, row.range) for row in rows))


def elites(outcomes: Sequence[Outcome], validation_rows: int) -> list[Outcome]:
    """The best fifth, and everything within one standard error of the best; best first."""
    order = ranked(outcomes)
    if not order or order[0].score is None:
        return []
    floor = order[0].score - standard_error(order[0].score, validation_rows)
    count = math.ceil(ELITE_SHARE * len(order))
    return [o for i, o in enumerate(order) if i < count or (o.score or 0.0) >= floor]


def standard_error(accuracy: float, rows: int) -> float:
    """Binomial standard error of an accuracy measured on `rows` rows.

    One success and one failure are added (Agresti and Coull 1998), so that an accuracy of
    exactly 1 is not taken for certain.
    """
    smoothed = (accuracy * rows + 1) / (rows + 2)
    return math.sqrt(smoothed * (1 - smoothed) / rows)


def _decide(
    dimension: Dimension, limits: Range, best: list[Outcome], tried: Sequence[Outcome]
) -> LedgerRow:
    if len(best) < 2:  # noqa: PLR2004 - a hull needs two points
        return _kept(dimension, len(best), None, f"kept: {_count(best)} cannot show a direction")
    if isinstance(dimension.range, Choices):
        return _decide_choices(dimension, dimension.range, best)
    return _decide_interval(dimension, dimension.range, limits, best, tried)


# ------------------------------------------------------------------ intervals


def _decide_interval(
    dimension: Dimension,
    interval: Interval,
    limits: Range,
    best: list[Outcome],
    tried: Sequence[Outcome],
) -> LedgerRow:
    values = _values(dimension.name, best)
    low, high = _ends(interval, values, _values(dimension.name, tried))
    edge = _edge(interval, limits, low, high)
    spread = _share(interval, min(values), max(values))
    chance = chance_of_hull(spread, len(best))
    if chance >= CHANCE:
        reason = _not_narrowed(best, spread, chance) + _reaching(edge, limits)
        return _kept(dimension, len(best), edge, reason)
    narrower = _narrower(interval, low, high)
    if narrower == interval:
        reason = f"kept: {_count(best)} leave nothing to cut" + _crowding(edge, limits)
        return _kept(dimension, len(best), edge, reason)
    reason = f"narrowed: {_count(best)} lie in {spread:.0%} of the range" + _crowding(edge, limits)
    return LedgerRow(dimension.name, narrower, interval, len(best), RULE, "narrowed", edge, reason)


def _not_narrowed(best: list[Outcome], spread: float, chance: float) -> str:
    if chance < WEAK_CHANCE:
        return (
            f"kept: {_count(best)} lie in {spread:.0%} of the range, as chance alone has it in "
            f"{chance:.1%} of rounds: not enough to narrow on"
        )
    return (
        f"kept: {_count(best)} spread over {spread:.0%} of the range, no evidence that it matters"
    )


def _values(name: str, outcomes: Sequence[Outcome]) -> list[float]:
    return [float(o.values[name]) for o in outcomes]  # type: ignore[arg-type]


def _ends(interval: Interval, best: list[float], tried: list[float]) -> tuple[float, float]:
    """Positions of the hull of the elites with its margin.

    An end beyond which nothing worse was tried stays where it is: a gap between the outermost
    elite and the end of the range says nothing against the values in it.
    """
    low, high = interval.position(min(best)), interval.position(max(best))
    margin = MARGIN_GAPS * (high - low) / (len(best) - 1)
    start = low - margin if min(tried) < min(best) else 0.0
    end = high + margin if max(tried) > max(best) else 1.0
    return start, end


def _share(interval: Interval, low: float, high: float) -> float:
    """Share of the interval between two of its values, these included.

    An integer stands for a whole unit: elites that all have one of two values fill half of
    the range, not none of it.
    """
    half = 0.5 if interval.integer else 0.0
    start, end = interval.position(low - half), interval.position(high + half)
    first = interval.position(interval.low - half)
    last = interval.position(interval.high + half)
    return (end - start) / (last - first)


def _narrower(interval: Interval, low: float, high: float) -> Interval:
    """The part between two positions; the whole where rounding would leave nothing."""
    if not interval.integer and interval.at(low) >= interval.at(high):
        return interval
    return interval.between(low, high)


def chance_of_hull(spread: float, count: int) -> float:
    """Probability that `count` points spread evenly at random have so narrow a hull.

    The range of n uniform points has the distribution n r^(n-1) - (n-1) r^n (David and
    Nagaraja, Order Statistics, 2.3.4).
    """
    spread = min(max(spread, 0.0), 1.0)
    return count * spread ** (count - 1) - (count - 1) * spread**count


def _edge(interval: Interval, limits: Range, low: float, high: float) -> Edge | None:
    """The declared edges that the elites reach."""
    lower = low <= 0 and isinstance(limits, Interval) and interval.low <= limits.low
    upper = high >= 1 and isinstance(limits, Interval) and interval.high >= limits.high
    if lower and upper:
        return "both"
    return "lower" if lower else "upper" if upper else None


def _crowding(edge: Edge | None, limits: Range) -> str:
    if edge is None or not isinstance(limits, Interval):
        return ""
    if edge == "both":
        return "; they reach both declared edges"
    at = limits.low if edge == "lower" else limits.high
    return f"; the best trials crowd the {edge} edge {at:g}: the optimum may lie beyond"


def _reaching(edge: Edge | None, limits: Range) -> str:
    if edge in (None, "both") or not isinstance(limits, Interval):
        return ""
    at = limits.low if edge == "lower" else limits.high
    return f"; they reach the {edge} edge {at:g}"


# -------------------------------------------------------------------- choices


def _decide_choices(dimension: Dimension, choices: Choices, best: list[Outcome]) -> LedgerRow:
    seen = {label(outcome.values[dimension.name]) for outcome in best}
    dropped = [label(option) for option in choices.options if label(option) not in seen]
    if not dropped:
        reason = f"kept: every choice is among the {_count(best)}"
        return _kept(dimension, len(best), None, reason)
    missed_by_chance = (1 - 1 / len(choices.options)) ** len(best)
    if missed_by_chance >= CHANCE:
        reason = f"kept: {_count(best)} are too few to drop {', '.join(dropped)}"
        return _kept(dimension, len(best), None, reason)
    verb = "has" if len(dropped) == 1 else "have"
    reason = f"narrowed: {', '.join(dropped)} {verb} no place among the {_count(best)}"
    kept = choices.keeping(seen)
    return LedgerRow(dimension.name, kept, choices, len(best), RULE, "narrowed", None, reason)


def _kept(dimension: Dimension, count: int, edge: Edge | None, reason: str) -> LedgerRow:
    return LedgerRow(
        dimension.name, dimension.range, dimension.range, count, RULE, "kept", edge, reason
    )


def _count(best: list[Outcome]) -> str:
    return f"{len(best)} elite" + ("" if len(best) == 1 else "s")
