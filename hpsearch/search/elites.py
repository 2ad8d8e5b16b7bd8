"""Narrowing by elites: the hull of the best trials, where chance would rarely gather them so.

The rule (docs/narrowing.md): the *elites* of a round are its best fifth, widened to every trial
that cannot be told from the best given the noise of the validation score. A dimension's next
range is the hull of its elites plus a margin of 1.5 mean gaps on each side; an end beyond which
nothing worse was tried stays. It is only taken when so narrow a hull would be a rare accident: a
dimension that does not matter spreads its elites evenly, and even spreads are not evidence.
Choices are dropped by the same measure: no elite has them, and chance would rarely have it so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hpsearch.search.ledger import Edge, LedgerRow
from hpsearch.search.noise import standard_error
from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.space import Box, Choices, Dimension, Interval, Range, label

ELITE_SHARE = 0.2
MARGIN_GAPS = 1.5
# A range is narrowed when chance alone would gather the elites so closely, were the dimension
# without effect, in fewer than 1 of 100 rounds.
CHANCE = 0.01
# Between the two, the ledger says that there is some evidence, but not enough.
WEAK_CHANCE = 0.2
RULE = "hull of the elites plus 1.5 mean gaps, where chance is below 1 %"
CHOICES_RULE = "choices that no elite has are dropped, where chance is below 1 % for all together"
# The elites crowd an edge when no more than this share of the round's range is left beside it.
CROWDED_SHARE = 0.5


def narrow(
    box: Box, declared_box: Box, outcomes: Sequence[Outcome], validation_rows: int
) -> list[LedgerRow]:
    """Decide every range of the next round from the outcomes of this one.

    Args:
        box: The box the outcomes were drawn from.
        declared_box: The study file's box; no range ever leaves it.
        outcomes: All trials of the round, in any order. Failed ones count for nothing; diverged
            ones were tried and are no elites.
        validation_rows: Rows behind each score, for its binomial error.

    Returns:
        One row per dimension, in the box's order.
    """
    best = elites(outcomes, validation_rows)
    tried = [outcome for outcome in outcomes if not outcome.failed]
    return [_decide(d, declared_box[d.name], best, tried) for d in box.dimensions]


def crowded(range_: Range, previous: Range | None, edge: Edge | None) -> bool:
    """Whether the best trials crowd an edge, so that the optimum may lie beyond it.

    They do when they reach exactly one declared edge and the range was narrowed towards it: the
    hull of the elites and its margin take no more than half of the round's range.

    Args:
        range_: The range from now on.
        previous: The range of the round.
        edge: Declared edges that the elites reach.
    """
    if edge not in {"lower", "upper"}:
        return False
    if not isinstance(range_, Interval) or not isinstance(previous, Interval):
        return False
    return _share(previous, range_.low, range_.high) <= CROWDED_SHARE


def elites(outcomes: Sequence[Outcome], validation_rows: int) -> list[Outcome]:
    """The best fifth, and everything within one standard error of the best; best first."""
    order = ranked(outcomes)
    if not order or order[0].score is None:
        return []
    floor = order[0].score - standard_error(order[0].score, validation_rows)
    count = math.ceil(ELITE_SHARE * len(order))
    return [o for i, o in enumerate(order) if i < count or (o.score or 0.0) >= floor]


def _decide(
    dimension: Dimension, limits: Range, best: list[Outcome], tried: Sequence[Outcome]
) -> LedgerRow:
    if len(best) < 2:  # noqa: PLR2004 - a hull needs two points
        return _kept(dimension, len(best), None, f"kept: {_count(best)} cannot show a direction")
    if isinstance(dimension.range, Choices):
        return _decide_choices(dimension, dimension.range, best, tried)
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
        reason = _not_narrowed(best, spread, chance) + _at_edge(edge, limits)
        return _kept(dimension, len(best), edge, reason)
    narrower = _narrower(interval, low, high)
    if narrower == interval:
        reason = f"kept: {_count(best)} leave nothing to cut" + _at_edge(edge, limits)
        return _kept(dimension, len(best), edge, reason)
    found = f"narrowed: {_count(best)} lie in {spread:.0%} of the range"
    reason = found + _at_edge(edge, limits, crowd=crowded(narrower, interval, edge))
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


def _at_edge(edge: Edge | None, limits: Range, *, crowd: bool = False) -> str:
    """What reaching a single declared edge means; reaching both is what even spreads do."""
    if edge in {None, "both"} or not isinstance(limits, Interval):
        return ""
    at = limits.low if edge == "lower" else limits.high
    if crowd:
        return f"; the best trials crowd the {edge} edge {at:g}: the optimum may lie beyond"
    return f"; they reach the {edge} edge {at:g}"


# -------------------------------------------------------------------- choices


def _decide_choices(
    dimension: Dimension, choices: Choices, best: list[Outcome], tried: Sequence[Outcome]
) -> LedgerRow:
    seen = {label(outcome.values[dimension.name]) for outcome in best}
    counts = Counter(label(outcome.values[dimension.name]) for outcome in tried)
    missing = [label(option) for option in choices.options if label(option) not in seen]
    if not missing:
        return _kept(dimension, len(best), None, f"kept: every choice is among the {_count(best)}")
    # Each option might be dropped wrongly, so all of them together share the 1 %.
    limit = CHANCE / len(choices.options)
    chances = {name: chance_of_absence(counts[name] / len(tried), len(best)) for name in missing}
    dropped = [name for name in missing if chances[name] < limit]
    remaining = choices.keeping({label(option) for option in choices.options} - set(dropped))
    sentences = [
        _no_place(dropped, best),
        _too_few([name for name in missing if counts[name] and name not in dropped], best),
        _never_tried([name for name in missing if not counts[name]]),
    ]
    reason = "; ".join(sentence for sentence in sentences if sentence)
    if not dropped:
        return _kept(dimension, len(best), None, f"kept: {reason}")
    reason = f"narrowed: {reason}"
    return LedgerRow(
        dimension.name, remaining, choices, len(best), CHOICES_RULE, "narrowed", None, reason
    )


def chance_of_absence(share: float, count: int) -> float:
    """Probability that none of `count` elites has an option tried in this share of the trials.

    Were the option no worse than others, each elite would have it with that probability. (Elites
    are drawn without replacement, which only lowers the figure.)
    """
    return float((1 - share) ** count)


def _no_place(names: list[str], best: list[Outcome]) -> str:
    verb = "has" if len(names) == 1 else "have"
    return f"{_listed(names)} {verb} no place among the {_count(best)}" if names else ""


def _too_few(names: list[str], best: list[Outcome]) -> str:
    return f"{_count(best)} are too few to drop {_listed(names)}" if names else ""


def _never_tried(names: list[str]) -> str:
    verb = "was" if len(names) == 1 else "were"
    return f"{_listed(names)} {verb} never tried" if names else ""


def _listed(names: list[str]) -> str:
    """Labels side by side; that of a table has commas of its own."""
    return ", ".join(f"({name})" if "=" in name else name for name in names)


def _kept(dimension: Dimension, count: int, edge: Edge | None, reason: str) -> LedgerRow:
    rule = CHOICES_RULE if isinstance(dimension.range, Choices) else RULE
    return LedgerRow(
        dimension.name, dimension.range, dimension.range, count, rule, "kept", edge, reason
    )


def _count(best: list[Outcome]) -> str:
    return f"{len(best)} elite" + ("" if len(best) == 1 else "s")
