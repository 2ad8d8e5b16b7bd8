"""Progress while it happens: one live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpsearch.final import TRAININGS
from hpsearch.report.numbers import count, duration, score
from hpsearch.report.progress import Progress
from hpsearch.study import StudySpec

# Where no screen can be redrawn, one line this often is enough to see that it lives.
_PLAIN_SECONDS = 10.0
# MLflow always has a few trials less than there are, and takes some seconds to begin.
_WORTH_A_WORD, _BEGUN_SECONDS = 100, 30.0


@contextmanager
def watching(
    console: Console, spec: StudySpec, *, tests: bool = True
) -> Iterator[Callable[[Progress], None]]:
    """Show a search's progress until the block ends; yields what to call with news.

    `tests` is whether the test split will be opened, which takes trainings too.
    """
    estimate = _Estimate(spec, tests=tests)
    if not console.is_terminal or console.quiet:
        yield _PlainLines(console, estimate).show
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda progress: live.update(_screen(progress, estimate))


@contextmanager
def mirroring(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many trials MLflow has; yields what to call with (copied, all)."""
    if not console.is_terminal or console.quiet:
        yield _PlainMirror(console).show
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda copied, total: live.update(
            _bar_line("MLflow", copied, total, "Ctrl-C is safe")
        )


@contextmanager
def copying(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far a copy is; yields what to call with ("copied" or "checked", trials, all)."""
    if not console.is_terminal or console.quiet:
        yield _PlainCopy(console).show
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda what, done, total: live.update(
            _bar_line(what, done, total, "Ctrl-C leaves nothing half-made")
        )


class _Estimate:
    """Seconds left, from the speed since this `start` began."""

    def __init__(self, spec: StudySpec, *, tests: bool) -> None:
        confirmation = spec.confirmation
        self._has_control = spec.search.control is not None
        # Nobody knows how long the race will be: as often short as long.
        self._confirmation = (confirmation.least_repeats + confirmation.most_repeats) / 2
        self._trainings = TRAININGS if spec.confirms and tests else 0
        self._first: int | None = None

    def seconds(self, progress: Progress) -> float | None:
        """Seconds until the result is there; None before a first trial was trained."""
        if self._first is None:
            self._first = progress.trained
        trained = progress.trained - self._first
        if trained <= 0:
            return None
        left = self._search_left(progress) + self._control_left(progress)
        # The last trainings are those of one process, while all workers have gone.
        left += self._trainings * max(progress.workers, 1)
        return progress.seconds / trained * max(left, 0)

    def _search_left(self, progress: Progress) -> float:
        """Trials and repeats before the control arm, as far as they are known."""
        open_repeats = progress.repeats - progress.repeated
        if progress.phase == "control":
            return 0
        if progress.phase == "confirmation":
            return max(open_repeats, self._confirmation - progress.repeated)
        left = progress.planned - progress.finished + self._confirmation
        return left + open_repeats if progress.phase == "repeat" else left

    def _control_left(self, progress: Progress) -> float:
        if not self._has_control:
            return 0
        least = progress.planned + self._confirmation
        return max(least, progress.control) - progress.controlled


class _PlainLines:
    """A line at every new round, and every few seconds in between."""

    def __init__(self, console: Console, estimate: _Estimate) -> None:
        self._console = console
        self._estimate = estimate
        self._stage: tuple[str | None, int | None] = (None, None)
        self._told = 0.0
        self._away_since: float | None = None

    def show(self, progress: Progress) -> None:
        """Print a line if a stage has begun, the last line is old, or the database is away."""
        if progress.outage is not None:
            self._say_away(progress.outage)
            return
        self._say_back()
        seconds = self._estimate.seconds(progress)
        stage = (progress.phase, progress.round)
        due = time.monotonic() - self._told > _PLAIN_SECONDS
        if progress.phase is None or (stage == self._stage and not due):
            return
        self._stage, self._told = stage, time.monotonic()
        unknown = seconds is None or seconds < 1 or progress.phase == "final"
        left = "" if unknown else f", about {duration(seconds or 0)} left"
        behind = _behind(progress)
        self._console.print(f"{_headline(progress)}{left}{behind and f', {behind}'}")

    def _say_away(self, outage: str) -> None:
        """In one line however long, for who looks for it in a log of last night."""
        self._away_since = self._away_since or time.monotonic()
        self._console.print(f"{datetime.now():%H:%M:%S} {outage}", markup=False, soft_wrap=True)

    def _say_back(self) -> None:
        if self._away_since is not None:
            away = duration(time.monotonic() - self._away_since)
            self._console.print(
                f"{datetime.now():%H:%M:%S} the database answers again, after {away}"
            )
            self._away_since = None


class _PlainMirror:
    """One line at first, and one every few seconds while MLflow is behind."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: float | None = None

    def show(self, copied: int, total: int) -> None:
        now = time.monotonic()
        if copied >= total or (self._told is not None and now - self._told < _PLAIN_SECONDS):
            return
        self._told = now
        self._console.print(f"MLflow: {copied} of {total} trials copied so far (Ctrl-C is safe)")


class _PlainCopy:
    """A line every few seconds; a copy that is over before is not talked about."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = time.monotonic()

    def show(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told > _PLAIN_SECONDS:
            self._told = now
            self._console.print(f"{done} of {total} trials {what}")


def _screen(progress: Progress, estimate: _Estimate) -> RenderableType:
    seconds = estimate.seconds(progress)
    planned = progress.planned + progress.control
    finished = progress.finished + progress.controlled
    facts = [
        f"running {progress.running}",
        f"left {planned - finished}",
        f"best so far {score(progress.best_score)}",
        "time left unknown" if seconds is None else f"about {duration(seconds)} left",
        count(progress.workers, "worker"),
    ]
    facts += filter(None, [_behind(progress)])
    screen = Table.grid()
    screen.add_row(f"[bold]{_headline(progress)}[/]")
    screen.add_row(ProgressBar(total=max(planned, 1), completed=finished))
    screen.add_row("  ·  ".join(facts))
    if progress.outage is not None:
        screen.add_row(Text(progress.outage, style="yellow"))
    return screen


def _headline(progress: Progress) -> str:
    if progress.phase == "repeat":
        done = f"{progress.repeated} of {progress.repeats}"
        return f"noise: {done} repeats of trials of round {progress.round} done"
    if progress.phase == "confirmation":
        return f"confirmation: {progress.repeated} of {progress.repeats} repeats done"
    if progress.phase == "control":
        return f"control: {_control_done(progress)} done"
    if progress.phase == "final":
        return "final: the winner is trained on all but the test rows, and tested once"
    best = f", best {score(progress.best_score)}" if progress.best_score is not None else ""
    return (
        f"round {progress.round or '-'}: {progress.finished} of {progress.planned} "
        f"trials done{best}"
    )


def _behind(progress: Progress) -> str:
    """How far MLflow is behind, where that is worth a word."""
    if progress.uncopied < _WORTH_A_WORD or progress.seconds < _BEGUN_SECONDS:
        return ""
    return f"MLflow {count(progress.uncopied, 'trial')} behind"


def _control_done(progress: Progress) -> str:
    """The first round has as many trials as the search, all others are repeats."""
    trials = progress.planned
    if progress.round == 1:
        return f"{progress.controlled} of {trials} trials"
    return f"{progress.controlled - trials} of {progress.control - trials} repeats"


def _bar_line(title: str, done: int, total: int, said: str) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(total, 1), completed=done, width=40)
    grid.add_row(title, bar, f"{done} of {total} trials ({said})")
    return grid
