"""Chaos: keeps a search going, kills what it finds of it, and takes away what it needs."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.acceptance.conftest import Command, kill_session, until, workers_of
from tests.faults.outages import Outage

# How often a search is left alone while it has no workers yet; else it would never have any.
_SPARED = 0.9
# Exit codes of `start` that are no fault of it: done, a mistake of the user's, SIGKILL, SIGTERM
# before it listens, interrupted.
_EXPECTED = {0, 2, -signal.SIGKILL, -signal.SIGTERM, 130}

# What dies even in a short chaos.
_AT_LEAST = {"worker killed"}
_DEATHS = _AT_LEAST | {
    "mirror killed",
    "start killed",
    "everything killed",
    "start terminated",
}


class Chaos:
    """Disturbs one search.

    Args:
        hpsearch: Runs commands in the search's folder.
        command: Begins the search, or goes on with it.
        outages: What it may have to do without.
        seed: What happens, and when, is drawn by it.
        said: A folder, on a disk that is never full, for what the command says.
    """

    def __init__(
        self,
        hpsearch: Command,
        command: Sequence[str],
        outages: Sequence[Outage],
        seed: int,
        said: Path,
    ) -> None:
        self._hpsearch = hpsearch
        self._command = command
        self._outages = outages
        self._draws = random.Random(seed)  # noqa: S311 - no secret
        self._deck: list[Callable[[], str | None]] = []
        self._due: list[tuple[float, Outage]] = []
        self._ends: list[tuple[float, Outage]] = []
        self._said = said
        self._starts = 0
        self.did: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._search = self._begin()

    @property
    def possible(self) -> set[str]:
        """Names of the outages that this machine allows."""
        return {outage.name for outage in self._outages}

    def rage(self, seconds: float, times: int) -> None:
        """Disturb for so long; every pause is drawn, so that everything is met in every state.

        Args:
            seconds: How long; longer if something has not had its turn by then.
            times: How often each outage happens; if more than once, every death happens too,
                else at least a worker's.
        """
        try:
            self._disturb(seconds, times)
        finally:
            self._kill_all()
        self._note_end()
        until(self._all_is_back, "the end of every outage", seconds=120)
        self._check_words()

    def _disturb(self, seconds: float, times: int) -> None:
        began = time.monotonic()
        self._plan(began, seconds, times)
        must = _DEATHS if times > 1 else _AT_LEAST
        while self._due or must - set(self.did) or time.monotonic() < began + seconds:
            assert time.monotonic() < began + seconds + 120, f"not all had their turn: {self.did}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._search.wait(self._draws.uniform(0.1, 1.2))
            self._mend(time.monotonic())
            if self._search.poll() is not None:
                self._note_end()
                self._search = self._begin()
            elif not self._take_turn(time.monotonic()):
                self._kill_something()

    def _plan(self, began: float, seconds: float, times: int) -> None:
        """Spread the outages over the time, in an order that is drawn."""
        turns = [*self._outages] * times
        self._draws.shuffle(turns)
        for number, outage in enumerate(turns):
            share = (number + self._draws.random()) / len(turns)
            self._due.append((began + share * seconds, outage))

    # ------------------------------------------------------------------- the search

    def _begin(self) -> subprocess.Popen[str]:
        self._starts += 1
        with self._words().open("w") as said:
            return self._hpsearch.background(*self._command, said=said)

    def _words(self) -> Path:
        return self._said / f"start-{self._starts}.txt"

    def _note_end(self) -> None:
        """A `start` may be refused where something is away, in one line that says what."""
        code, said = self._search.wait(), self._words().read_text()
        assert code in _EXPECTED, f"exit code {code}: {said}"
        if code == 2:
            line = said.strip()
            assert "\n" not in line, said
            assert any(words in line for outage in self._outages for words in outage.refusals), line
            self.refusals[line.rpartition(": ")[2]] += 1

    def _check_words(self) -> None:
        """Nobody saw a traceback, not even from the workers of a `start` that was killed."""
        for file in self._said.iterdir():
            said = file.read_text()
            assert "Traceback" not in said, said

    # ----------------------------------------------------------------------- deaths

    def _kill_something(self) -> None:
        if not workers_of(self._search) and self._draws.random() < _SPARED:
            return
        if not self._deck:
            self._deck = [
                *[self._kill_worker] * 5, self._kill_mirror, self._kill_start, self._kill_all,
                self._interrupt,
            ]  # fmt: skip
            self._draws.shuffle(self._deck)
        done = self._deck.pop()()
        if done:
            self.did[done] += 1

    def _kill_worker(self) -> str | None:
        return self._kill(workers_of(self._search), "worker killed")

    def _kill_mirror(self) -> str | None:
        return self._kill(self.processes("hpsearch.tracking.mirror"), "mirror killed")

    def processes(self, named: str = "hpsearch") -> list[psutil.Process]:
        """What runs in the search's folder with these words in its command line."""
        return [p for p in psutil.process_iter(["cmdline"]) if self._is_ours(p, named)]

    def _is_ours(self, process: psutil.Process, named: str) -> bool:
        try:
            words = " ".join(process.info["cmdline"] or ())
            return named in words and process.cwd() == str(self._hpsearch.folder)
        except psutil.Error:
            return False

    def _kill(self, found: list[psutil.Process], what: str) -> str | None:
        if not found:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._draws.choice(sorted(found, key=lambda p: p.pid)).kill()
        return what

    def _kill_start(self) -> str:
        self._search.kill()
        self._search.wait()
        return "start killed"

    def _kill_all(self) -> str:
        kill_session(self._search)
        for mirror in self.processes("hpsearch.tracking.mirror"):  # in a session of its own
            with contextlib.suppress(psutil.NoSuchProcess):
                mirror.kill()
        return "everything killed"

    def _interrupt(self) -> str:
        self._search.send_signal(signal.SIGTERM)
        return "start terminated"

    # ---------------------------------------------------------------------- outages

    def _take_turn(self, now: float) -> bool:
        """Begin the first outage that is due and possible; what is not possible stays due."""
        for due, outage in self._due:
            if due <= now and outage.begin():
                self._due.remove((due, outage))
                self._ends.append((now + self._draws.uniform(*outage.seconds), outage))
                self.did[outage.name] += 1
                return True
        return False

    def _mend(self, now: float) -> None:
        """End the outages that have lasted long enough, and start what has fallen in one."""
        self._ends = [(end, o) for end, o in self._ends if end > now or not o.end()]
        for outage in self._outages:
            if outage.has_fallen() and outage.end():
                self.did[f"started again: {outage.name}"] += 1

    def _all_is_back(self) -> bool:
        """End every outage, for good, as far as that is possible now."""
        self._mend(float("inf"))
        return not self._ends and not any(outage.has_fallen() for outage in self._outages)
