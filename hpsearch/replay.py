"""Finished trials trained once more, and compared bit for bit with what was written down."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hpsearch.data.prepared import Prepared
from hpsearch.errors import UserError
from hpsearch.final import final_result, train_final
from hpsearch.findings import Finding, Verdict
from hpsearch.objective import PopulationObjective
from hpsearch.search.bands import rule_of
from hpsearch.search.discarding import Below, RecordedRule, Rule
from hpsearch.seeds import Purpose
from hpsearch.states import TrialState
from hpsearch.store.database import Database
from hpsearch.store.documents import layers_text, legible, metrics_text
from hpsearch.store.leases import ClaimedTrial
from hpsearch.store.record import Measured, RecordedTrial, read_measured
from hpsearch.store.results import TrialResult
from hpsearch.study import StudySpec

# Failed trials broke off for reasons of the day, and nothing was measured of them.
_MEASURED = (TrialState.COMPLETE, TrialState.DIVERGED, TrialState.DISCARDED)


def choose(
    trials: Sequence[RecordedTrial], purpose: Purpose | None, count: int, seed: int
) -> list[RecordedTrial]:
    """Up to `count` measured trials of a purpose, or of any, drawn with a seed."""
    candidates = [t for t in trials if t.state in _MEASURED and purpose in {None, t.purpose}]
    count = min(count, len(candidates))
    drawn = np.random.default_rng(seed).choice(len(candidates), count, replace=False)
    return [candidates[i] for i in sorted(drawn)]


def find(
    study: str, trials: Sequence[RecordedTrial], purpose: Purpose, number: int
) -> RecordedTrial:
    """The measured trial of this number.

    Raises:
        UserError: If there is none.
    """
    found = next((t for t in trials if (t.purpose, t.number) == (purpose, number)), None)
    if found is None:
        raise UserError(
            f"{study}: there is no {purpose} trial {number}; `hpsearch trials {study}` lists them"
        )
    if found.state not in _MEASURED:
        raise UserError(
            f"{study}: {found.name} is {found.state}, so there is nothing to replay; "
            f"`hpsearch trials {study}` lists the trials"
        )
    return found


def compare_machines(trials: Sequence[RecordedTrial], here: Mapping[str, str]) -> Finding:
    """Whether the workers that trained these trials computed with the same bits as this machine."""
    others = {t.name: _unlike(t, here) for t in trials if _unlike(t, here)}
    if not others:
        shown = ", ".join(f"{key} {value}" for key, value in here.items())
        return Finding("machine", Verdict.OK, f"like that of the workers: {shown}")
    reasons = "; ".join(dict.fromkeys(others.values()))
    said = (
        f"{reasons}: other bits are expected of {', '.join(others)}, and will not be called wrong"
    )
    return Finding("machine", Verdict.WARNING, said)


def _unlike(trial: RecordedTrial, here: Mapping[str, str]) -> str:
    """What of the worker's fingerprint is different here; empty where nothing is."""
    there = trial.fingerprint or {}
    keys = [key for key in here if there.get(key) != here[key]]
    return ", ".join(f"{key} {there.get(key, 'unknown')} there, {here[key]} here" for key in keys)


