"""The small interface behind which workers are started, wherever they run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hpsearch.errors import HpsearchError, UserError


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

    def room(self) -> int:
        """How many workers there are where nobody says how many."""

    def start(self, count: int) -> None:
        """Start that many more workers."""

    def alive(self) -> int:
        """How many of them are running, or wait for a place to run."""

    def ended(self) -> list[WorkerEnd]:
        """Workers that ended since the last call."""

    def stop(self) -> None:
        """Ask every worker to hand back its trials and leave."""

    def wait(self, seconds: float) -> bool:
        """Wait until all have left; True if they have."""

    def kill(self) -> None:
        """End every worker at once; its trials are found again by the next `start`."""

    def close(self) -> None:
        """Leave nothing behind; doing it again does nothing."""


def died(code: int | None) -> WorkerEnd:
    """The end of a process that could say nothing.

    Args:
        code: Its exit code, negative for a signal.
    """
    how = f"killed by signal {-code}" if code and code < 0 else f"exit code {code}"
    return WorkerEnd(how)


def end_of(work: Callable[[], object]) -> WorkerEnd:
    """Do a worker's work, and say how it ended.

    Args:
        work: What to do; text that it returns is what it has to say.
    """
    try:
        said = work()
    except UserError as error:
        return WorkerEnd(str(error), mistake=True)
    except HpsearchError as error:
        return WorkerEnd(str(error))
    except Exception as error:  # noqa: BLE001 - a worker's last words, whatever they are
        traceback.print_exc()
        return WorkerEnd(f"{type(error).__name__}: {error}")
    return WorkerEnd(said if isinstance(said, str) else "", finished=True)
