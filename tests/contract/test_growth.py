"""Nothing that is asked while trials run takes the database longer in a longer study.

Every statement is measured as it is really sent: SQLite counts the turns of its machine,
PostgreSQL the rows that EXPLAIN ANALYZE says were read. One study is measured young and old.
"""

import os
from collections import defaultdict
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text, update

from hpsearch.store import claims, tables
from hpsearch.store.claims import claim, known_trials, set_values
from hpsearch.store.database import open_database
from hpsearch.store.engine import parse_url
from hpsearch.store.leases import hand_back, renew
from hpsearch.store.mirroring import (
    finished_in_round,
    mirrored_trials,
    opening_result,
    read_mirror,
    rounds_after,
    study_signature,
    write_mirror,
)
from hpsearch.store.reading import elite_numbers, open_work
from hpsearch.store.results import commit
from hpsearch.store.studies import load_study
from hpsearch.store.workers import (
    live_workers,
    process_identity,
    recover_dead_workers,
    register_worker,
    worker_heard_of,
    worker_stopped,
)
from hpsearch.worker import close_finished_round

TRIALS = 12
YOUNG, OLD = 3, 60
# A lease that has lapsed when it is taken, and a process that is gone.
LAPSED, GONE = -1.0, "0"
# What may differ although nothing has grown, the room for every time that something is asked.
ROOM, MORE = 20, 1.5
OUR_INDEXES = sorted(
    (index for table in tables.metadata.tables.values() for index in table.indexes),
    key=lambda index: index.name,
)
# Statements nobody plans: transactions, and rows that are only added.
UNPLANNED = ("BEGIN", "PRAGMA", "INSERT", "SAVEPOINT", "ROLLBACK", "RELEASE")


# ------------------------------------------------------------------- measuring


class Meter:
    """How much work each statement has made for the database in all, and how it was planned."""

    def __init__(self, engine):
        self._sqlite = engine.dialect.name == "sqlite"
        self._turns = 0
        self._last = None
        self.work = defaultdict(int)
        self.times = defaultdict(int)
        self.plans = {}

    def before(self, connection, _cursor, statement, parameters, _context, many):
        """Listener of SQLAlchemy's `before_cursor_execute`."""
        self.settle()
        if statement.startswith(UNPLANNED):
            return
        raw = connection.connection.driver_connection
        first = parameters[0] if many else parameters
        if self._sqlite:
            plan = raw.execute(f"EXPLAIN QUERY PLAN {statement}", first).fetchall()
            self.plans[statement] = "\n".join(row[-1] for row in plan)
            raw.set_progress_handler(self._turn, 1)
            self._last, self._turns = statement, 0
        else:
            plan = _explained(raw, statement, first)
            self.plans[statement] = _summary(plan)
            self._note(statement, _rows_read(plan))

    def settle(self):
        """Rows are fetched after a statement was executed, so its work ends with the next one."""
        if self._last is not None:
            self._note(self._last, self._turns)
        self._last = None

    def _turn(self):
        self._turns += 1
        return 0

    def _note(self, statement, work):
        self.work[statement] += work
        self.times[statement] += 1


def _explained(raw, statement, parameters):
    """PostgreSQL's plan with what really happened, which is undone again."""
    with raw.cursor() as cursor:
        cursor.execute("SAVEPOINT measured")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        (((plan,),),) = (cursor.fetchall(),)
        cursor.execute("ROLLBACK TO SAVEPOINT measured")
    return plan[0]["Plan"]


def _summary(node, depth=0):
    """The plan in a few lines, as EXPLAIN prints it for people."""
    kept = ("Node Type", "Index Name", "Relation Name", "Index Cond", "Filter")
    line = "  " * depth + ", ".join(str(node[key]) for key in kept if key in node)
    return "\n".join([line, *(_summary(child, depth + 1) for child in node.get("Plans", []))])


def _rows_read(node):
    """Rows that the plan's scans looked at, whether they fitted or not."""
    read = sum(_rows_read(child) for child in node.get("Plans", []))
    if "Scan" not in node["Node Type"]:
        return read
    looked_at = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return read + sum(node.get(key, 0) for key in looked_at) * node["Actual Loops"]


@contextmanager
def measured(database):
    """Measure what is sent to the database meanwhile."""
    meter = Meter(database.engine)
    event.listen(database.engine, "before_cursor_execute", meter.before)
    try:
        yield meter
    finally:
        meter.settle()
        event.remove(database.engine, "before_cursor_execute", meter.before)


def grown(young, old):
    """Statements that make more work in the old study, each with its plan there."""
    return [
        f"{young.work[statement]} in round {YOUNG}, {work} in round {OLD}:\n{statement}\n"
        f"{old.plans[statement]}"
        for statement, work in old.work.items()
        if work > MORE * young.work[statement] + ROOM * max(1, young.times[statement])
    ]


# -------------------------------------------------------------------- the study


@pytest.fixture
def database(database_url):
    """A database whose planner takes an index wherever one helps, as it would on large tables."""
    address = parse_url(database_url)
    if address.get_backend_name() == "postgresql":
        # A table of 60 rounds is so small that reading all of it to merge it may look cheapest.
        plans = "-c enable_seqscan=off -c enable_mergejoin=off -c enable_hashjoin=off"
        address = address.update_query_dict({"options": plans})
    database = open_database(address.render_as_string(hide_password=False))
    yield database
    database.close()


