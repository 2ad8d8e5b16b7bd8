"""The control arm: the same search without narrowing, confirmed like it and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.search.design import SearchDesign
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import plan
from hpsearch.search.selection import Difference, Winner, paired_difference, repeats_of
from hpsearch.seeds import control_seed
from hpsearch.space import Value


@dataclass(frozen=True)
class Control:
    """What the control arm has come to.

    Attributes:
        winner: Its best, found as the study's is; None where none of its trials has a score.
        difference: By how much the study's winner is better; None where nothing can be compared.
    """

    winner: Winner | None
    difference: Difference | None


def control_points(design: SearchDesign) -> Sequence[dict[str, Value] | None]:
    """Values of all its trials, wherever the search may look; None where they are suggested."""
    if design.control != "random":
        return [None] * design.planned
    return plan("random", design.space.widest, design.planned, control_seed(design.seed))


def compare(
    design: SearchDesign,
    winners: tuple[Winner | None, Winner | None],
    repeats: tuple[Sequence[Outcome], Sequence[Outcome]],
) -> Control:
    """The winner of the control beside that of the search.

    Args:
        design: The study's design.
        winners: Of the search and of the control.
        repeats: Of the finalists of either; both have met the same seeds.
    """
    searched, controlled = winners
    if searched is None or controlled is None:
        return Control(controlled, None)
    mine = repeats_of(searched.candidate, repeats[0])
    yours = repeats_of(controlled.candidate, repeats[1])
    most = design.most_repeats
    unchosen = paired_difference(mine, yours, range(most, most + design.winner_repeats))
    return Control(controlled, unchosen or paired_difference(mine, yours, range(most)))
