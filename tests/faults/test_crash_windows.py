"""A process dies by SIGKILL at one chosen moment, and what every process does next mends it.

The moment is a call of one function, before it begins or once it has returned: in a transaction,
just before or just after. What stands in the database then is stated exactly; afterwards the dead
are recovered as `start` does it, and the table must be that of a search in which nobody died.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module

import pytest
from sqlalchemy import func, select

from hpsearch.data.prepared import prepare
from hpsearch.errors import HpsearchError
from hpsearch.final import open_sealed_test
from hpsearch.launch.local import run_in_process
from hpsearch.seeds import Purpose
from hpsearch.store import tables
from hpsearch.store.database import Database, open_database
from hpsearch.store.reading import ranges_document, study_document, trials_document
from hpsearch.store.studies import StoredStudy, create_study, load_study, study_names
from hpsearch.store.workers import recover_dead_workers
from hpsearch.study_file import parse_study
from hpsearch.worker import WorkerOptions, run_worker
from tests.acceptance.conftest import comparable

pytestmark = pytest.mark.slow

# Claimed four at a time: each round is two claims, the confirmation is one.
SEARCH = """
name = "small"
[data]
source = "moons"
samples = 120
[model]
hidden = [4]
[training]
epochs = 2
[space]
learning_rate = { low = 1e-3, high = 1e-1, scale = "log" }
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 2
trials = 8
[confirmation]
finalists = 2
seeds = 2
most_seeds = 2
winner_seeds = 0
"""


# ------------------------------------------------------- what the processes do


def create(url: str) -> None:
    """As `start` begins a study."""
    spec = parse_study(SEARCH, "small.toml")
    prepared = prepare(spec, None)
    with closing(open_database(url, create=True)) as database:
        create_study(database, spec, SEARCH, prepared.fingerprint, len(prepared.validation()))


def search(url: str) -> None:
    """Work until the study is complete."""
    run_worker(WorkerOptions(url, "small", population=4), threading.Event())


def open_split(url: str) -> None:
    """Open the test split, unless its figure is known."""
    open_sealed_test(url, "small", None)


@dataclass(frozen=True)
class Moment:
    """When a process dies.

    Attributes:
        function: `module:name` by which the caller finds the function.
        after: Whether it dies once the function has returned, or before it begins.
        call: In which call of the function, from 1.
    """

    function: str
    after: bool = True
    call: int = 1


def die_at(moment: Moment, work: Callable[[str], None], url: str) -> None:
    """Do this work, and be killed at that moment of it."""
    module, _, path = moment.function.partition(":")
    *owners, name = path.split(".")
    owner = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, _deadly(getattr(owner, name), moment))
    work(url)


def _deadly(function: Callable[..., object], moment: Moment) -> Callable[..., object]:
    calls = 0

    def call(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls < moment.call:
            return function(*arguments, **options)
        if moment.after:
            function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return call


def kill(moment: Moment, work: Callable[[str], None], url: str) -> None:
    """See a process die at that moment, and no other way."""
    with pytest.raises(HpsearchError, match="killed by signal 9"):
        run_in_process(die_at, moment, work, url)


# ------------------------------------------------------------- what they leave


def recovered(database: Database) -> StoredStudy:
    """The study, with what the dead held free again."""
    study = load_study(database, "small")
    recover_dead_workers(database, study.id, blame=False)
    return study


def table(database: Database) -> list[object]:
    """All that must be the same whoever has died: trials, ranges and the winner."""
    study = load_study(database, "small")
    trials = [t for t in trials_document(database, study) if t["purpose"] != Purpose.FINAL]
    return [comparable(trials), ranges_document(database, study), study.winner]


def figure(database: Database) -> object:
    return study_document(database, load_study(database, "small"))["test"]


def count(database: Database, table: str) -> int:
    with database.reading() as connection:
        found = select(func.count()).select_from(tables.metadata.tables[f"hpsearch_{table}"])
        return int(connection.scalar(found) or 0)


@dataclass(frozen=True)
class Left:
    """What a death leaves in the database.

    Attributes:
        trials: How many trials are in each state.
        rounds: State of each round.
        ledger: Rounds whose ranges are decided.
        closing: Whether somebody seems to be closing a round.
    """

    trials: dict[str, int]
    rounds: tuple[str, ...] = ("open",)
    ledger: int = 1
    closing: bool = False

    @classmethod
    def read(cls, database: Database) -> Left:
        with database.reading() as connection:
            states = connection.scalars(select(tables.trial.c.state))
            rounds = connection.execute(select(tables.round_).order_by(tables.round_.c.id)).all()
            ledger = connection.scalars(select(tables.ledger.c.round))
            return cls(
                dict(Counter(states)),
                tuple(row.state for row in rounds),
                len(set(ledger)),
                any(row.closing_token and row.state == "open" for row in rounds),
            )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], object]:
    """The table and the test figure of a search in which nobody died."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/hpsearch.db"
    open_database(url, create=True).close()
    for work in (create, search, open_split):
        work(url)
    with closing(open_database(url)) as database:
        return table(database), figure(database)


# -------------------------------------------------------------- creating a study