@pytest.fixture
def study(make_study):
    """A study with more rounds than are run, all of one shape."""
    return make_study(
        space={
            "learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"},
            "l2": {"low": 0.0, "high": 0.1},
        },
        search={"rounds": OLD + 20, "trials": TRIALS},
    )


class Life:
    """What happens to a study while trials run, round after round."""

    def __init__(self, database, study, objective):
        self.database = database
        self.study = study
        self._objective = objective

    def grow(self, number):
        """Train and close rounds until this one is open."""
        worker = register_worker(self.database, self.study.id, {})[0]
        while open_work(self.database, self.study)["round"] < number:
            self._train(worker)
            assert close_finished_round(self.database, self.study, worker)
        worker_stopped(self.database, worker)
        if self.database.engine.dialect.name == "postgresql":
            self.analyze()  # as it does by itself after a while

    def analyze(self):
        """Let the planner count rows and values."""
        with self.database.writing() as connection:
            connection.execute(text("ANALYZE"))

    def one_round(self):
        """All that workers, `start` and the mirror do from the first claim to the close."""
        database, study = self.database, self.study
        worker = register_worker(database, study.id, {})[0]
        self._lose_some()
        held = claim(database, study.id, worker, 2)
        assert len(known_trials(database, study.id, held)[0]) == claims.MOST_KNOWN
        set_values(database, held, study.spec.space, {t.id: t.values for t in held.trials})
        assert renew(database, held, worker)
        hand_back(database, held)
        claim(database, study.id, worker, 2, LAPSED)
        self._train(worker)
        assert claim(database, study.id, worker, 2) is None
        worker_heard_of(database, worker)
        self._watch()
        self._mirror()
        assert close_finished_round(database, study, worker)
        worker_stopped(database, worker)

    def _lose_some(self):
        """A worker dies over its trials, and `start` sees it."""
        worker = register_worker(self.database, self.study.id, {})[0]
        claim(self.database, self.study.id, worker, 2)
        *place, _ = process_identity(os.getpid()).split("|")
        with self.database.writing() as connection:
            mine, gone = tables.worker.c.id == worker, "|".join([*place, GONE])
            connection.execute(update(tables.worker).where(mine).values(process=gone))
        assert recover_dead_workers(self.database, self.study.id, blame=False) == 2

    def _train(self, worker):
        while (held := claim(self.database, self.study.id, worker, TRIALS)) is not None:
            result = self._objective.result
            commit(self.database, held, {t.id: result(t.values, t.seed) for t in held.trials})

    def _watch(self):
        assert open_work(self.database, self.study)["round"] is not None
        assert load_study(self.database, self.study.name).state == "running"
        assert live_workers(self.database, self.study.id) == 1

    def _mirror(self):
        database, study_id = self.database, self.study.id
        newest, _, _ = study_signature(database, study_id)
        (row,) = rounds_after(database, study_id, newest - 1)
        finished = finished_in_round(database, row.id)
        assert len(mirrored_trials(database, [trial for trial, _ in finished])) == TRIALS
        assert elite_numbers(database, self.study, row.number - 1)
        assert opening_result(database, study_id, 1) is None
        for copied in (1, 2):  # the first time of all adds the row that is then changed
            write_mirror(database, study_id, "somewhere", copied)
        assert read_mirror(database, study_id).trials == 2


@pytest.fixture
def database_url(empty_url):
    """A database of its own: what other tests have deleted makes PostgreSQL read more pages."""
    open_database(empty_url, create=True).close()
    return empty_url


@pytest.fixture
def life(database, study, quick_objective, monkeypatch):
    """The study's life so far: nothing has happened yet."""
    monkeypatch.setattr(claims, "MOST_KNOWN", TRIALS)  # as many as a young study has
    return Life(database, study, quick_objective())


@pytest.fixture
def young(life):
    """What a round takes while the study is young."""
    life.grow(YOUNG)
    with measured(life.database) as meter:
        life.one_round()
    return meter


# ------------------------------------------------------------------- what holds


def check_an_old_round(life, young):
    """A round takes no more now than when the study was young."""
    with measured(life.database) as old:
        life.one_round()
    assert len(old.work) > 20
    slower = grown(young, old)
    assert not slower, "\n\n".join(slower)


def test_no_round_takes_longer_than_the_one_before(life, young):
    """Claims, commits, heartbeats, closes, `start` and the mirror read no more in round 60."""
    life.grow(OLD)
    check_an_old_round(life, young)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_whoever_analyzes_a_file_slows_nothing_down(life, young):
    """With SQLite's statistics, which hpsearch never asks for, the indexes are still taken."""
    life.grow(OLD)
    life.analyze()
    check_an_old_round(life, young)


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_every_index_is_needed(life, young):
    """Without any one of our indexes some statement reads more in round 60: none is idle.

    Only SQLite's counts are exact: tables of a few pages PostgreSQL reads by any index it finds.
    """
    life.grow(OLD)
    slower = {index.name: a_round_without(index, life, young) for index in OUR_INDEXES}
    assert [name for name, statements in slower.items() if not statements] == []
    check_an_old_round(life, young)  # it was the missing index, not the rounds in between


def a_round_without(index, life, young):
    """Statements that make more work where an index is missing."""
    index.drop(life.database.engine)
    try:
        with measured(life.database) as old:
            life.one_round()
    finally:
        index.create(life.database.engine)
    return grown(young, old)
