"""The ledger: the range of every dimension, round by round, and the written reason for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from hpsearch.space import Box, Dimension, Interval, Range

Decision = Literal["declared", "narrowed", "kept", "moved", "widened", "undone"]
End = Literal["lower", "upper"]
Edge = Literal["lower", "upper", "both"]
# The rule of a range that nothing but a wish has decided.
UNDO = "undo"


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
        edge: Edges that the optimum may lie beyond, None for none.
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


def unnarrowed(box: Box) -> list[LedgerRow]:
    """The ledger after a grid: it has tried every combination, so there is no next box."""
    reason = "kept: a grid tries every combination once and narrows nothing"
    return [
        LedgerRow(d.name, d.range, d.range, 0, "grid", "kept", None, reason) for d in box.dimensions
    ]


@dataclass(frozen=True)
class Undone:
    """A narrowing that somebody takes back.

    Attributes:
        round: The round it opened.
        box: Of the round before that one.
    """

    round: int
    box: Box


def undone(box: Box, undo: Undone) -> list[LedgerRow]:
    """The ledger of a round that begins from an earlier box, whatever its trials would have it."""
    reason = (
        f"undone: the range of round {undo.round - 1} again, because somebody asked to take back "
        f"what opened round {undo.round}"
    )
    return [
        LedgerRow(d.name, undo.box[d.name], d.range, 0, UNDO, "undone", None, reason)
        for d in box.dimensions
    ]


def opened(rows: Sequence[LedgerRow], before: Box, space: Box) -> list[LedgerRow]:
    """The ledger of a round that begins with limits which somebody has moved out.

    Who asks to look further wants to: a range reaches beyond an end that was moved, by its declared
    width at most, also where the newest trials alone would not have it grow there.

    Args:
        rows: What the trials have it.
        before: The widest ranges of before.
        space: The declared box, with the limits of now.
    """
    return [_opened(row, before[row.dimension], space) for row in rows]


def _opened(row: LedgerRow, before: Range, space: Box) -> LedgerRow:
    declared, widest = space[row.dimension], space.widest[row.dimension]
    ranges = (row.range, before, declared, widest)
    if not all(isinstance(range_, Interval) for range_ in ranges):
        return row
    now, old, first, limits = cast(tuple[Interval, Interval, Interval, Interval], ranges)
    start, end = limits.position(old.low), limits.position(old.high)
    width = limits.position(first.high) - limits.position(first.low)
    further = limits.between(max(start - width, 0.0), min(end + width, 1.0))
    grown = replace(
        now,
        low=min(now.low, further.low) if limits.low < old.low else now.low,
        high=max(now.high, further.high) if limits.high > old.high else now.high,
    )
    if grown == now or row.previous is None:
        return row
    said = row.reason.partition(": ")[2]
    decision = "undone" if row.rule == UNDO else decision_between(row.previous, grown)
    where = f"{grown.low:.3g} .. {grown.high:.3g}"
    reason = f"{decision}: {said}; opened to {where}, as its limits were moved out"
    return replace(row, range=grown, decision=decision, reason=reason)


def decision_between(before: Range, after: Range) -> Decision:
    """Kept, narrowed (nothing new is in it), moved (something is, and it is no wider), widened."""
    if after == before:
        return "kept"
    if isinstance(before, Interval) and isinstance(after, Interval):
        inside = before.low <= after.low and after.high <= before.high
        wider = before.position(after.high) - before.position(after.low) > 1
    else:
        inside = all(before.contains(value) for value in after.ends())
        wider = len(after.ends()) > len(before.ends())
    if inside:
        return "narrowed"
    return "widened" if wider else "moved"


def shut_ends(previous: Range, following: Range, widest: Range, edge: Edge | None) -> list[End]:
    """Ends that the optimum may lie beyond, where nothing further may be searched.

    A declared edge that the range has left behind is named too, and is none of them.

    Args:
        previous: The range of the round.
        following: That of the next.
        widest: What may be searched.
        edge: Ends that the optimum may lie beyond.
    """
    reached = [end for end in ends_reached(previous, widest) if edge in {end, "both"}]
    return [end for end in reached if end in ends_reached(following, widest)]


def ends_reached(range_: Range, widest: Range) -> list[End]:
    """Ends at which a range has come as far as it may; choices have none."""
    if not isinstance(range_, Interval) or not isinstance(widest, Interval):
        return []
    reached: dict[End, bool] = {
        "lower": range_.low <= widest.low,
        "upper": range_.high >= widest.high,
    }
    return [end for end, is_there in reached.items() if is_there]


def box_of(rows: Sequence[LedgerRow]) -> Box:
    """The box that ledger rows of one round describe."""
    return Box(tuple(Dimension(row.dimension, row.range) for row in rows))
