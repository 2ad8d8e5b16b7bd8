"""Narrowing by elites: where the best trials of a round lie, and how far that may be luck.

The rule (docs/narrowing.md): the *elites* of a round are its best trials and all that the noise of
a score cannot tell from them. A dimension's next range is the hull of its elites with a 95 % bound
on each end, cut to what may be searched; an end beyond which nothing worse was tried stays. It is
only taken when so narrow a hull would be a rare accident: a dimension that does not matter spreads
its elites evenly, and even spreads are not evidence. An edge that more elites crowd than chance
would bring there is open: the range grows beyond it, as far as the study allows. Choices are
dropped by the same measure: no elite has them, and chance would rarely have it so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpsearch.search.ledger import Edge, End, LedgerRow, decision_between
from hpsearch.search.outcomes import Outcome, distinct, ranked
from hpsearch.space import Box, Choices, Dimension, Interval, Range, label

# So many of the best are elites whatever the noise; fewer show no direction.
ELITE_SHARE, FEWEST_ELITES = 0.15, 10
# The bound on an end of the good values misses it in this share of the rounds.
MISSED = 0.05
# A range is narrowed when chance alone would gather the elites so closely, were the dimension
# without effect, in fewer than 1 of 100 rounds; an edge is open when chance alone would bring so
# many of them there.
CHANCE = 0.01
# Of fewer trials most are elites: there is nobody to tell them from.
_FEWEST_TRIALS = 3 * FEWEST_ELITES
# Between the two, the ledger says that there is some evidence, but not enough.
WEAK_CHANCE = 0.05
# The part of a range that counts as its edge. With 0.05 an optimum beyond it goes unnoticed in more
# than half of the studies of some testbeds, with 0.2 one well inside is taken for one beyond
# (docs/narrowing.md).
OUTER_PART = 0.1
RULE = "hull of the elites with a 95 % bound on each end, where chance is below 1 %"
CHOICES_RULE = "choices that no elite has are dropped, where chance is below 1 % for all together"


def narrow(
    box: Box, declared_box: Box, outcomes: Sequence[Outcome], noise: float
) -> list[LedgerRow]:
    """Decide every range of the next round from the outcomes of this one.

    Args:
        box: The box the outcomes were drawn from.
        declared_box: The study file's box; no range ever leaves its limits.
        outcomes: All trials of the round, in any order. Failed ones count for nothing; diverged
            and discarded ones were tried and are no elites.
        noise: Standard deviation of a score around its mean over seeds.

    Returns:
        One row per dimension, in the box's order.
    """
    best = elites(outcomes, noise)
    tried = [outcome for outcome in distinct(outcomes) if not outcome.failed]
    room = declared_box.widest
    return [_decide(d, declared_box[d.name], room[d.name], best, tried) for d in box.dimensions]


def elites(
    outcomes: Sequence[Outcome], noise: float, *, fewest: int = FEWEST_ELITES
) -> list[Outcome]:
    """The best, and everything within the noise of their mean; best first.

    Of trials with the same values and the same seed one counts: chance speaks of different ones.
    """
    order = ranked(distinct(outcomes))
    scores = [outcome.score for outcome in order if outcome.score is not None]
    if not scores:
        return []
    count = max(math.ceil(ELITE_SHARE * len(scores)), fewest)
    top = scores[:count]
    floor = math.fsum(top) / len(top) - noise
    return [o for i, o in enumerate(order) if i < count or scores[i] >= floor]


def _decide(
    dimension: Dimension,
    declared: Range,
    room: Range,
    best: list[Outcome],
    tried: Sequence[Outcome],
) -> LedgerRow:
    if len(best) < 2:  # noqa: PLR2004 - a hull needs two points
        return _kept(dimension, len(best), f"kept: {_count(best)} cannot show a direction")
    if isinstance(dimension.range, Choices):
        return _decide_choices(dimension, dimension.range, best, tried)
    if not isinstance(room, Interval):
        raise TypeError(f"{dimension.name}: {room} is no range of numbers")
    matters = dimension.range != declared
    return _decide_interval(dimension, dimension.range, room, best, tried, matters=matters)


# ------------------------------------------------------------------ intervals


def _decide_interval(
    dimension: Dimension,
    interval: Interval,
    room: Interval,
    best: list[Outcome],
    tried: Sequence[Outcome],
    *,
    matters: bool,
) -> LedgerRow:
    """Where the next range ends; `matters` says whether an earlier round has moved it already."""
    values, places = _values(dimension.name, best), _values(dimension.name, tried)
    # A sampler with waves may have looked beyond the round's range already.
    looked = interval.holding(places)
    spread = _share(looked, min(values), max(values))
    chance = chance_of_hull(spread, len(best))
    crowds = _crowds(looked, values, places)
    if chance >= CHANCE and not crowds:
        return _kept(
            dimension, len(best), f"kept: {_not_enough(best, len(tried), spread, chance, matters)}"
        )
    low, high = _ends(looked, values, places) if chance < CHANCE else (0.0, 1.0)
    following = _part(looked, room, low, high, crowds)
    decision, edge = decision_between(interval, following), _edge(crowds)
    found = (
        f"lie in {spread:.0%} of the range"
        if following != interval or crowds
        else "leave nothing to cut"
    )
    reason = f"{decision}: {_count(best)} {found}{_at_edges(looked, crowds)}"
    return LedgerRow(dimension.name, following, interval, len(best), RULE, decision, edge, reason)


def _not_enough(
    best: list[Outcome], tried: int, spread: float, chance: float, matters: bool
) -> str:
    """Why nothing is cut. Even elites in a range that was moved say nothing against the move."""
    if chance < WEAK_CHANCE:
        return (
            f"{_count(best)} lie in {spread:.0%} of the range, as chance alone has it in "
            f"{chance:.1%} of rounds: not enough to narrow on"
        )
    if tried < _FEWEST_TRIALS:
        what = "cut further" if matters else "tell whether it matters"
        return f"{_count(best)} of {tried} trials are too few to {what}"
    said = "nothing more to cut" if matters else "no evidence that it matters"
    return f"{_count(best)} spread over {spread:.0%} of the range, {said}"


def _values(name: str, outcomes: Sequence[Outcome]) -> list[float]:
    return [float(o.values[name]) for o in outcomes]  # type: ignore[arg-type]


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


def chance_of_hull(spread: float, count: int) -> float:
    """Probability that `count` points spread evenly at random have so narrow a hull.

    The range of n uniform points has the distribution n r^(n-1) - (n-1) r^n (David and
    Nagaraja, Order Statistics, 2.3.4).
    """
    spread = min(max(spread, 0.0), 1.0)
    return count * spread ** (count - 1) - (count - 1) * spread**count


def endpoint_margin(count: int) -> float:
    """How far beyond a hull the end of the good values may lie, as a share of the hull's length.

    Let `count` points be spread evenly at random up to an end B. Seen from the outermost on the
    other side the others lie evenly between it and B, so the hull has less than a share t of that
    stretch with probability t^(count-1). With t = MISSED^(1/(count-1)), B lies within the hull's
    length divided by t in all but MISSED of the rounds.
    """
    return float(MISSED ** (-1 / (count - 1)) - 1)


def _ends(interval: Interval, best: list[float], tried: list[float]) -> tuple[float, float]:
    """Positions of the hull of the elites with its margin, which may lie beyond the interval.

    An end beyond which nothing worse was tried stays where it is: a gap between the outermost
    elite and the end of the range says nothing against the values in it.
    """
    low, high = interval.position(min(best)), interval.position(max(best))
    margin = endpoint_margin(len(best)) * (high - low)
    start = low - margin if min(tried) < min(best) else 0.0
    end = high + margin if max(tried) > max(best) else 1.0
    return start, end


def _part(
    interval: Interval, room: Interval, low: float, high: float, crowds: Mapping[End, int]
) -> Interval:
    """What lies between two positions of the interval, opened by its width at crowded edges.

    No more than may be searched, and the whole interval where rounding would leave nothing.
    """
    low = -1.0 if "lower" in crowds else low
    high = 2.0 if "upper" in crowds else high
    first, last = room.position(interval.low), room.position(interval.high)
    start, end = (first + position * (last - first) for position in (low, high))
    if not interval.integer and room.at(start) >= room.at(end):
        return interval
    found = room.between(start, end)
    # exp(log(x)) need not be x: an end that was not moved stays what it was.
    return replace(
        found,
        low=interval.low if low == 0 else found.low,
        high=interval.high if high == 1 else found.high,
    )


# ----------------------------------------------------------------------- edges


def _crowds(interval: Interval, best: Sequence[float], tried: Sequence[float]) -> dict[End, int]:
    """How many elites lie at each open edge, where chance would rarely bring so many."""
    crowds: dict[End, int] = {}
    ends: tuple[End, End] = ("lower", "upper")
    for end in ends:
        found = _near(interval, end, best)
        share = _near(interval, end, tried) / len(tried)
        if chance_of_crowd(found, len(best), share) < CHANCE:
            crowds[end] = found
    return crowds


def _near(interval: Interval, end: End, values: Sequence[float]) -> int:
    """How many values lie in the outer part at an end."""
    places = [interval.position(value) for value in values]
    distances = places if end == "lower" else [1 - place for place in places]
    return sum(distance <= OUTER_PART for distance in distances)


def chance_of_crowd(found: int, count: int, share: float) -> float:
    """Probability that so many of `count` elites or more lie where a share of the trials was tried.

    Were the place no better than others, each elite would lie there with that probability.
    """
    from scipy.stats import binom

    return float(binom.sf(found - 1, count, share))


def _edge(crowds: Mapping[End, int]) -> Edge | None:
    if len(crowds) > 1:
        return "both"
    return next(iter(crowds), None)


def _at_edges(interval: Interval, crowds: Mapping[End, int]) -> str:
    """What open edges mean."""
    if not crowds:
        return ""
    value = {"lower": interval.low, "upper": interval.high}
    said = " and ".join(f"{n} the {end} edge {value[end]:g}" for end, n in crowds.items())
    return f"; {said.replace(' the', ' of them crowd the', 1)}: the optimum may lie beyond"


# -------------------------------------------------------------------- choices


def _decide_choices(
    dimension: Dimension, choices: Choices, best: list[Outcome], tried: Sequence[Outcome]
) -> LedgerRow:
    seen = {label(outcome.values[dimension.name]) for outcome in best}
    counts = Counter(label(outcome.values[dimension.name]) for outcome in tried)
    missing = [label(option) for option in choices.options if label(option) not in seen]
    if not missing:
        return _kept(dimension, len(best), f"kept: every choice is among the {_count(best)}")
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
        return _kept(dimension, len(best), f"kept: {reason}")
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


def _kept(dimension: Dimension, count: int, reason: str) -> LedgerRow:
    rule = CHOICES_RULE if isinstance(dimension.range, Choices) else RULE
    return LedgerRow(
        dimension.name, dimension.range, dimension.range, count, rule, "kept", None, reason
    )


def _count(best: list[Outcome]) -> str:
    return f"{len(best)} elite" + ("" if len(best) == 1 else "s")
