"""What the study's own run says: ranges and scores over the rounds, the winner, a note."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpsearch.space import frozen, label
from hpsearch.tracking.content import NOTE_TAG, Measurement, figure_measurements, text

JSON = dict[str, Any]

# MLflow takes 8000 characters in a tag.
_LONGEST_NOTE = 7900
# The newest rounds are shown; the ledger among the artifacts has them all.
_NOTE_ROUNDS = 12


def range_measurements(ledger: Sequence[JSON], opened: Mapping[int, int]) -> Iterator[Measurement]:
    """Ends of every range, with the number of its round as the step.

    Args:
        ledger: Rows of `ranges --json`; the rows after the last round are included.
        opened: When each round opened, ms since 1970, by its number.
    """
    latest = max(opened.values(), default=0)
    for row in ledger:
        when = opened.get(row["round"], latest)
        name = f"range/{row['dimension']}"
        for key, value in _ends(row).items():
            yield Measurement(f"{name}/{key}", value, when, row["round"])


def _ends(row: JSON) -> dict[str, float]:
    """What of a range can be drawn: its ends, or how many choices are left."""
    if "choices" in row:
        return {"choices": float(len(row["choices"]))}
    ends = {"low": float(row["low"]), "high": float(row["high"])}
    if row["scale"] == "log":
        ends |= {f"log10_{key}": math.log10(value) for key, value in ends.items()}
    return ends


def score_measurements(study: JSON, closed: Mapping[int, int]) -> Iterator[Measurement]:
    """Best score of each closed round, the winner's and the control's score, the test figure.

    Args:
        study: The document of `show --json`.
        closed: When each closed round closed, ms since 1970, by its number.
    """
    for round_ in study["rounds"]:
        number, best = round_["round"], round_["best_score"]
        if number in closed and best is not None:
            yield Measurement(f"best_{study['metric']}", best, closed[number], number)
    latest = max(closed.values(), default=0)
    if study["winner"]:
        yield Measurement("winner_score", study["winner"]["score"], latest, 0)
    for name, value in _control_figures(study["control"]).items():
        yield Measurement(name, value, latest, 0)
    yield from figure_measurements(study["test"], latest, None)


def _control_figures(control: JSON | None) -> dict[str, float]:
    """What the control arm came to, under names of its own."""
    if control is None or control["winner"] is None:
        return {}
    figures = {"control_winner_score": control["winner"]["score"]}
    difference = control["difference"]
    return figures | ({"narrowing_gave": difference["mean"]} if difference else {})


def study_tags(study: JSON, ledger: Sequence[JSON]) -> dict[str, str]:
    """State, winner and the note of the study's own run."""
    tags = {"state": study["state"]}
    if study["winner"]:
        winner = study["winner"]
        tags |= {f"winner/{n}": label(frozen(value)) for n, value in winner["values"].items()}
        tags["winner/seeds"] = text(winner["seeds"])
        # A study that goes on keeps the tags of its earlier winner until it has another.
        tags["winner/after_rounds"] = text(len(study["rounds"]))
    if study["test"]:
        tags["test_openings"] = text(study["test"]["openings"])
    return tags | {NOTE_TAG: note(study, ledger)}


# ------------------------------------------------------------------------ Markdown


def note(study: JSON, ledger: Sequence[JSON]) -> str:
    """A short summary for the run's page."""
    parts = [
        f"## {study['study']}",
        *_result(study),
        "",
        *_ranges_table(ledger, len(study["rounds"])),
    ]
    parts += ["", "The reason for every range is in the artifact `ledger.md`."]
    return "\n".join(parts)[:_LONGEST_NOTE]


def ledger_table(ledger: Sequence[JSON]) -> str:
    """The whole ledger as MLflow keeps a table, which its pages show as one.

    MLflow's own `log_table` adds to what is there; a ledger is written anew.
    """
    columns = ["round", "dimension", "range", "decision", "edge", "elites", "reason"]
    data = [[_range(row) if name == "range" else row[name] for name in columns] for row in ledger]
    return json.dumps({"columns": columns, "data": data})


def system_tags(machines: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What the results' bits depend on: `system/numpy`, of a second machine `system2/numpy`."""
    return {
        f"system{number if number > 1 else ''}/{key}": value
        for number, machine in enumerate(machines, start=1)
        for key, value in machine.items()
    }


def ledger_markdown(study: JSON, ledger: Sequence[JSON]) -> str:
    """The whole ledger as a table."""
    lines = [f"# Ledger of {study['study']}", ""]
    lines += ["| round | dimension | range | decision | elites | reason |", "|--|--|--|--|--|--|"]
    for row in ledger:
        cells = [row["round"], row["dimension"], _range(row), row["decision"], row["elites"]]
        reason = row["reason"].replace("|", "\\|")
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, reason)) + " |")
    return "\n".join(lines) + "\n"


def _result(study: JSON) -> list[str]:
    lines = []
    if study["winner"]:
        winner = study["winner"]
        values = ", ".join(f"{name} = {_short(v)}" for name, v in winner["values"].items())
        seeds = f"over {winner['seeds']} fresh seeds"
        how = seeds if study["confirmation"] else "in one trial, not confirmed"
        lines.append(f"**Winner**: {values}; {study['metric']} {winner['score']:.4f} {how}")
    else:
        lines.append(f"{study['complete']} of {study['planned']} trials complete, no winner yet")
    lines += _control(study["control"])
    test = study["test"]
    if test and test["score"] is not None:
        low, high = test["interval"]
        openings = test["openings"]
        times = "once" if openings == 1 else f"{openings} times"
        whose = " of the earlier winner" if test.get("earlier_winner") else ""
        figure = f"{test['metric']}{whose} {test['score']:.4f} [{low:.4f}, {high:.4f}], "
        lines += ["", f"**Test**: {figure}"]
        lines[-1] += f"the test split was opened {times}"
    return lines


def _control(control: JSON | None) -> list[str]:
    if control is None or control["winner"] is None:
        return []
    line = f"**Control**: {control['sampler']}, {control['planned']} trials, "
    line += f"its winner has {control['winner']['score']:.4f}"
    difference = control["difference"]
    if difference:
        line += f"; narrowing gave {difference['mean']:+.4f}"
    if difference and difference["interval"]:
        low, high = difference["interval"]
        line += f" [{low:.4f}, {high:.4f}]"
    return ["", line]


def _ranges_table(ledger: Sequence[JSON], opened: int) -> list[str]:
    names = list(dict.fromkeys(row["dimension"] for row in ledger))
    cells = {(row["round"], row["dimension"]): _range(row) for row in ledger}
    rounds = sorted({row["round"] for row in ledger})[-_NOTE_ROUNDS:]
    lines = ["| round | " + " | ".join(names) + " |", "|--" * (len(names) + 1) + "|"]
    for number in rounds:
        ranges = [cells.get((number, name), "") for name in names]
        label = number if number <= opened else "next"
        lines.append(f"| {label} | " + " | ".join(ranges) + " |")
    return lines


def _range(row: JSON) -> str:
    if "choices" in row:
        return ", ".join(_short(choice) for choice in row["choices"])
    return f"{_short(row['low'])} to {_short(row['high'])}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    said = label(frozen(value))
    return f"({said})" if isinstance(value, dict) else said
