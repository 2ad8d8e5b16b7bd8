"""What a finished trial tells the search, and the order of outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.space import Value, label


@dataclass(frozen=True)
class Outcome:
    """One finished trial.

    Attributes:
        number: The trial's number within its purpose.
        values: One value per dimension.
        score: Validation score, larger is better; None where the trial diverged, failed or was
            discarded.
        loss: Validation loss at the same epoch; None where there is no score.
        replicate: Which of the round's seeds it was trained with.
        seed: The seed itself; None where nobody knows it.
        failed: Whether it broke off for reasons of its own (an error, lost workers): unlike a
            diverged trial, it says nothing about its values.
        stands_for: What the score of a discarded trial is taken for by a surrogate.
    """

    number: int
    values: dict[str, Value]
    score: float | None
    loss: float | None
    replicate: int = 0
    seed: int | None = None
    failed: bool = False
    stands_for: float | None = None

    @property
    def modelled(self) -> float | None:
        """What a surrogate is told; a discarded trial is no elite and no finalist by it."""
        return self.stands_for if self.score is None else self.score


def distinct(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One of those with the same values and the same seed, which tell nothing twice."""
    found: dict[tuple[object, ...], Outcome] = {}
    for outcome in outcomes:
        seed = ("number", outcome.number) if outcome.seed is None else ("seed", outcome.seed)
        found.setdefault((signature(outcome.values), seed, outcome.failed), outcome)
    return list(found.values())


def ranked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes that have a score, best first; ties go to the lower loss, then number."""
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    return sorted(scored, key=rank)


def configurations(outcomes: Iterable[Outcome]) -> list[dict[str, Value]]:
    """Values of the distinct trials that have a score, best first."""
    found: dict[str, dict[str, Value]] = {}
    for outcome in ranked(outcomes):
        found.setdefault(signature(outcome.values), outcome.values)
    return list(found.values())


def signature(values: dict[str, Value]) -> str:
    """Equal where the values are."""
    return "\0".join(f"{name}={label(values[name])}" for name in sorted(values))


def rank(outcome: Outcome) -> tuple[float, float, int]:
    """What trials are ordered by, best first: score, then lower loss, then lower number."""
    score = float("-inf") if outcome.score is None else outcome.score
    loss = float("inf") if outcome.loss is None else outcome.loss
    return -score, loss, outcome.number
