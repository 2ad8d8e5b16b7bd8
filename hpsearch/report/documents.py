"""The JSON documents that tables and summaries are made of."""

from __future__ import annotations

from typing import Any

from hpsearch.states import FINISHED

JSON = dict[str, Any]


def finished_trials(study: JSON) -> int:
    """Search trials that are done, however they ended, by the document of `show --json`."""
    return sum(int(study[state]) for state in FINISHED)
