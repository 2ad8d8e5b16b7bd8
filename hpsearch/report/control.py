"""What is said of the control arm: how large it is, how far, and what narrowing gave."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.numbers import count, score, shown_values
from hpsearch.study import StudySpec


def control_plan(spec: StudySpec) -> str:
    """`300 control trials (random)`; empty where the study has no control arm."""
    if spec.search.control is None:
        return ""
    return f"{count(spec.control_trials, 'control trial')} ({spec.search.control})"


def is_compared(document: JSON) -> bool:
    """Whether a finished study was compared with a control arm, so that it stays as it is.

    Args:
        document: Of `show --json`.
    """
    return document["control"] is not None and finished_trials(document["control"]) > 0


def control_lines(document: JSON) -> list[str]:
    """How far the control arm is or what it came to; nothing where the study has none.

    Args:
        document: Of `show --json`.
    """
    control = document["control"]
    if control is None:
        return []
    arm, done = control["sampler"], finished_trials(control)
    if control["winner"] is not None:
        return _compared(control, document["winner"], document["rounds"])
    if document["state"] != "complete":
        return [f"{arm}: {done} of {count(control['planned'], 'trial')} done."]
    if not done:
        return [f"{arm}: not run, because there is no winner to compare it with."]
    what = "no repeat of its best" if control["repeats"] else f"none of {done} trials"
    return [f"{arm}: {what} has a score, so there is nothing to compare."]


def _compared(control: JSON, winner: JSON, rounds: Sequence[JSON]) -> list[str]:
    best, difference = control["winner"], control["difference"]
    error = f" ± {best['standard_error']:.4f}" if best["seeds"] > 1 else ""
    arm = f"{control['sampler']}, {count(control['planned'], 'trial')}"
    head = f"{arm}: [bold]{score(best['score'])}[/]{error}"
    if best["values"] == winner["values"]:
        return [f"{head}; it found the same values, so {_what(rounds)} gave nothing."]
    if difference is None:
        return [f"{head}; no seed has a repeat of both winners, so nothing can be compared."]
    # The sums of two dead heats may differ in their last bits.
    gain = round(difference["mean"], 9) + 0.0
    lines = [f"{head}; {_what(rounds)} gave {gain:+.4f} ({_certainty(difference)})."]
    if gain < 0:
        lines.append(f"The control's winner {_better(difference)}: {shown_values(best['values'])}.")
    return lines


def _what(rounds: Sequence[JSON]) -> str:
    """What the search has done that its control arm has not."""
    moved = any(round_["ranges"] != rounds[0]["ranges"] for round_ in rounds)
    return "narrowing" if moved else "placing trials (no range moved)"


def _better(difference: JSON) -> str:
    surely = difference["interval"] is not None and difference["interval"][1] < 0
    return "is the better one" if surely else "has the better mean"


def _certainty(difference: JSON) -> str:
    if difference["interval"] is None:
        return "over a single seed: perhaps by chance"
    low, high = difference["interval"]
    chance = ": perhaps by chance" if low <= 0 <= high and difference["mean"] else ""
    seeds = count(difference["seeds"], "common seed")
    return f"95 % interval {low:.4f} .. {high:.4f} over {seeds}{chance}"
