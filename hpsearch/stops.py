"""Trials that were stopped early, against the bands they were judged by and their own curves."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hpsearch.search.bands import rule_of
from hpsearch.search.discarding import METRIC
from hpsearch.search.rounds import RoundPlan
from hpsearch.states import TrialState
from hpsearch.store.record import RecordedRound, RecordedTrial, StudyRecord

_TRAINED = (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.DISCARDED)


def unlike_bands(plan: RoundPlan, found: RecordedRound) -> str | None:
    """How the bands of a round differ from those decided again; None where they do not."""
    if found.bands == plan.bands:
        return None
    firsts, again = ([band.first for band in r.bands] for r in (found, plan))
    if firsts != again:
        return f"bands from trials {firsts} on in the database, from {again} on decided again"
    first = next(f.first for f, p in zip(found.bands, plan.bands, strict=True) if f != p)
    return f"the band of trials from {first} on is not the one decided again"


def unlike_judgements(record: StudyRecord) -> Iterator[str]:
    """Every trial whose row does not say what its curve and its band lead to."""
    for trial in record.trials:
        if trial.state in _TRAINED and trial.id in record.curves:
            why = _unlike(record, trial)
            if why is not None:
                yield f"{trial.name}: {why}"


def _unlike(record: StudyRecord, trial: RecordedTrial) -> str | None:
    study = record.study
    rule = rule_of(study.spec, study.validation_rows, trial.purpose, trial.number, trial.band)
    if rule is None or trial.values is None or not trial.updates:
        return None
    curve = record.curves[trial.id]
    last = study.spec.settings(trial.values).training.length.count
    judge = rule.judge(trial.updates // max(curve), last)
    # Who came to its own end was not judged there, nor who diverged.
    its_end = max(curve) if trial.state == TrialState.COMPLETE else math.inf
    stopped = None
    for step, accuracy in curve.items():
        if accuracy is not None and step < its_end and judge(step, {METRIC: accuracy}):
            stopped = step
            break
    below = None if judge.below is None else (judge.below.step, judge.below.threshold)
    recorded = None if trial.below_at is None else (trial.below_at, trial.threshold)
    if recorded != below:
        return f"{_said(recorded)} in its row, {_said(below)} by its curve and band"
    if (trial.state == TrialState.DISCARDED) != (stopped is not None):
        return f"it is {trial.state}, and was {'' if stopped else 'not '}to be stopped"
    if stopped is not None and judge.below and trial.stands_for != judge.below.stands_for:
        return f"stands for {trial.stands_for}, by its curve for {judge.below.stands_for}"
    return None


def _said(below: tuple[int, float | None] | None) -> str:
    return "never below" if below is None else f"below {below[1]} after {below[0]}"
