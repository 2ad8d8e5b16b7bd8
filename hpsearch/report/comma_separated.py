"""Trials, ledgers and studies as comma-separated values, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.filters import FIELDS, field_of


def trials_csv(trials: Sequence[JSON], dimensions: Sequence[str]) -> str:
    """A line for each trial: its fields, its values, and the metrics of its last measurement."""
    metrics = list(dict.fromkeys(name for trial in trials for name in _last(trial)))
    fields = [name for name in FIELDS if name not in dimensions]
    head = [*fields, "started", "finished", "message", *dimensions, *metrics]
    rows = [
        [
            *(field_of(trial, name) for name in fields),
            *(trial[name] for name in ("started", "finished", "message")),
            *(trial["values"].get(name) for name in dimensions),
            *(_last(trial).get(name) for name in metrics),
        ]
        for trial in trials
    ]
    return _written(head, rows)


def ranges_csv(ledger: Sequence[JSON]) -> str:
    """A line for each range of each round."""
    head = ("round", "dimension", "low", "high", "scale", "choices", "previous")
    further = ("decision", "edge", "elites", "rule", "reason")
    rows = [[row.get(name) for name in (*head, *further)] for row in ledger]
    return _written([*head, *further], rows)


def studies_csv(studies: Sequence[JSON]) -> str:
    """A line for each study."""
    head = ["study", "state", "planned", "finished", "rounds", "winner_score", "test_score"]
    rows = [
        [
            study["study"],
            study["state"],
            study["planned"],
            finished_trials(study),
            len(study["rounds"]),
            study["winner"] and study["winner"]["score"],
            study["test"] and study["test"]["score"],
        ]
        for study in studies
    ]
    return _written(head, rows)


def _last(trial: JSON) -> dict[str, float | None]:
    metrics: dict[str, float | None] = trial["epochs"][-1]["metrics"] if trial["epochs"] else {}
    return metrics


def _written(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Numbers so that they read back exactly; lists and tables as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, float | list | dict) else value