CREATING = {
    "Optuna's study is made": "hpsearch.store.bulk:BulkStorage.find_or_create_study",
    "the ledger is written": "hpsearch.store.studies:insert_ledger",
    "Optuna's trials are written": "hpsearch.store.bulk:BulkStorage.insert_waiting",
    "all is written, nothing committed": "hpsearch.store.studies:insert_round",
}


@pytest.mark.parametrize("function", CREATING.values(), ids=CREATING)
def test_a_half_made_study_is_never_seen(
    database: Database, database_url: str, undisturbed: tuple[list[object], object], function: str
) -> None:
    """Who dies while creating a study leaves none, and the next one creates it whole."""
    kill(Moment(function), create, database_url)
    assert study_names(database) == []
    assert [count(database, name) for name in ("round", "trial", "ledger")] == [0, 0, 0]
    assert database.storage.get_n_trials(database.storage.get_study_id_from_name("small")) == 0
    create(database_url)
    search(database_url)
    assert table(database) == undisturbed[0]


# ---------------------------------------------------------------------- searching


SEARCHING = {
    "in a claim": (
        Moment("hpsearch.store.claims:_begin_attempts"),
        Left({"waiting": 8}),
    ),
    "in a claim, all written": (
        Moment("hpsearch.store.bulk:BulkStorage.start", call=2),
        Left({"complete": 4, "waiting": 4}),
    ),
    "in a commit": (
        Moment("hpsearch.store.results:_set_finished"),
        Left({"running": 4, "waiting": 4}),
    ),
    "in a commit, all written": (
        Moment("hpsearch.store.bulk:BulkStorage.finish", call=2),
        Left({"complete": 4, "running": 4}),
    ),
    "between a round's last commit and its close": (
        Moment("hpsearch.worker:take_closing", after=False),
        Left({"complete": 8}),
    ),
    "in a close that is not decided": (
        Moment("hpsearch.worker:_decide", after=False),
        Left({"complete": 8}, closing=True),
    ),
    "in a close that is decided": (
        Moment("hpsearch.worker:write_closing", after=False),
        Left({"complete": 8}, closing=True),
    ),
    "in a close, the ledger written": (
        Moment("hpsearch.store.rounds:insert_ledger"),
        Left({"complete": 8}, closing=True),
    ),
    "in a close, all written": (
        Moment("hpsearch.store.rounds:insert_round"),
        Left({"complete": 8}, closing=True),
    ),
    "right after a close": (
        Moment("hpsearch.worker:write_closing"),
        Left({"complete": 8, "waiting": 8}, ("closed", "open"), ledger=2),
    ),
    "in the close before the confirmation, with Optuna's study made": (
        Moment("hpsearch.store.bulk:BulkStorage.find_or_create_study"),
        Left({"complete": 16}, ("closed", "open"), ledger=2, closing=True),
    ),
    "in the close that names the winner": (
        Moment("hpsearch.store.rounds:winner_text"),
        Left({"complete": 20}, ("closed", "closed", "open"), ledger=3, closing=True),
    ),
    "right after the last close": (
        Moment("hpsearch.worker:write_closing", call=3),
        Left({"complete": 20}, ("closed", "closed", "closed"), ledger=3),
    ),
}


@pytest.mark.parametrize(("moment", "left"), SEARCHING.values(), ids=SEARCHING)
def test_a_worker_dies_and_the_search_goes_on(
    database: Database,
    database_url: str,
    undisturbed: tuple[list[object], object],
    moment: Moment,
    left: Left,
) -> None:
    """A transaction is there whole or not at all, and the table is that of an undisturbed run."""
    create(database_url)
    kill(moment, search, database_url)
    assert Left.read(database) == left
    study = recovered(database)
    search(database_url)
    assert table(database) == undisturbed[0]
    losses = [t["attempts"] - 1 for t in trials_document(database, study)]
    assert sum(losses) == left.trials.get("running", 0)


# ------------------------------------------------------------- opening the test


OPENING = {
    "in the record of an opening": (Moment("hpsearch.store.openings:_record"), 0),
    "between an opening and its rows": (Moment("hpsearch.final:open_test_rows", after=False), 1),
    "between the rows and the figure": (Moment("hpsearch.final:finish_opening", after=False), 1),
    "in the record of the figure": (Moment("hpsearch.store.openings:write_results"), 1),
}


@pytest.mark.parametrize(("moment", "openings"), OPENING.values(), ids=OPENING)
def test_an_opening_is_finished_and_not_counted_twice(
    database: Database,
    database_url: str,
    undisturbed: tuple[list[object], object],
    moment: Moment,
    openings: int,
) -> None:
    """Who dies while the split is open leaves its record, and the next one finishes that one."""
    create(database_url)
    search(database_url)
    kill(moment, open_split, database_url)
    assert (count(database, "test_opening"), figure(database)) == (openings, None)
    open_split(database_url)
    assert count(database, "test_opening") == 1
    assert figure(database) == undisturbed[1]


def test_a_figure_outlives_who_wrote_it(
    database: Database, database_url: str, undisturbed: tuple[list[object], object]
) -> None:
    """Killed right after the figure was committed: it stands, and nothing is opened again."""
    create(database_url)
    search(database_url)
    kill(Moment("hpsearch.final:finish_opening"), open_split, database_url)
    assert figure(database) == undisturbed[1]
    open_split(database_url)
    assert figure(database) == undisturbed[1]
    assert count(database, "test_opening") == 1
