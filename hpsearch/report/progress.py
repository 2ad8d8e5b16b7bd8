"""How far a search is, as the screen needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        phase: "search", "confirmation", "final" or None between them.
        round: The open round's number.
        counts: Trials by purpose and state.
        best_score: Best score of the search so far.
        workers: Workers alive.
        finished: Finished search trials.
        planned: Search trials over all rounds.
        seconds: Since this `start` began to train.
        outage: Why the database cannot be asked just now; the rest is then as it was before.
    """

    phase: str | None
    round: int | None
    counts: dict[str, dict[str, int]]
    best_score: float | None
    workers: int
    finished: int
    planned: int
    seconds: float
    outage: str | None = None
