"""What a round runs, and what follows when its last trial is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpsearch.search.narrowing import LedgerRow, box_of, narrow, unnarrowed
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import PLANNED, plan
from hpsearch.search.selection import Winner, choose_winner, finalists, unconfirmed_winner
from hpsearch.seeds import Purpose, plan_seed, trial_seed
from hpsearch.space import Box, Value
from hpsearch.study import StudySpec


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that waits to be claimed.

    Attributes:
        number: Its number within the purpose, from 0.
        replicate: Trials of a round with the same replicate share the seed.
        seed: Seed of its weights and minibatch order.
        values: One value per dimension; None where the sampler suggests at claim time.
        shape: Trials of one shape are trained side by side; None where there are no values yet.
    """

    number: int
    replicate: int
    seed: int
    values: dict[str, Value] | None
    shape: str | None = None


@dataclass(frozen=True)
class RoundPlan:
    """A round as it opens: its box and all its trials."""

    purpose: Purpose
    number: int
    box: Box
    trials: tuple[PlannedTrial, ...]


@dataclass(frozen=True)
class Closing:
    """What the close of a round decides.

    Attributes:
        ledger: The ranges decided from the round, empty after the confirmation.
        following: The round that opens now, None after the last.
        winner: Known once the confirmation is closed, or the last round where there is none.
    """

    ledger: tuple[LedgerRow, ...]
    following: RoundPlan | None
    winner: Winner | None

    @property
    def finished(self) -> bool:
        """Whether the search is over, with a winner or (all diverged) without."""
        return self.following is None


def first_round(spec: StudySpec) -> RoundPlan:
    """Round 1, in the box the study file declares."""
    return _search_round(spec, 1, spec.space)


def close_round(
    spec: StudySpec,
    purpose: Purpose,
    number: int,
    box: Box,
    outcomes: Sequence[Outcome],
    history: Callable[[], Sequence[Outcome]],
    validation_rows: int,
) -> Closing:
    """What follows a round of any purpose; see `close_search_round`."""
    if purpose == Purpose.CONFIRMATION:
        return close_confirmation(outcomes)
    return close_search_round(spec, number, box, outcomes, history, validation_rows)


def close_search_round(
    spec: StudySpec,
    number: int,
    box: Box,
    outcomes: Sequence[Outcome],
    history: Callable[[], Sequence[Outcome]],
    validation_rows: int,
) -> Closing:
    """Narrow after a search round and plan what follows.

    Args:
        spec: The study.
        number: The round's number, from 1.
        box: The round's box.
        outcomes: The round's own trials.
        history: Reads all search trials of all rounds, these included; called after the last
            round only, so that no round takes longer to close than the one before.
        validation_rows: Rows behind each score.
    """
    rows = unnarrowed(box) if spec.is_grid else narrow(box, spec.space, outcomes, validation_rows)
    ledger = tuple(rows)
    if number < spec.rounds:
        return Closing(ledger, _search_round(spec, number + 1, box_of(ledger)), None)
    if not spec.confirms:
        return Closing(ledger, None, unconfirmed_winner(history()))
    return Closing(ledger, confirmation_round(spec, box_of(ledger), history()), None)


def close_confirmation(repeats: Sequence[Outcome]) -> Closing:
    """Name the winner."""
    return Closing((), None, choose_winner(repeats))


def confirmation_round(spec: StudySpec, box: Box, history: Sequence[Outcome]) -> RoundPlan | None:
    """The finalists over fresh seeds; None when no trial of the search has a score.

    Every finalist meets the same seeds, and trials are numbered seed by seed, so that the
    members of one population share their minibatches.
    """
    best = finalists(history, spec.confirmation.finalists)
    if not best:
        return None
    pairs = [(seed, values) for seed in range(spec.confirmation.seeds) for values in best]
    trials = tuple(
        PlannedTrial(
            n, r, trial_seed(spec.seed, Purpose.CONFIRMATION, 1, r), values, _shape(spec, values)
        )
        for n, (r, values) in enumerate(pairs)
    )
    return RoundPlan(Purpose.CONFIRMATION, 1, box, trials)


def _search_round(spec: StudySpec, number: int, box: Box) -> RoundPlan:
    count, seed = spec.trials, plan_seed(spec.seed, number)
    points: Sequence[dict[str, Value] | None] = [None] * count
    if spec.search.sampler in PLANNED:
        points = plan(spec.search.sampler, box, count, seed)
    first = (number - 1) * count
    trials = tuple(_planned(spec, number, i, first + i, p) for i, p in enumerate(points))
    return RoundPlan(Purpose.SEARCH, number, box, trials)


def _planned(
    spec: StudySpec, round_number: int, index: int, number: int, values: dict[str, Value] | None
) -> PlannedTrial:
    replicate = 0 if spec.search.seeds == "common" else index
    seed = trial_seed(spec.seed, Purpose.SEARCH, round_number, replicate)
    return PlannedTrial(number, replicate, seed, values, _shape(spec, values))


def _shape(spec: StudySpec, values: dict[str, Value] | None) -> str | None:
    return None if values is None else spec.settings(values).shape_digest
