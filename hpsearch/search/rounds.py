"""What a round runs, and what follows when its last trial is done."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from hpsearch.search import posterior
from hpsearch.search.bands import planned_bands
from hpsearch.search.control import Control, compare, control_points
from hpsearch.search.design import SearchDesign
from hpsearch.search.discarding import Band
from hpsearch.search.ledger import LedgerRow, box_of, declared
from hpsearch.search.narrowing import (
    MOST_TRIALS,
    Known,
    Model,
    Prospect,
    fitted_landscape,
    fitted_model,
    narrow,
)
from hpsearch.search.noise import SEEDS, repeated
from hpsearch.search.outcomes import Outcome, configurations
from hpsearch.search.proposals import propose, wave_sizes
from hpsearch.search.sampling import PLANNED, plan
from hpsearch.search.selection import (
    Race,
    Winner,
    choose_winner,
    in_turn,
    measured_winner,
    race,
    unconfirmed_winner,
)
from hpsearch.seeds import Purpose, plan_seed, trial_seed
from hpsearch.space import Box, Value

# So many trials share a seed where seeds come in blocks: comparisons among them are free of its
# luck, and a round still meets a dozen seeds.
_BLOCK = 8
# So many seeds are added at a time for finalists that cannot be told apart.
_MORE_SEEDS = 2


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
    """A round as it opens.

    Attributes:
        purpose: What it is for.
        number: Its number within the purpose, from 1.
        box: Where its trials are placed.
        trials: Its trials, or the first wave of them.
        size: How many trials it has in all.
        model: What later waves are planned with, None where they fit their own.
        bands: What its trials are judged by, with what was planned with them.
    """

    purpose: Purpose
    number: int
    box: Box
    trials: tuple[PlannedTrial, ...]
    size: int
    model: Model | None = None
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True)
class Closing:
    """What is decided when all trials of a round that have been planned are done.

    Attributes:
        ledger: The ranges of the next search round, empty where none are decided.
        following: The round that opens now, None after the last.
        winner: Known once the confirmation is closed, or the last round where there is none; with
            a control arm, once that is.
        control: What the control arm has come to, known with the winner.
        wave: More trials of the same round, which then goes on instead of being closed.
        bands: What the round's trials are judged by, those of the wave included.
        early: Why the search is over before its last round, None where it is not.
    """

    ledger: tuple[LedgerRow, ...] = ()
    following: RoundPlan | None = None
    winner: Winner | None = None
    control: Control | None = None
    wave: tuple[PlannedTrial, ...] = ()
    bands: tuple[Band, ...] = ()
    early: Prospect | None = None

    @property
    def searches_on(self) -> bool:
        """Whether another search round opens."""
        return self.following is not None and self.following.purpose == Purpose.SEARCH

    @property
    def finished(self) -> bool:
        """Whether the search is over, with a winner or (all diverged) without."""
        return self.following is None and not self.wave

    def round_after(self, done: DoneRound) -> int:
        """The search round that the ledger is of."""
        if self.following is not None and self.searches_on:
            return self.following.number
        return done.number + 1


@dataclass(frozen=True)
class DoneRound:
    """A round whose trials so far are all done.

    Attributes:
        purpose: What it is for.
        number: Its number within the purpose.
        box: Its box.
        outcomes: Its finished trials that had values, in number order.
        finished: How many trials it has finished, those without values too.
        model: What its later waves are planned with.
        bands: What its trials so far were judged by.
    """

    purpose: Purpose
    number: int
    box: Box
    outcomes: Sequence[Outcome]
    finished: int
    model: Model | None = None
    bands: tuple[Band, ...] = ()


def first_round(design: SearchDesign) -> RoundPlan:
    """Round 1, in the box the study file declares."""
    return _search_round(design, 1, box_of(declared(design.space)), None)


def close_round(design: SearchDesign, done: DoneRound, known: Known) -> Closing:
    """What follows a round of any purpose.

    Args:
        design: The study's design.
        done: The round.
        known: What else is known; all search trials are read after a search round that is narrowed
            by them, after the last, and where trials may be stopped for every wave.
    """
    if done.purpose == Purpose.CONFIRMATION:
        return _close_confirmation(design, done, known)
    if done.purpose == Purpose.CONTROL:
        return _close_control(design, done, known)
    if done.purpose == Purpose.SEARCH and done.finished < design.trials:
        wave = _next_wave(design, done, known)
        bands = (*done.bands, *planned_bands(design, known, wave[0].number))
        return Closing(wave=wave, bands=bands)
    if _is_first(done) and design.measures_noise and not known.repeats():
        repeats = _repeat_round(design, done)
        if repeats.trials:
            return Closing(following=repeats)
    return _close_search_round(design, done, known)


def _is_first(done: DoneRound) -> bool:
    return done.purpose == Purpose.SEARCH and done.number == 1


def _close_search_round(design: SearchDesign, done: DoneRound, known: Known) -> Closing:
    """Narrow after a search round, or the repeats of one, and plan what follows."""
    outcomes = _outcomes(design, done, known)
    narrowing = narrow(design, done.number, done.box, outcomes, known)
    box = box_of(narrowing.ledger)
    is_last, prospect = done.number >= design.rounds, narrowing.prospect
    early = None if is_last or prospect is None or not prospect.is_converged else prospect
    if not is_last and early is None:
        following = _search_round(design, done.number + 1, box, narrowing.model, known)
        return Closing(narrowing.ledger, following)
    if not design.confirms:
        winner = unconfirmed_winner(known.history())
        return Closing(narrowing.ledger, None, winner, early=early)
    best = _finalists(design, known, narrowing.model)
    again = confirmation_round(design, box, best, known.confirmed(), known.confirmations())
    return Closing(narrowing.ledger, again, early=early)


def _outcomes(design: SearchDesign, done: DoneRound, known: Known) -> Sequence[Outcome]:
    """The search trials that a decision is about: also where it is made after their repeats."""
    if done.purpose == Purpose.SEARCH:
        return done.outcomes
    first = (done.number - 1) * design.trials
    return [o for o in known.history() if first <= o.number < first + design.trials]


def _finalists(design: SearchDesign, known: Known, model: Model | None) -> list[dict[str, Value]]:
    """The best trials as they were measured, or in turn with the best by their expected score.

    A measured score flatters who was lucky, an expected one is wrong beside a cliff.
    """
    measured = configurations(known.history())
    if model is None or not model.parameters:
        return measured[: design.finalists]
    landscape, _ = fitted_landscape(design, known, model)
    measured = measured[:MOST_TRIALS]
    order = np.argsort(-landscape.cautious(measured), kind="stable")
    return in_turn([measured[index] for index in order], measured)[: design.finalists]


def confirmation_round(
    design: SearchDesign,
    box: Box,
    best: Sequence[dict[str, Value]],
    earlier: Sequence[Outcome] = (),
    rounds: int = 0,
) -> RoundPlan | None:
    """The finalists over fresh seeds; None when there are none: no trial has a score.

    Args:
        design: The study's design.
        box: Where the search would go on.
        best: The finalists.
        earlier: All repeats of earlier confirmations; none of their seeds is used again.
        rounds: How many rounds those had.
    """
    if not best:
        return None
    first = max((outcome.number for outcome in earlier), default=-1) + 1
    seed = _first_seed(design, earlier) + design.confirmation_seeds if earlier else 0
    seeds = range(seed, seed + design.repeats)
    trials = _over_seeds(design, Purpose.CONFIRMATION, best, seeds, first)
    return RoundPlan(Purpose.CONFIRMATION, rounds + 1, box, trials, len(trials))


def _first_seed(design: SearchDesign, repeats: Sequence[Outcome]) -> int:
    """The first seed of the newest confirmation; each has a stretch of seeds of its own."""
    newest = max((outcome.replicate for outcome in repeats), default=0)
    return newest - newest % design.confirmation_seeds


def _newest_repeats(
    design: SearchDesign, repeats: Sequence[Outcome]
) -> tuple[int, Sequence[Outcome]]:
    """The first seed of the newest confirmation, and its repeats by their place among its seeds."""
    first = _first_seed(design, repeats)
    return first, _counted_from(first, repeats)


def _counted_from(first: int, repeats: Sequence[Outcome]) -> Sequence[Outcome]:
    """Repeats over seeds from one on, which is then the first."""
    return [replace(o, replicate=o.replicate - first) for o in repeats if o.replicate >= first]


def _close_confirmation(design: SearchDesign, done: DoneRound, known: Known) -> Closing:
    """Go on with the repeats, begin the control arm, or end with the winner."""
    confirmed = known.confirmed()
    seed, repeats = _newest_repeats(design, confirmed)
    found = _after_repeats(design, repeats)
    if isinstance(found, _Further):
        number = max(outcome.number for outcome in confirmed) + 1
        return Closing(following=_further_round(design, done, found, number, seed))
    if found is None or design.control is None:
        return Closing(winner=found)
    return Closing(following=_control_round(design))


@dataclass(frozen=True)
class _Further:
    """Who meets which seeds next, counted from the first of the confirmation."""

    configurations: Sequence[dict[str, Value]]
    seeds: Sequence[int]


def _after_repeats(design: SearchDesign, repeats: Sequence[Outcome]) -> _Further | Winner | None:
    """Run on those that cannot be told apart, measure the winner, or name it.

    Returns:
        None where no repeat has a score.
    """
    racing = [o for o in repeats if o.replicate < design.most_repeats]
    measured = [o for o in repeats if o.replicate >= design.most_repeats]
    if design.races:
        found = race(racing, design.simplicity)
    else:
        found = Race((), design.repeats, choose_winner(racing))
    winner, most = found.winner, design.most_repeats
    if winner is None:
        return None
    if len(found.running) > 1 and found.seeds < most and not measured:
        return _Further(found.running, range(found.seeds, most)[:_MORE_SEEDS])
    if design.winner_repeats and not measured:
        seeds = range(most, most + design.winner_repeats)
        return _Further((winner.candidate.values,), seeds)
    return measured_winner(winner, measured)


def _further_round(
    design: SearchDesign, done: DoneRound, further: _Further, number: int, seed: int
) -> RoundPlan:
    """Another round of repeats, from a number on; the control's meet the confirmation's seeds."""
    seeds = [seed + place for place in further.seeds]
    trials = _over_seeds(design, Purpose.CONFIRMATION, further.configurations, seeds, number)
    return RoundPlan(done.purpose, done.number + 1, done.box, trials, len(trials))


def _repeat_round(design: SearchDesign, done: DoneRound) -> RoundPlan:
    """Some trials of the round over fresh seeds, to see how far scores scatter."""
    trials = _over_seeds(design, Purpose.REPEAT, repeated(done.outcomes), range(SEEDS))
    return RoundPlan(Purpose.REPEAT, 1, done.box, trials, len(trials))


def _over_seeds(
    design: SearchDesign,
    purpose: Purpose,
    configurations: Sequence[dict[str, Value]],
    seeds: Sequence[int],
    first: int = 0,
) -> tuple[PlannedTrial, ...]:
    """Every configuration meets the same seeds.

    Trials are numbered seed by seed, so that the members of one population share their minibatches.
    """
    pairs = [(seed, values) for seed in seeds for values in configurations]
    return tuple(
        PlannedTrial(n, r, trial_seed(design.seed, purpose, 1, r), values, design.shape(values))
        for n, (r, values) in enumerate(pairs, start=first)
    )


# ------------------------------------------------------------------- control arm


def _control_round(design: SearchDesign) -> RoundPlan:
    """As many trials as the search has, in the widest box, with seeds of their own."""
    points = control_points(design)
    trials = tuple(_control_trial(design, index, values) for index, values in enumerate(points))
    return RoundPlan(Purpose.CONTROL, 1, design.space.widest, trials, len(trials))


def _control_trial(
    design: SearchDesign, index: int, values: dict[str, Value] | None
) -> PlannedTrial:
    """Seeds are shared by as many trials as share one in the search."""
    is_common = design.seeds == "common"
    replicate = _wave_of(design, index) if is_common else _replicate(design, 0, index)
    seed = trial_seed(design.seed, Purpose.CONTROL, 1, replicate)
    return PlannedTrial(index, replicate, seed, values, _shape(design, values))


def _wave_of(design: SearchDesign, index: int) -> int:
    """In which wave of all rounds the search has its trial of this number."""
    rounds = range(1, design.rounds + 1)
    sizes = [n for number in rounds for n in wave_sizes(design.trials, design.waves, number)]
    return bisect_right(list(accumulate(sizes)), index)


def _close_control(design: SearchDesign, done: DoneRound, known: Known) -> Closing:
    """Repeat the control's best as those of the search were, then compare the winners."""
    seed, confirmed = _newest_repeats(design, known.confirmed())
    outcomes = known.control()
    trials = [o for o in outcomes if o.number < design.planned]
    repeats = _counted_from(seed, outcomes[len(trials) :])
    found: _Further | Winner | None
    if done.number == 1:
        best = _control_finalists(design, known, trials)
        found = _Further(best, range(design.repeats)) if best else None
    else:
        found = _after_repeats(design, repeats)
    if isinstance(found, _Further):
        number = max((o.number for o in repeats), default=design.planned - 1) + 1
        return Closing(following=_further_round(design, done, found, number, seed))
    winner = _after_repeats(design, confirmed)
    if isinstance(winner, _Further):
        raise TypeError("the control arm was begun before the confirmation was over")
    return Closing(winner=winner, control=compare(design, (winner, found), (confirmed, repeats)))