class Replay:
    """Trains trials of one study once more, in this process.

    Args:
        database: The study's database; only read.
        spec: The study.
        prepared: Its rows; test rows are none of them.
        here: This machine's fingerprint.
    """

    def __init__(
        self, database: Database, spec: StudySpec, prepared: Prepared, here: Mapping[str, str]
    ) -> None:
        self._database = database
        self._spec = spec
        self._prepared = prepared
        self._here = here
        self._objective = PopulationObjective(spec, prepared)

    def findings(self, trials: Sequence[RecordedTrial]) -> Iterator[Finding]:
        """One finding a trial, as soon as it is known; the final trial's comes last."""
        problems = {trial.id: self._problem(trial) for trial in trials}
        yield from (
            Finding("replay", Verdict.WRONG, f"{trial.name}: {problems[trial.id]}")
            for trial in trials
            if problems[trial.id]
        )
        trials = [trial for trial in trials if not problems[trial.id]]
        searched = [trial for trial in trials if trial.purpose != Purpose.FINAL]
        size = self._objective.population
        for start in range(0, len(searched), size):
            part = searched[start : start + size]
            yield from self._compared(part, self._trained(part))
        for trial in trials:
            if trial.purpose == Purpose.FINAL:
                yield from self._compared([trial], {trial.id: self._final(trial)})

    def _problem(self, trial: RecordedTrial) -> str | None:
        """Why nothing can be trained with these values; None where it can."""
        if set(trial.values or {}) != set(self._spec.space.names):
            return f"its values are not those of the study's dimensions: {trial.values}"
        try:
            self._spec.settings(trial.values or {})
        except ValueError as error:
            return f"its values cannot be trained with: {' '.join(str(error).split())}"
        return None

    def _trained(self, trials: Sequence[RecordedTrial]) -> dict[int, TrialResult]:
        claimed = [
            ClaimedTrial(t.id, t.optuna_id, t.number, t.seed, t.values, self._rule(t))
            for t in trials
        ]
        values = {trial.id: trial.values or {} for trial in trials}
        return self._objective.run(claimed, values, lambda: False)

    def _rule(self, trial: RecordedTrial) -> Rule | None:
        if self._spec.search.discard not in {"off", "auto"}:
            return _as_recorded(trial)
        rows = self._prepared.validation()
        count = 0 if rows is None else len(rows)
        return rule_of(self._spec, count, trial.purpose, trial.number, trial.band)

    def _final(self, trial: RecordedTrial) -> TrialResult:
        settings = self._spec.settings(trial.values or {})
        # Its score is that of the test rows, which stay sealed.
        (member,) = train_final(settings, [trial.seed], self._prepared)
        return final_result(member, trial.score)

    def _compared(
        self, trials: Sequence[RecordedTrial], results: Mapping[int, TrialResult]
    ) -> Iterator[Finding]:
        with legible(self._spec.name):
            measured = read_measured(self._database, trials)
            recorded = {trial.id: _recorded(trial, measured[trial.id]) for trial in trials}
        for trial in trials:
            yield self._finding(trial, recorded[trial.id], _replayed(results[trial.id]))

    def _finding(
        self, trial: RecordedTrial, recorded: dict[str, str], replayed: dict[str, str]
    ) -> Finding:
        names = list(recorded | replayed)
        differing = [name for name in names if recorded.get(name) != replayed.get(name)]
        if not differing:
            said = f"{trial.name}: all {len(names)} figures are equal bit for bit"
            return Finding("replay", Verdict.OK, said)
        first = differing[0]
        said = (
            f"{trial.name}: {len(differing)} of {len(names)} figures differ, first {first}: "
            f"{recorded.get(first, 'none')} in the database, {replayed.get(first, 'none')} replayed"
        )
        expected = bool(_unlike(trial, self._here))
        return Finding("replay", Verdict.WARNING if expected else Verdict.WRONG, said)


def _as_recorded(trial: RecordedTrial) -> Rule | None:
    """A pruner's answer rests on who had finished by then: where it stopped is taken as it is."""
    if trial.below_at is None:
        return None
    stands_for = math.nan if trial.stands_for is None else trial.stands_for
    below = Below(trial.below_at, trial.threshold, stands_for)
    return RecordedRule(below, spared=trial.state != TrialState.DISCARDED)


def _recorded(trial: RecordedTrial, measured: Measured) -> dict[str, str]:
    ends = {
        "state": trial.state,
        "score": trial.score,
        "loss": trial.loss,
        "scored_at": trial.scored_at,
        **_said(
            {
                "below_at": trial.below_at,
                "threshold": trial.threshold,
                "stands_for": trial.stands_for,
            }
        ),
    }
    return _figures(ends, measured.curve, measured.diagnoses)


def _replayed(result: TrialResult) -> dict[str, str]:
    ends = {
        "state": result.state,
        "score": result.final_score,
        "loss": result.final_loss,
        "scored_at": result.scored_before_end,
        **_said(result.judgement),
    }
    curve = {epoch: json.loads(metrics_text(m)) for epoch, m in result.curve.items()}
    diagnoses = {step: json.loads(layers_text(found)) for step, found in result.diagnoses.items()}
    return _figures(ends, curve, diagnoses)


def _said(judgement: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing of a trial that never was below what it was judged by."""
    return {name: figure for name, figure in judgement.items() if figure is not None}


def _figures(
    ends: Mapping[str, Any],
    curve: Mapping[int, Mapping[str, float | None]],
    diagnoses: Mapping[int, Sequence[Mapping[str, Any]]],
) -> dict[str, str]:
    """Every figure of a trial by its name; as text two floats are equal only bit for bit."""
    figures = dict(ends)
    for epoch, metrics in curve.items():
        figures |= {f"{name} of epoch {epoch}": value for name, value in metrics.items()}
    for step, layers in diagnoses.items():
        figures |= {
            f"{name} of layer {position} at step {step}": value
            for position, layer in enumerate(layers)
            for name, value in layer.items()
        }
    return {name: json.dumps(value) for name, value in figures.items()}
