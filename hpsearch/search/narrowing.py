"""The next box: which rule decides it, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpsearch.search import elites, posterior
from hpsearch.search.design import SearchDesign
from hpsearch.search.discarding import Curves
from hpsearch.search.landscape import Landscape
from hpsearch.search.ledger import LedgerRow, opened, undone, unnarrowed
from hpsearch.search.noise import measured_noise, noise_of
from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.seeds import decision_seed
from hpsearch.space import Box

# A Gaussian process takes time with the cube of its trials; of a longer study the newest count.
MOST_TRIALS = 600
# A search has converged when less than this share of the noise is expected to be gained.
_WORTH_A_ROUND = 0.25


@dataclass(frozen=True)
class Known:
    """What is known when something is decided; read when it is needed.

    Attributes:
        history: All finished search trials of all rounds, in number order.
        repeats: All finished repeats of trials of the first round.
        confirmed: All finished repeats of finalists.
        validation_rows: Rows behind each score.
        control: All finished trials of the control arm and repeats of its best, in number order.
        curves: Of search trials, by their numbers.
        confirmations: How many rounds of repeats of finalists there have been.
    """

    history: Callable[[], Sequence[Outcome]]
    repeats: Callable[[], Sequence[Outcome]]
    confirmed: Callable[[], Sequence[Outcome]]
    validation_rows: int
    control: Callable[[], Sequence[Outcome]] = tuple
    curves: Curves = lambda _numbers: {}
    confirmations: Callable[[], int] = lambda: 0


@dataclass(frozen=True)
class Model:
    """What a box was decided with, as it is kept with the round that it opened.

    Attributes:
        noise: Standard deviation of a score around its mean over seeds, as it was estimated.
        parameters: Of the Gaussian process, see `Surrogate`; empty where none was fitted.
    """

    noise: float
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Prospect:
    """What further rounds may bring.

    Attributes:
        gain: How much higher than at the best trial the score's maximum is expected to be.
        noise: Standard deviation of a score around its mean over seeds.
        is_open: Whether the maximum may lie beyond everything explored, within the limits.
    """

    gain: float
    noise: float
    is_open: bool

    @property
    def is_converged(self) -> bool:
        """Whether nothing is left to be found that a measurement could show."""
        return not self.is_open and self.gain < _WORTH_A_ROUND * self.noise


@dataclass(frozen=True)
class Narrowing:
    """What is decided when a round is done.

    Attributes:
        ledger: The ranges from now on.
        model: What they were decided with, None for a grid.
        prospect: What further rounds may bring; None where nobody asks, or no surface is fitted.
    """

    ledger: tuple[LedgerRow, ...]
    model: Model | None = None
    prospect: Prospect | None = None


def narrow(
    design: SearchDesign, number: int, box: Box, outcomes: Sequence[Outcome], known: Known
) -> Narrowing:
    """Decide the box of the next round.

    Args:
        design: The study's design.
        number: The round that is done.
        box: Its box.
        outcomes: Its trials.
        known: What else is known.
    """
    decided = _decided(design, number, box, outcomes, known)
    if design.undone is not None:
        decided = replace(decided, ledger=tuple(undone(box, design.undone)), prospect=None)
    if design.before is not None:
        further = tuple(opened(decided.ledger, design.before, design.space))
        # What was opened is to be looked at, however little the trials so far promise.
        prospect = decided.prospect if further == decided.ledger else None
        decided = replace(decided, ledger=further, prospect=prospect)
    return decided


def _decided(
    design: SearchDesign, number: int, box: Box, outcomes: Sequence[Outcome], known: Known
) -> Narrowing:
    """What the trials have it."""
    if design.is_grid:
        return Narrowing(tuple(unnarrowed(box)))
    if design.rule == "posterior":
        decided = _by_posterior(design, number, box, outcomes, known)
        if decided is not None:
            return decided
    noise = noise_among(design, outcomes, known)
    return Narrowing(tuple(elites.narrow(box, design.space, outcomes, noise)), Model(noise, ()))


def _by_posterior(
    design: SearchDesign, number: int, box: Box, outcomes: Sequence[Outcome], known: Known
) -> Narrowing | None:
    """None where no surface can be fitted to the trials."""
    try:
        landscape, noise = fitted_landscape(design, known)
        count = len(elites.elites(outcomes, noise_among(design, outcomes, known)))
        rng = np.random.default_rng(decision_seed(design.seed, number))
        found = posterior.narrow(box, landscape, count, rng)
        prospect = None
        if design.until_converged:
            prospect = Prospect(landscape.expected_gain(box, rng), noise, found.is_open)
    except (ValueError, np.linalg.LinAlgError):
        return None
    model = Model(noise, tuple(landscape.surrogate.parameters.tolist()))
    return Narrowing(found.rows, model, prospect)


def fitted_model(design: SearchDesign, known: Known) -> Model | None:
    """A surrogate of all trials; None where the rule uses none, or none can be fitted."""
    if design.rule != "posterior":
        return None
    try:
        landscape, noise = fitted_landscape(design, known)
    except (ValueError, np.linalg.LinAlgError):
        return None
    return Model(noise, tuple(landscape.surrogate.parameters.tolist()))


def fitted_landscape(
    design: SearchDesign, known: Known, model: Model | None = None
) -> tuple[Landscape, float]:
    """The landscape of all trials so far, and the noise it was fitted with.

    Args:
        design: The study's design.
        known: The trials.
        model: Of an earlier decision, whose fit is taken as it stands; where there is none one is
            made.

    Raises:
        ValueError: If there are no two different scores to fit anything to.
        LinAlgError: If the fit fails.
    """
    repeats = known.repeats()
    trials = [*known.history()[-MOST_TRIALS:], *repeats]
    trials = [outcome for outcome in trials if not outcome.failed]
    best = ranked(trials)
    if not best or best[0].score is None or best[0].score == best[-1].score:
        raise ValueError("no two scores differ")
    if model is not None and model.parameters:
        parameters = np.array(model.parameters)
        noise = model.noise
    else:
        parameters, noise = None, noise_among(design, trials, known)
    is_measured = measured_noise(repeats, common=design.seeds != "fresh") is not None
    found = Landscape.of(design.space, trials, noise, parameters, is_measured=is_measured)
    return found, noise


def noise_among(design: SearchDesign, outcomes: Sequence[Outcome], known: Known) -> float:
    """How far these trials' scores scatter, as far as their comparison is concerned."""
    return noise_of(
        outcomes,
        known.repeats(),
        common=design.seeds != "fresh",
        validation_rows=known.validation_rows,
    )
