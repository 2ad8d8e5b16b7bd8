"""Optuna's pruners, asked after every measurement about the trials known when one was claimed.

Nothing is written meanwhile: a study in memory holds the finished trials with their curves. What it
says depends on who had finished by then. Of Optuna's pruners only those fit that compare a trial
with finished ones: halving and hyperband go by marks that trials leave in the order they report,
and Wilcoxon's compares instances, not epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpsearch.search.discarding import METRIC, Below

if TYPE_CHECKING:
    import optuna

# Nobody is asked about before so many updates: curves cross most at their beginning.
_LEAST_UPDATES = 80


@dataclass(frozen=True)
class KnownCurve:
    """A finished trial as a pruner sees it.

    Attributes:
        score: Its score.
        accuracies: Validation accuracy by epoch or iteration.
    """

    score: float
    accuracies: Mapping[int, float]


@dataclass(frozen=True)
class PrunerRule:
    """What a trial is stopped by.

    Attributes:
        study: The finished trials with the pruner; trials of one claim may share it.
        spared: Whether the trial runs on all the same.
    """

    study: optuna.Study
    spared: bool

    def judge(self, per_step: int, last: int) -> PrunerJudge:  # noqa: ARG002 - as of a band
        """A judge of one training."""
        return PrunerJudge(self.study, per_step, spared=self.spared)


class PrunerJudge:
    """Follows one trial and says when to stop it.

    Args:
        study: The finished trials, with the pruner.
        per_step: Updates from one epoch or iteration to the next.
        spared: Whether it runs on all the same.
    """

    def __init__(self, study: optuna.Study, per_step: int, *, spared: bool) -> None:
        self._trial, self._per_step, self._spared = study.ask(), per_step, spared
        self._level = -math.inf
        self.below: Below | None = None

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Look at a measurement: whether to stop now."""
        self._level = max(self._level, metrics[METRIC])
        self._trial.report(metrics[METRIC], step)
        if self.below is not None or step * self._per_step < _LEAST_UPDATES:
            return False
        if not self._trial.should_prune():
            return False
        # A pruner names no figure, nor where the trial would have come to: no further than it was.
        self.below = Below(step, None, self._level)
        return not self._spared


def pruner_study(name: str, known: Sequence[KnownCurve]) -> optuna.Study:
    """A study in memory that holds what is known.

    Args:
        name: The pruner: "median".
        known: Complete trials.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners = {"median": optuna.pruners.MedianPruner}
    study = optuna.create_study(direction="maximize", pruner=pruners[name]())
    study.add_trials(
        [
            optuna.trial.create_trial(value=k.score, intermediate_values=dict(k.accuracies))
            for k in known
        ]
    )
    return study
