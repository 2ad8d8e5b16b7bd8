"""What the search needs to know of a study, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from hpsearch.search.ledger import Undone
from hpsearch.settings import TrialSettings
from hpsearch.space import Box, Value
from hpsearch.study import StudySpec

# A wave is worth planning for so many trials.
_LEAST_WAVE = 8


@dataclass(frozen=True)
class SearchDesign:
    """How a study searches.

    Attributes:
        space: The declared box, with limits.
        rounds: How many rounds.
        trials: Trials in a round.
        waves: Parts that a round is planned in, each once the one before is done.
        sampler: Who places trials.
        rule: Who decides the next box.
        seeds: Which trials share a seed: all of a wave, blocks of eight, or none.
        seed: The study's seed.
        finalists: How many of the best are run again; 0 for none.
        repeats: Over how many fresh seeds, all of them.
        most_repeats: Over how many fresh seeds those that cannot be told apart.
        winner_repeats: Over how many more the winner, whose score is then theirs.
        shape: Name of what can be trained side by side, for given values.
        simplicity: How simple a network with given values is: of two tuples the smaller is simpler.
        control: Who places the trials of the control arm; None where there is none.
        discards: Whether a trial is stopped when it falls below the band of its wave.
        until_converged: Whether a search with nothing left to gain is over before its last round.
        undone: What the next box takes back, None where it is decided from the trials.
        before: The widest ranges before limits were moved out, None where they are as they were.
    """

    space: Box
    rounds: int
    trials: int
    waves: int
    sampler: str
    rule: Literal["posterior", "elites"]
    seeds: Literal["common", "blocks", "fresh"]
    seed: int
    finalists: int
    repeats: int
    most_repeats: int
    winner_repeats: int
    shape: Callable[[dict[str, Value]], str | None] = lambda _values: None
    simplicity: Callable[[dict[str, Value]], tuple[float, ...]] = lambda _values: ()
    control: str | None = None
    discards: bool = False
    until_converged: bool = False
    undone: Undone | None = None
    before: Box | None = None

    @classmethod
    def of(cls, spec: StudySpec) -> Self:
        """The design of a study file."""
        return cls(
            space=spec.space,
            rounds=spec.rounds,
            trials=spec.trials,
            waves=_waves(spec),
            sampler=spec.search.sampler,
            rule=spec.narrowing,
            seeds=spec.seeds,
            seed=spec.seed,
            finalists=spec.confirmation.finalists,
            repeats=spec.confirmation.seeds,
            most_repeats=spec.confirmation.most,
            winner_repeats=spec.confirmation.winner_seeds,
            shape=lambda values: spec.settings(values).shape_digest,
            simplicity=lambda values: _simplicity(spec.settings(values)),
            control=spec.search.control,
            discards=spec.search.discard == "auto",
            until_converged=spec.search.until == "converged",
        )

    @property
    def planned(self) -> int:
        """Trials of the search over all rounds; the control arm has as many."""
        return self.rounds * self.trials

    @property
    def is_grid(self) -> bool:
        """Whether every combination is tried once, and nothing is narrowed."""
        return self.sampler == "grid"

    @property
    def confirms(self) -> bool:
        """Whether the best are run again."""
        return self.finalists > 0

    @property
    def races(self) -> bool:
        """Whether finalists that cannot be told apart meet more seeds than the others."""
        return self.most_repeats > self.repeats

    @property
    def confirmation_seeds(self) -> int:
        """How many seeds one confirmation may use; another one after it begins behind them."""
        return self.most_repeats + self.winner_repeats

    @property
    def measures_noise(self) -> bool:
        """Whether some trials of the first round are repeated before the second."""
        return self.rounds > 1 and not self.is_grid


def _simplicity(settings: TrialSettings) -> tuple[float, ...]:
    """Fewer units first, then stronger decay."""
    training = settings.training
    decay = sum(filter(None, (training.weight_decay, training.l2, training.l1, training.linf)))
    return sum(settings.model.hidden), len(settings.model.hidden), -decay


def _waves(spec: StudySpec) -> int:
    if spec.search.sampler != "auto":
        return 1
    if spec.search.waves is not None:
        return min(spec.search.waves, spec.trials)
    return max(1, min(4, spec.trials // _LEAST_WAVE))
