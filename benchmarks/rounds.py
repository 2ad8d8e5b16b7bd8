"""hpsearch's own search on a testbed: rounds, waves, repeats and confirmation, as in a study.

What decides and plans is the product's own code; only the trainings are the testbed's. The repeats
that measure the noise are trials like all others here, so they count towards the budget. Where a
round shares its seed its trials share their luck, as they would in a study; else every trial meets
the luck of its number, as that of all contenders does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from contenders import Array, Search, contender, drawn
from testbeds import Testbed

from hpsearch.search.design import SearchDesign
from hpsearch.search.ledger import LedgerRow
from hpsearch.search.narrowing import Known, fitted_landscape
from hpsearch.search.outcomes import Outcome
from hpsearch.search.rounds import (
    DoneRound,
    PlannedTrial,
    RoundPlan,
    close_round,
    first_round,
)
from hpsearch.search.selection import Winner
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Dimension, Interval
from hpsearch.study import ConfirmationSpec

Rule = Literal["posterior", "elites"]

TRIALS, WAVES = 100, 4
# So many that the binomial error is below every noise: the testbeds say what theirs is.
_ROWS = 10**9
# How a study confirms whose file says nothing of it.
_CONFIRMATION = ConfirmationSpec()


@dataclass
class SimulatedStudy:
    """A study that trains nothing."""

    bed: Testbed
    seed: int
    design: SearchDesign
    most: int
    trained: list[tuple[Purpose, Outcome]] = field(default_factory=list)
    places: list[Array] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ledgers: list[tuple[LedgerRow, ...]] = field(default_factory=list)
    winner: Winner | None = None
    elsewhere: float = 0.0

    def run(self) -> None:
        """Rounds until the budget is used up."""
        plan: RoundPlan | None = first_round(self.design)
        while plan is not None and len(self.trained) < self.most:
            plan = self._round(plan)

    def _round(self, plan: RoundPlan) -> RoundPlan | None:
        outcomes = self._trained(plan.purpose, plan.trials)
        while len(self.trained) < self.most:
            done = DoneRound(
                plan.purpose, plan.number, plan.box, outcomes, len(outcomes), plan.model
            )
            closing = close_round(self.design, done, self.known())
            if not closing.wave:
                if closing.ledger:
                    self.ledgers.append(closing.ledger)
                self.winner = closing.winner
                return closing.following
            outcomes = outcomes + self._trained(plan.purpose, closing.wave)
        return None

    def known(self, budget: int | None = None) -> Known:
        """What is known after so many trials, or now."""
        trained = self.trained[:budget]
        searched = [outcome for purpose, outcome in trained if purpose == Purpose.SEARCH]
        repeats = [outcome for purpose, outcome in trained if purpose == Purpose.REPEAT]
        confirmed = [outcome for purpose, outcome in trained if purpose == Purpose.CONFIRMATION]
        return Known(lambda: searched, lambda: repeats, lambda: confirmed, _ROWS)

    def _trained(self, purpose: Purpose, trials: Sequence[PlannedTrial]) -> list[Outcome]:
        began = time.perf_counter()
        trials = trials[: self.most - len(self.trained)]
        places = self.bed.positions([trial.values for trial in trials])
        scores = self._drawn(trials, places)
        found = [
            Outcome(t.number, t.values, None if np.isnan(s) else float(s), 0.0, t.replicate, t.seed)
            for t, s in zip(trials, scores, strict=True)
        ]
        self.trained.extend((purpose, outcome) for outcome in found)
        self.places.extend(places)
        self.scores.extend(scores)
        self.elsewhere += time.perf_counter() - began
        return found

    def _drawn(self, trials: Sequence[PlannedTrial], places: Array) -> Array:
        """Where every trial has a seed of its own, it is that of all other contenders' trials."""
        if self.design.seeds == "fresh":
            return drawn(self.bed, self.seed, len(self.trained), places)
        return self.bed.draw(places, np.array([trial.seed for trial in trials], np.int64))


@contender("hpsearch")
def hpsearch(bed: Testbed, seed: int, budgets: Sequence[int]) -> Search:
    """The declared box first, then wherever the posterior looks within the limits.

    After each budget the tried point with the best expected score less its standard deviation is
    recommended.
    """
    most = max(budgets)
    study = simulated(bed, seed, most)
    began = time.perf_counter()
    study.run()
    positions, scores = np.array(study.places), np.array(study.scores)
    recommended = np.array([_recommended(study, positions, budget) for budget in budgets])
    seconds = time.perf_counter() - began - study.elsewhere
    return Search(positions, scores, recommended, seconds)


def simulated(
    bed: Testbed,
    seed: int,
    most: int,
    rule: Rule = "posterior",
    rounds: int | None = None,
    finalists: int = 0,
) -> SimulatedStudy:
    """A study of a testbed, not begun yet, that ends after so many trials at the latest.

    Sampler and seeds are those that go with the rule, and the confirmation is the default one.

    Args:
        bed: The testbed.
        seed: Of the study.
        most: Trials of every purpose together.
        rule: Who narrows.
        rounds: Of 100 trials each; None for as many as it takes.
        finalists: 0 for a study without confirmation.
    """
    is_model_free = rule == "elites"
    design = SearchDesign(
        space=_space(bed),
        rounds=rounds or -(-most // TRIALS),
        trials=TRIALS,
        waves=1 if is_model_free else WAVES,
        sampler="sobol" if is_model_free else "auto",
        rule=rule,
        seeds="common" if is_model_free else "blocks",
        seed=seed,
        finalists=finalists,
        repeats=_CONFIRMATION.seeds,
        most_repeats=_CONFIRMATION.most,
        winner_repeats=_CONFIRMATION.winner_seeds,
    )
    return SimulatedStudy(bed, seed, design, most)


def _space(bed: Testbed) -> Box:
    """The declared box with the limits where these are wider."""
    pairs = zip(bed.declared.dimensions, bed.limits.dimensions, strict=True)
    return Box(
        tuple(
            Dimension(inner.name, inner.range, outer.range)
            if inner != outer and isinstance(outer.range, Interval)
            else inner
            for inner, outer in pairs
        )
    )


def _recommended(study: SimulatedStudy, positions: Array, budget: int) -> Array:
    values = [outcome.values for _, outcome in study.trained[:budget]]
    landscape, _ = fitted_landscape(study.design, study.known(budget))
    return positions[int(np.argmax(landscape.cautious(values)))]