def _control_finalists(
    design: SearchDesign, known: Known, trials: Sequence[Outcome]
) -> list[dict[str, Value]]:
    """Found as those of the search are, from nothing but the control's own trials."""
    own = replace(known, history=lambda: trials, repeats=tuple)
    return _finalists(design, own, fitted_model(design, own))


# ------------------------------------------------------------------------- waves


def _search_round(
    design: SearchDesign, number: int, box: Box, model: Model | None, known: Known | None = None
) -> RoundPlan:
    """A round with its first wave."""
    sizes = wave_sizes(design.trials, design.waves, number)
    points = _points(design, number, box, known, model, 0, sizes[0])
    trials = _planned(design, number, 0, 0, points)
    bands = planned_bands(design, known, trials[0].number)
    return RoundPlan(Purpose.SEARCH, number, box, trials, design.trials, model, bands)


def _next_wave(design: SearchDesign, done: DoneRound, known: Known) -> tuple[PlannedTrial, ...]:
    ends = list(accumulate(wave_sizes(design.trials, design.waves, done.number)))
    wave = bisect_right(ends, done.finished)
    count = ends[wave] - done.finished
    points = _points(design, done.number, done.box, known, done.model, wave, count)
    return _planned(design, done.number, wave, done.finished, points)


def _points(
    design: SearchDesign,
    number: int,
    box: Box,
    known: Known | None,
    model: Model | None,
    wave: int,
    count: int,
) -> Sequence[dict[str, Value] | None]:
    """Values of a wave; None for each trial whose values are suggested when it is claimed."""
    seed = plan_seed(design.seed, number, wave)
    if design.sampler in PLANNED:
        return plan(design.sampler, box, count, seed)
    if design.sampler != "auto":
        return [None] * count
    if known is None:
        return plan("sobol", box, count, seed)
    rng = np.random.default_rng(seed)
    try:
        landscape, _ = fitted_landscape(design, known, model)
        if number == 1 and design.rule == "posterior":
            # Nothing has been narrowed yet, but an edge may be open, and the limits lie beyond.
            box = box_of(posterior.narrow(box, landscape, 0, rng).rows)
        return propose(box, landscape, count, rng)
    except (ValueError, np.linalg.LinAlgError):
        return plan("sobol", box, count, seed)


def _planned(
    design: SearchDesign,
    number: int,
    wave: int,
    first: int,
    points: Sequence[dict[str, Value] | None],
) -> tuple[PlannedTrial, ...]:
    """Trials of a wave, which has those of its round from trial `first` on."""
    return tuple(
        _trial(design, number, _replicate(design, wave, index), index, values)
        for index, values in enumerate(points, start=first)
    )


def _replicate(design: SearchDesign, wave: int, index: int) -> int:
    """Which of the round's seeds a trial has, by its place in the round."""
    if design.seeds == "common":
        return wave
    return index // _BLOCK if design.seeds == "blocks" else index


def _trial(
    design: SearchDesign, number: int, replicate: int, index: int, values: dict[str, Value] | None
) -> PlannedTrial:
    seed = trial_seed(design.seed, Purpose.SEARCH, number, replicate)
    shape = _shape(design, values)
    return PlannedTrial((number - 1) * design.trials + index, replicate, seed, values, shape)


def _shape(design: SearchDesign, values: dict[str, Value] | None) -> str | None:
    return None if values is None else design.shape(values)
