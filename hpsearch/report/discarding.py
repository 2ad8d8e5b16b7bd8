"""What is said of trials that were stopped early: how many, what it saved, how often wrongly."""

from __future__ import annotations

from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.numbers import count, score


def discarding_lines(document: JSON) -> list[str]:
    """One line; nothing where the study discards nothing.

    Args:
        document: Of `show --json`.
    """
    found = document["discarding"]
    if found is None or found["updates_saved"] is None:
        return []
    done = count(finished_trials(document), "trial")
    if not document["discarded"] and not found["spared"]["trials"]:
        return [f"none of {done}."]
    said = f"{document['discarded']} of {done} early, {found['updates_saved']:.0%} of the updates"
    return [f"{said} saved; {_wrong(found['spared'])}."]


def below_text(trial: JSON) -> str:
    """`<0.8319`, with the epoch where the trial ran on: `<0.8319 at 5`; empty where it never was.

    Args:
        trial: Of `trials --json`.
    """
    below = trial.get("below")
    if below is None:
        return ""
    threshold = below["threshold"]
    why = "pruned" if threshold is None else f"<{score(threshold)}"
    return f"{why} at {below['epoch']}" if below["spared"] else why


def _wrong(spared: JSON) -> str:
    """How often the rule was wrong, as those show that it did not stop."""
    if not spared["trials"]:
        return "the elites are known of none that ran on, so nobody knows how often that was wrong"
    low, high = spared["interval"]
    elites = spared["elites"] or "none"
    return (
        f"of {spared['trials']} that ran on all the same {elites} ended among the elites "
        f"({low:.0%} .. {high:.0%})"
    )
