"""The small interface behind which workers are started, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker that was not asked to stop has ended.

    Attributes:
        message: What it said, if it could say anything.
        mistake: True if it was a mistake in what the user gave, so that starting another
            worker would end the same way.
        finished: True if it left because there was nothing more to do.
    """

    message: str
    mistake: bool = False
    finished: bool = False


class Launcher(Protocol):
    """Starts workers and tells how many are left; the database carries the work."""

    def start(self, count: int) -> None:
        """Start that many more workers."""

    def alive(self) -> int:
        """How many of them are running."""

    def ended(self) -> list[WorkerEnd]:
        """Workers that ended since the last call."""

    def stop(self) -> None:
        """Ask every worker to hand back its trials and leave."""

    def wait(self, seconds: float) -> bool:
        """Wait until all have left; True if they have."""

    def kill(self) -> None:
        """End every worker at once; its trials are found again by the next `start`."""
