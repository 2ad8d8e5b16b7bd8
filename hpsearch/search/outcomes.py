"""What a finished trial tells the search, and the order of outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.space import Value


@dataclass(frozen=True)
class Outcome:
    """One finished trial.

    Attributes:
        number: The trial's number within its purpose.
        values: One value per dimension.
        score: Validation score, larger is better; None where the trial diverged or failed.
        loss: Validation loss at the same epoch; None where there is no score.
        replicate: Which of the round's seeds it was trained with.
        seed: The seed itself; None where nobody knows it.
        failed: Whether it broke off for reasons of its own (an error, lost workers): unlike a
            diverged trial, it says nothing about its values.
    """

    number: int
    values: dict[str, Value]
    score: float | None
    loss: float | None
    replicate: int = 0
    seed: int | None = None
    failed: bool = False


def ranked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes that have a score, best first; ties go to the lower loss, then number."""
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    return sorted(scored, key=_rank)


def _rank(outcome: Outcome) -> tuple[float, float, int]:
    score = float("-inf") if outcome.score is None else outcome.score
    loss = float("inf") if outcome.loss is None else outcome.loss
    return -score, loss, outcome.number
