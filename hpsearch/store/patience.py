"""Patience: what is tried again while the database is out of reach, and for how long.

A server restarts, a network drops, a file is locked by a backup: a search that runs all night sees
all of it. Workers, `start` and whoever opens the test split open their database with a `Patience`;
everybody else gets the error at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from hpsearch.errors import DatabaseUnavailableError

P = ParamSpec("P")
R = TypeVar("R")

# Longer than a server takes to be updated and restarted, shorter than a night.
PATIENCE_SECONDS = 600.0
# The first pause is drawn from 0 to the first value, later ones from 0 to twice the one before, up
# to the second: drawn at random, so that a hundred workers do not come back all at once.
_PAUSE_SECONDS = (0.1, 5.0)


class _StopWhen(stop_base):
    """Stop when a condition holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __call__(self, retry_state: RetryCallState) -> bool:  # noqa: ARG002 - as tenacity calls it
        return self._condition()


class Patience:
    """Calls again what found the database out of reach.

    Args:
        stop: Set it to try no more; a pause ends at once.
        seconds: How long the database may be out of reach in one piece.
        forsaken: True when nobody waits for the caller any more; it then tries no more either.
        told: Called with the error when an outage begins.
    """

    def __init__(
        self,
        stop: threading.Event,
        seconds: float = PATIENCE_SECONDS,
        forsaken: Callable[[], bool] = lambda: False,
        told: Callable[[str], None] = lambda _error: None,
    ) -> None:
        self._seconds = seconds
        self._told = told
        self._retrying = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_random_exponential(multiplier=_PAUSE_SECONDS[0], max=_PAUSE_SECONDS[1]),
            stop=stop_after_delay(seconds) | stop_when_event_set(stop) | _StopWhen(forsaken),
            sleep=sleep_using_event(stop),
            before_sleep=self._before_sleep,
            reraise=True,
        )

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that can be called again, until it gets through.

        Raises:
            DatabaseUnavailableError: The last one, once there is no more reason to wait.
        """
        began = time.monotonic()
        try:
            # A copy of its own, because what is called again may itself call again within.
            return self._retrying.copy()(function, *args, **kwargs)
        except DatabaseUnavailableError as error:
            if time.monotonic() - began < self._seconds:
                raise
            raise DatabaseUnavailableError(
                f"{error} (for {self._seconds / 60:.0f} minutes); nothing is lost, the same "
                "command goes on with it"
            ) from error

    def _before_sleep(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1 and error is not None:
            self._told(f"{error}; trying again")
