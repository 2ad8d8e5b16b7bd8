"""The next box: which rule decides it, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpsearch.search import elites, posterior
from hpsearch.search.design import SearchDesign
from hpsearch.search.landscape import Landscape
from hpsearch.search.ledger import LedgerRow, undone, unnarrowed
from hpsearch.search.noise import measured_noise, standard_error
from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.seeds import decision_seed
from hpsearch.space import Box

# A Gaussian process takes time with the cube of its trials; of a longer study the newest count.
MOST_TRIALS = 600


@dataclass(frozen=True)
class Known:
    """What is known when something is decided; read when it is needed.

    Attributes:
        history: All finished search trials of all rounds, in number order.
        repeats: All finished repeats of trials of the first round.
        confirmed: All finished repeats of finalists.
        validation_rows: Rows behind each score.
        confirmations: How many rounds of repeats of finalists there have been.
    """

    history: Callable[[], Sequence[Outcome]]
    repeats: Callable[[], Sequence[Outcome]]
    confirmed: Callable[[], Sequence[Outcome]]
    validation_rows: int
    confirmations: Callable[[], int] = lambda: 0


@dataclass(frozen=True)
class Model:
    """A fitted surrogate, as it is kept with the round that it opened.

    Attributes:
        noise: Standard deviation of a score around its mean over seeds, as it was estimated.
        parameters: Of the Gaussian process; see `Surrogate`.
    """

    noise: float
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Narrowing:
    """The ranges from now on, and the model they were decided with (None where there is none)."""

    ledger: tuple[LedgerRow, ...]
    model: Model | None = None


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
    if design.undone is None:
        return decided
    return replace(decided, ledger=tuple(undone(box, design.undone)))


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
    return Narrowing(tuple(elites.narrow(box, design.space, outcomes, known.validation_rows)))


def _by_posterior(
    design: SearchDesign, number: int, box: Box, outcomes: Sequence[Outcome], known: Known
) -> Narrowing | None:
    """None where no surface can be fitted to the trials."""
    try:
        landscape, noise = fitted_landscape(design, known)
        count = len(elites.elites(outcomes, known.validation_rows))
        rng = np.random.default_rng(decision_seed(design.seed, number))
        rows = posterior.narrow(box, landscape, count, rng)
    except (ValueError, np.linalg.LinAlgError):
        return None
    return Narrowing(tuple(rows), Model(noise, tuple(landscape.surrogate.parameters.tolist())))


def fitted_landscape(
    design: SearchDesign, known: Known, model: Model | None = None
) -> tuple[Landscape, float]:
    """The landscape of all trials so far, and the noise it was fitted with.

    Args:
        design: The study's design.
        known: The trials.
        model: Of an earlier fit, to be taken as it stands; None to fit one.

    Raises:
        ValueError: If there are no two different scores to fit anything to.
        LinAlgError: If the fit fails.
    """
    repeats, common = known.repeats(), design.seeds == "common"
    # Where a round shares its seed, repeats with another one have another level.
    trials = [*known.history()[-MOST_TRIALS:], *(() if common else repeats)]
    trials = [outcome for outcome in trials if not outcome.failed]
    best = ranked(trials)
    if not best or best[0].score is None or best[0].score == best[-1].score:
        raise ValueError("no two scores differ")
    if model is not None:
        parameters = np.array(model.parameters)
        return Landscape.of(design.space, trials, model.noise, parameters), model.noise
    measured = measured_noise(repeats, common=common) or 0.0
    noise = max(measured, standard_error(best[0].score, known.validation_rows))
    return Landscape.of(design.space, trials, noise), noise
