"""Where a trial stands, by the words that the database, the documents and the figures share."""

from __future__ import annotations

from enum import StrEnum


class TrialState(StrEnum):
    """Where a trial stands; every trial ends in one of the last four."""

    WAITING = "waiting"  # planned, nobody trains it
    RUNNING = "running"  # leased to a worker
    COMPLETE = "complete"  # trained to the end, has a score
    DIVERGED = "diverged"  # its loss stopped being finite: a result, without a score
    DISCARDED = "discarded"  # stopped early on evidence
    FAILED = "failed"  # an error, whose message is kept


UNFINISHED = (TrialState.WAITING, TrialState.RUNNING)
FINISHED = (
    TrialState.COMPLETE,
    TrialState.DIVERGED,
    TrialState.DISCARDED,
    TrialState.FAILED,
)
