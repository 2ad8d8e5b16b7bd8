"""What figures are drawn from: a study's finished trials, read from its documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hpsearch.errors import CannotDrawError
from hpsearch.report.documents import JSON
from hpsearch.report.figures.labels import distinct, label_of, options_of
from hpsearch.report.lengths import units
from hpsearch.search.outcomes import Outcome, ranked
from hpsearch.seeds import Purpose
from hpsearch.space import frozen
from hpsearch.states import FINISHED, TrialState
from hpsearch.study import ReportSpec, StudySpec


@dataclass(frozen=True)
class Trial:
    """A finished trial of the search or of its control arm, or a repeat of a finalist.

    Attributes:
        label: What it is called, told apart from all others.
        round: Of the search, of its repeats or of the race among the finalists.
        replicate: Which of the round's, or of the confirmation's, seeds it has.
        scored_at: The measurement its score belongs to; None where that is the last one.
        epochs: (number, metrics) of every measurement; a metric that was not finite is None.
        diagnoses: What its layers looked like, at the steps the study file asked for.
        is_elite: Whether it is one of its round's elites; False until they are known.
        finished: When it was, seconds since 1970; None where nobody knows.
    """

    number: int
    label: str
    state: str
    values: dict[str, Any]
    score: float | None
    loss: float | None
    scored_at: int | None
    epochs: tuple[tuple[int, dict[str, float | None]], ...]
    diagnoses: tuple[JSON, ...]
    round: int = 1
    replicate: int = 0
    is_elite: bool = False
    finished: float | None = None

    @property
    def diverged(self) -> bool:
        """Whether a figure of it stopped being finite."""
        return self.state == TrialState.DIVERGED

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Numbers of the measurements that have this metric, and its finite values there."""
        points = [(n, metrics.get(metric)) for n, metrics in self.epochs]
        kept = [(n, v) for n, v in points if v is not None and math.isfinite(v)]
        return [n for n, _ in kept], [v for _, v in kept]

    def final(self, metric: str) -> float | None:
        """The metric of the measurement its score belongs to, of the last one without a score.

        None where it was not measured or not finite.
        """
        if self.scored_at is not None:
            return self.at(self.scored_at, metric)
        return self.epochs[-1][1].get(metric) if self.epochs else None

    def at(self, step: int, metric: str) -> float | None:
        """The metric of the measurement of this number."""
        return dict(self.epochs).get(step, {}).get(metric)


@dataclass(frozen=True)
class Material:
    """A study and its finished trials, in number order.

    Attributes:
        trials: Those of the search.
        control: Those of the control arm, without the repeats of its best.
        confirmation: Repeats of the finalists.
        study: The document of `show --json`; None where a figure is drawn from trials alone.
        ledger: The rows of `ranges --json`.
    """

    spec: StudySpec
    trials: tuple[Trial, ...]
    control: tuple[Trial, ...] = ()
    confirmation: tuple[Trial, ...] = ()
    study: JSON | None = None
    ledger: tuple[JSON, ...] = ()

    @classmethod
    def of(
        cls,
        spec: StudySpec,
        documents: Sequence[JSON],
        study: JSON | None = None,
        ledger: Sequence[JSON] = (),
    ) -> Material:
        """From the documents of `trials --json`, `show --json` and `ranges --json`."""
        wanted = _finished(documents, Purpose.SEARCH)
        plain = [label_of(spec.space, d["values"], spec.space.names) for d in wanted]
        labels = distinct(plain, [d["number"] for d in wanted])
        pairs = zip(wanted, labels, strict=True)
        trials = tuple(_trial(document, label) for document, label in pairs)
        control = [d for d in _finished(documents, Purpose.CONTROL) if d["round"] == 1]
        repeats = _finished(documents, Purpose.CONFIRMATION)
        return cls(
            spec,
            trials,
            tuple(_trial(d, f"control {d['number']}") for d in control),
            tuple(_trial(d, f"confirmation {d['number']}") for d in repeats),
            study,
            tuple(ledger),
        )

    @property
    def winner(self) -> JSON | None:
        """The winner, as `show --json` has it; None where there is none yet."""
        return self.study["winner"] if self.study and self.study.get("winner") else None

    @property
    def tested(self) -> JSON | None:
        """The test figure, where there is one."""
        test = self.study.get("test") if self.study else None
        return test if test and test["score"] is not None else None

    def options(self, name: str) -> tuple[Any, ...]:
        """A dimension's choices, as JSON has them; none where it is a range."""
        return options_of(self.spec.space, name)

    @property
    def report(self) -> ReportSpec:
        """The table [report] of the study file."""
        return self.spec.report

    @property
    def unit(self) -> str:
        """What measurements are numbered in: "epoch", "iteration", or either by trial."""
        return " or ".join(units(self.spec))

    def unit_of(self, trial: Trial) -> str:
        """What this trial's measurements are numbered in: "epoch" or "iteration"."""
        values = {name: frozen(value) for name, value in trial.values.items()}
        return self.spec.settings(values).training.length.unit

    def title(self, text: str) -> str:
        """A figure's title; says so where the study is not whole yet."""
        done, planned = len(self.trials), self.spec.planned_trials
        so_far = f" ({done} of {planned} trials so far)" if done < planned else ""
        return f"{self.spec.name}: {text}{so_far}"

    def with_metric(self, metric: str) -> list[Trial]:
        """Trials in which this metric was measured at least once.

        Raises:
            CannotDrawError: If there is none.
        """
        found = [trial for trial in self.trials if trial.curve(metric)[0]]
        if not found:
            what = metric.replace("_", " ")
            raise CannotDrawError(f"no finished trial has a {what} yet")
        return found

    def best(self, most: int) -> list[Trial]:
        """Trials that have a score, best first; ties as in the search."""
        by_number = {trial.number: trial for trial in self.trials}
        order = ranked(Outcome(t.number, t.values, t.score, t.loss) for t in self.trials)
        return [by_number[outcome.number] for outcome in order[:most]]


def _finished(documents: Sequence[JSON], purpose: Purpose) -> list[JSON]:
    """Finished trials of a purpose, in number order."""
    found = [d for d in documents if d["purpose"] == purpose and d["state"] in FINISHED]
    return sorted(found, key=lambda document: int(document["number"]))


def _trial(document: JSON, label: str) -> Trial:
    return Trial(
        number=document["number"],
        label=label,
        state=document["state"],
        values=document["values"],
        score=document["score"],
        loss=document.get("loss"),
        scored_at=document.get("scored_at"),
        epochs=tuple((e["epoch"], e["metrics"]) for e in document["epochs"]),
        diagnoses=tuple(document.get("diagnoses") or ()),
        round=document["round"],
        replicate=document.get("replicate") or 0,
        is_elite=bool(document.get("elite")),
        finished=_seconds(document.get("finished")),
    )


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
