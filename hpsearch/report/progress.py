"""How far a search is, as the screen needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        phase: "search", "repeat", "confirmation", "control", "final" or None between them.
        round: The open round's number.
        best_score: Best score of the search so far.
        workers: Workers alive.
        finished: Finished search trials.
        planned: Search trials over all rounds.
        running: Trials being trained now.
        repeats: Repeats of trials for the noise, or of finalists; 0 before they are known.
        repeated: Finished repeats.
        control: Trials of the control arm, and repeats of its best once they are known.
        controlled: Those of them that are finished.
        trained: All finished trials, whatever they were for.
        seconds: Since this `start` began to train.
        uncopied: Finished trials that MLflow does not have yet; 0 where nothing is copied.
        outage: Why the database cannot be asked just now; the rest is then as it was before.
    """

    phase: str | None
    round: int | None
    best_score: float | None
    workers: int
    finished: int
    planned: int
    running: int
    repeats: int
    repeated: int
    control: int
    controlled: int
    trained: int
    seconds: float
    uncopied: int = 0
    outage: str | None = None
