"""Whatever workers do and in whatever order, the store agrees with a model of a few dozen lines.

Workers claim, renew, commit, hand back, die, vanish and come back late; rounds are closed by one,
by two at once, by one who dies in between. After every step the database must hold exactly what
the model says, and in the end an ordinary worker must be able to finish the study.
"""

import json
import math
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from optuna.storages._rdb.models import TrialModel, TrialValueModel
from sqlalchemy import select, update

from hpsearch.errors import LeaseLostError
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED, TrialState
from hpsearch.store import rounds, tables
from hpsearch.store.claims import claim, set_values
from hpsearch.store.leases import MOST_LOSSES, hand_back, renew
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.rounds import release_closing, take_closing, write_closing
from hpsearch.store.workers import process_identity, recover_dead_workers, worker_stopped
from hpsearch.worker import _decide, close_finished_round

# Histories a run tries on either database. CONTRIBUTING.md says when to try more.
EXAMPLES = int(os.environ.get("HPSEARCH_EXAMPLES", "12"))
STEPS = 40
# Time passes only where a step says so, however long the steps take.
FOREVER = 1e6

ROUNDS, TRIALS, FINALISTS, SEEDS = 2, 4, 2, 2
# What a claim asks for at most.
MOST = 4
MOST_WORKERS = 3
# Claims in which a round is trained to its end, or a trial lost for good.
MANY = 8
STUDY = {
    "space": {
        "learning_rate": {"low": 1e-3, "high": 1.0, "scale": "log"},
        "hidden": {"choices": [[4], [5]]},
    },
    "confirmation": {"finalists": FINALISTS, "seeds": SEEDS},
}
OPTUNA_STATES = {
    "waiting": "WAITING",
    "running": "RUNNING",
    "complete": "COMPLETE",
    "diverged": "PRUNED",
    "discarded": "PRUNED",
    "failed": "FAIL",
}


# ------------------------------------------------------------------- the model


@dataclass
class ModelTrial:
    """What must be known of a trial: whose it is, how often it was tried, how it ended."""

    row: int
    number: int
    values: dict | None
    shape: list | None
    state: str = "waiting"
    token: int | None = None
    worker: int | None = None
    lapsed: bool = False
    attempts: list = field(default_factory=list)
    losses: int = 0
    score: float | None = None

    @classmethod
    def planned(cls, row, number, values):
        """What is planned without values has no shape, also once it has values."""
        return cls(row, number, values, values and values["hidden"])

    def free(self, outcome):
        """Nobody trains it any more, and it waits."""
        self.attempts[-1] = outcome
        self.state, self.token, self.worker, self.lapsed = "waiting", None, None, False

    def end(self, state, score, outcome):
        self.attempts[-1] = outcome
        self.state, self.score, self.token, self.lapsed = state, score, None, False

    def lose(self, outcome, *, blame=True):
        self.losses += blame
        if self.losses < MOST_LOSSES:
            self.free(outcome)
        else:
            self.end("failed", None, outcome)


class Model:
    """A study without a database: rounds of trials, of which the last is the open one."""

    def __init__(self):
        self.rounds = []
        self.complete = False
        self.workers, self.dead = set(), set()  # those who count for a share; those of them gone
        self.closer = None  # (token, worker) of who closes the open round
        self.closer_lapsed = False
        self.written = set()  # tokens of closes that were stored

    @property
    def trials(self):
        return [trial for trials in self.rounds for trial in trials]

    def with_state(self, state):
        return [trial for trial in self.rounds[-1] if trial.state == state]

    def owned(self, token):
        return [trial for trial in self.trials if trial.token == token]

    def claim(self, worker, most):
        """Trials a worker's next claim must get: the lowest of one shape, or one lost before."""
        if self.complete:
            return []
        for trial in self.with_state("running"):
            if trial.lapsed:
                trial.lose("taken over")
        waiting = self.with_state("waiting")
        share = max(1, min(most, math.ceil(len(waiting) / len(self.workers | {worker}))))
        fresh = [trial for trial in waiting if not trial.losses]
        if fresh:
            return [trial for trial in fresh if trial.shape == fresh[0].shape][:share]
        return waiting[:1]

    def leave(self, workers, *, blame=True):
        """Workers are gone: what they hold is free."""
        self.workers -= workers
        self.dead -= workers
        theirs = [t for t in self.trials if t.state == "running" and t.worker in workers]
        for trial in theirs:
            trial.lose("lost", blame=blame)
        if self.closer and self.closer[1] in workers:
            self.closer = None
        return len(theirs)

    @property
    def closable(self):
        return not self.complete and all(t.state in FINISHED for t in self.rounds[-1])

    @property
    def may_be_taken(self):
        return self.closable and (self.closer is None or self.closer_lapsed)

    def planned_next(self):
        """How many trials the round after the open one has; 0 where the study is over."""
        if len(self.rounds) < ROUNDS:
            return TRIALS
        scored = sum(trial.score is not None for trial in self.trials)
        return min(FINALISTS, scored) * SEEDS if len(self.rounds) == ROUNDS else 0


# ---------------------------------------------------------------- the database


@dataclass(frozen=True)
class Stored:
    """Everything the database says about a study at one moment."""

    study: dict
    rounds: list
    trials: dict
    attempts: dict
    epochs: Counter
    ledger: Counter
    optuna: dict

    @classmethod
    def read(cls, database, study):
        trial, attempt, epoch = tables.trial.c, tables.attempt.c, tables.epoch.c
        mine = select(trial.id).where(trial.study_id == study.id)
        optunas = select(trial.optuna_trial_id).where(trial.study_id == study.id)
        with database.reading() as connection:

            def rows(statement):
                return [dict(row) for row in connection.execute(statement).mappings()]

            attempts = {}
            for row in rows(
                select(tables.attempt)
                .where(attempt.trial_id.in_(mine))
                .order_by(attempt.trial_id, attempt.number)
            ):
                attempts.setdefault(row["trial_id"], []).append(row)
            trials = rows(select(tables.trial).where(trial.study_id == study.id))
            return cls(
                study=rows(select(tables.study).where(tables.study.c.id == study.id))[0],
                rounds=rows(
                    select(tables.round_)
                    .where(tables.round_.c.study_id == study.id)
                    .order_by(tables.round_.c.id)
                ),
                trials={row["id"]: row for row in trials},
                attempts=attempts,
                epochs=Counter(
                    connection.scalars(select(epoch.trial_id).where(epoch.trial_id.in_(mine)))
                ),
                ledger=Counter(
                    row["round"]
                    for row in rows(
                        select(tables.ledger).where(tables.ledger.c.study_id == study.id)
                    )
                ),
                optuna={
                    row["trial_id"]: row
                    for row in rows(
                        select(TrialModel.__table__, TrialValueModel.value)
                        .outerjoin(TrialValueModel)
                        .where(TrialModel.trial_id.in_(optunas))
                    )
                },
            )


def check_agreement(stored, model):
    """Row by row the database says what the model says."""
    told = {
        trial.row: (
            trial.number,
            trial.values,
            trial.state,
            trial.token,
            trial.worker,
            trial.losses,
            trial.score,
            trial.attempts,
        )
        for trial in model.trials
    }
    assert told == {
        i: (
            row["number"],
            row["values"] and json.loads(row["values"]),
            row["state"],
            row["token"],
            row["worker_id"],
            row["losses"],
            row["score"],
            [attempt["outcome"] for attempt in stored.attempts.get(i, [])],
        )
        for i, row in stored.trials.items()
    }
    assert [row["state"] for row in stored.rounds] == ["closed"] * (len(model.rounds) - 1) + [
        "closed" if model.complete else "open"
    ]
    assert stored.study["state"] == ("complete" if model.complete else "running")


def check_trials(stored):
    """What holds for every trial at any time, model or not."""
    for i, row in stored.trials.items():
        attempts = stored.attempts.get(i, [])
        running, finished = row["state"] == "running", row["state"] in FINISHED
        assert [attempt["number"] for attempt in attempts] == list(range(1, row["attempts"] + 1))
        assert all((a["outcome"] == "running") == (a["ended"] is None) for a in attempts)
        assert [a["outcome"] for a in attempts].count("running") == running
        assert (row["token"] is not None) == (row["lease_until"] is not None) == running
        assert (row["finished"] is not None) == finished
        assert (row["state"] == "waiting") <= (row["worker_id"] is None)
        assert row["losses"] <= MOST_LOSSES
        assert (stored.epochs[i] > 0) <= finished
    tokens = {row["token"]: row["worker_id"] for row in stored.trials.values() if row["token"]}
    held = {(r["token"], r["worker_id"]) for r in stored.trials.values() if r["token"]}
    assert len(held) == len(tokens), "one token is one worker's"


def check_optuna(stored):
    """Optuna shows the same trials in the same states with the same scores."""
    for row in stored.trials.values():
        theirs = stored.optuna[row["optuna_trial_id"]]
        assert theirs["state"].name == OPTUNA_STATES[row["state"]]
        assert theirs["value"] == row["score"]
        assert (theirs["datetime_start"] is not None) == (row["started"] is not None)
        assert (theirs["datetime_complete"] is not None) == (row["finished"] is not None)
        assert theirs["number"] == row["number"]


def check_rounds(stored):
    """Rounds follow each other, hold what was planned, and each has its ranges once."""
    order = [(row["purpose"], row["number"]) for row in stored.rounds]
    whole = [(Purpose.SEARCH, n + 1) for n in range(ROUNDS)] + [(Purpose.CONFIRMATION, 1)]
    assert order == whole[: len(order)]
    for before, after in zip(stored.rounds, stored.rounds[1:], strict=False):
        assert before["closed"] <= after["opened"]
    counted = Counter(row["round_id"] for row in stored.trials.values())
    assert counted == {row["id"]: row["planned"] for row in stored.rounds}
    closed = sum(r["state"] == "closed" for r in stored.rounds if r["purpose"] == Purpose.SEARCH)
    assert stored.ledger == {n: len(STUDY["space"]) for n in range(1, closed + 2)}


# -------------------------------------------------------------------- the rules


def ended(state, score):
    """A result as a worker commits it."""
    measured = {"validation_accuracy": score, "validation_loss": 1.0}
    curve = {} if state == TrialState.FAILED else {1: measured, 2: measured}
    message = "ValueError: no" if state == TrialState.FAILED else None
    return TrialResult(TrialState(state), curve, message)


ENDS = st.lists(
    st.sampled_from([None, "complete", "complete", "complete", "diverged", "discarded", "failed"]),
    min_size=MOST,
    max_size=MOST,
)
SCORES = st.sampled_from([0.25, 0.5, 0.75])
# Better than any: if it counted, it would be seen.
LATE = 1.0


def plain(values):
    """Values as they stand in the database, lists for tuples."""
    return values and json.loads(json.dumps(values))


class StoreMachine(RuleBasedStateMachine):
    """Anything workers may do to a study, tried on a database and on the model at once."""

    names = count()

    def __init__(self, database, make_study, make_worker, finish):
        super().__init__()
        self.database = database
        self.make_study, self.make_worker, self.finish = make_study, make_worker, finish
        self.workers, self.claims, self.closes = [], [], []
        self.results = {}

    @initialize(sampler=st.sampled_from(["sobol", "tpe"]))
    def create(self, sampler):
        search = {"rounds": ROUNDS, "trials": TRIALS, "sampler": sampler}
        self.study = self.make_study(name=f"study-{next(self.names)}", search=search, **STUDY)
        self.model = Model()
        self.learn_round(TRIALS)
        self.register()

    def learn_round(self, planned):
        """The model is told what values a new round has; how many there are it knows."""
        trial = tables.trial.c
        known = {t.row for t in self.model.trials}
        with self.database.reading() as connection:
            rows = connection.execute(
                select(trial.id, trial.number, trial["values"].label("text"))
                .where(trial.study_id == self.study.id, trial.id.not_in(known))
                .order_by(trial.number)
            ).all()
        assert len(rows) == planned
        self.model.rounds.append(
            [
                ModelTrial.planned(row.id, row.number, row.text and json.loads(row.text))
                for row in rows
            ]
        )

    # One rule that draws what happens next: of several rules Hypothesis leaves out half in each
    # history, and few are left then in which anything is claimed, lost and closed.

    @rule(event=st.runner().flatmap(lambda machine: machine.possible_events()))
    def something_happens(self, event):
        name, *arguments = event
        getattr(self, name)(*arguments)

    def possible_events(self):
        """What may happen now, each as the name of a method and its arguments."""
        worker = st.sampled_from(self.workers)
        then = st.sampled_from(["holds", "holds", "commits", "vanishes", "trains all", "is deadly"])
        how = st.sampled_from(["stops", "dies", "is missed"])
        events = [
            st.tuples(st.just("claim"), worker, st.integers(1, MOST), then, SCORES),
            st.tuples(st.just("leave"), worker, how),
        ]
        if len(self.model.workers) < MOST_WORKERS:
            events.append(st.tuples(st.just("register")))
        if self.model.dead:
            events.append(st.tuples(st.just("recover"), st.booleans()))
        return st.one_of(events + self.events_of_claims(worker) + self.events_of_closes(worker))

    def events_of_claims(self, worker):
        events = []
        live, over = [], []
        for index, taken in enumerate(self.claims):
            (live if self.model.owned(taken.token) else over).append(index)
        if live:
            how = st.sampled_from(["commits", "commits", "renews", "vanishes", "hands back"])
            events.append(st.tuples(st.just("go_on"), st.sampled_from(live), how, ENDS, SCORES))
        running = {trial.row for trial in self.model.with_state("running")}
        taken_over = [i for i in over if running & {t.id for t in self.claims[i].trials}]
        return events + [
            st.tuples(st.just("come_back_late"), st.sampled_from(late), worker)
            for late in (over, taken_over)
            if late
        ]

    def events_of_closes(self, worker):
        events = []
        if self.model.closable:
            how = st.sampled_from(["holds it", "vanishes", "is overtaken", "writes it"])
            events += [st.tuples(st.just("close"), worker, how)] * 2
            events.append(st.tuples(st.just("close_at_once"), worker))
        if self.closes:
            how = st.sampled_from(["writes it", "writes it", "gives it back"])
            events.append(
                st.tuples(st.just("go_on_closing"), st.integers(-len(self.closes), -1), how)
            )
        return events

    # workers

    def register(self):
        self.workers.append(self.make_worker(self.study))
        self.model.workers.add(self.workers[-1])

    def leave(self, worker, how):
        """Of a worker that was taken for dead nobody can say that it does not live on."""
        if how == "stops":
            worker_stopped(self.database, worker)
            self.model.leave({worker})
        else:
            self.die(worker)
        if how == "is missed":
            self.recover(blame=True)

    def recover(self, blame):
        freed = recover_dead_workers(self.database, self.study.id, blame=blame)
        assert freed == self.model.leave(set(self.model.dead), blame=blame)

    # trials

    def claim(self, worker, most, then, score):
        """What single steps seldom bring about, a whole round or a third loss, some do at once."""
        for _ in range(MANY if then in {"trains all", "is deadly"} else 1):
            taken = self.take(worker, most)
            if taken is None:
                break
            if then in {"commits", "trains all"}:
                self.commit(taken, ["complete"] * MOST, score)
            elif then in {"vanishes", "is deadly"}:
                self.lapse(taken)

    def go_on(self, index, how, ends, score):
        """Something becomes of a claim whose trials are still its worker's."""
        taken = self.claims[index]
        if how == "commits":
            self.commit(taken, ends, score)
        elif how == "renews":
            self.renew(taken)
        elif how == "vanishes":
            self.lapse(taken)
        else:
            self.hand_back(taken)

    def come_back_late(self, index, worker):
        """Whatever is done with a claim whose trials are finished or somebody else's: nothing."""
        taken = self.claims[index]
        self.commit(taken, ["complete"] * MOST, LATE)
        self.hand_back(taken)
        assert not renew(self.database, taken, worker, FOREVER)

    def take(self, worker, most):
        taken = claim(self.database, self.study.id, worker, most, FOREVER)
        expected = self.model.claim(worker, most)
        assert [t.id for t in (taken.trials if taken else ())] == [t.row for t in expected]
        if taken is None:
            return None
        assert [plain(t.values) for t in taken.trials] == [t.values for t in expected]
        for trial in expected:
            trial.state, trial.token, trial.worker = "running", taken.token, worker
            trial.attempts.append("running")
        self.claims.append(taken)
        return taken

    def suggest(self, taken):
        """As a sampler does for trials that were planned without values."""
        space = self.study.spec.space
        values = {t.id: space.at([(t.number + 1) / 100] * 2) for t in taken.trials if not t.values}
        owned = {t.row: t for t in self.model.owned(taken.token)}
        if not set(values) <= set(owned):
            with pytest.raises(LeaseLostError):
                set_values(self.database, taken, space, values)
        elif values:
            set_values(self.database, taken, space, values)
            for row, value in values.items():
                owned[row].values = plain(value)

    def commit(self, taken, ends, score):
        """The results of a claim, or of those of its trials for which there is an end."""
        self.suggest(taken)
        results = {
            t.id: ended(state, score)
            for t, state in zip(taken.trials, ends, strict=False)
            if state is not None
        }
        owned = [t for t in self.model.owned(taken.token) if t.row in results]
        assert sorted(commit(self.database, taken, results)) == sorted(t.row for t in owned)
        for trial in owned:
            state = results[trial.row].state
            trial.end(state, score if state == TrialState.COMPLETE else None, "finished")

    def renew(self, taken):
        owned = self.model.owned(taken.token)
        assert renew(self.database, taken, owned[0].worker, FOREVER)
        for trial in owned:
            trial.lapsed = False

    def hand_back(self, taken):
        hand_back(self.database, taken)
        for trial in self.model.owned(taken.token):
            trial.free("returned")

    # rounds

    def close(self, worker, how):
        self.take_close(worker)
        late = self.closes[-1:]
        if how in {"vanishes", "is overtaken"}:
            self.lapse_close()
        if how == "is overtaken":
            self.take_close(worker)
        if how in {"writes it", "is overtaken"} and late:
            self.write_close(*late)

    def go_on_closing(self, index, how):
        """By who holds the close, by who held it before, by who has written it already."""
        task = self.closes[index]
        if how == "writes it":
            self.write_close(task)
        elif how == "gives it back":
            self.give_close_back(task)

    def take_close(self, worker):
        task = take_closing(self.database, self.study.id, worker)
        assert (task is not None) == self.model.may_be_taken
        if task is not None:
            self.model.closer, self.model.closer_lapsed = (task.token, worker), False
            self.closes = [*self.closes[-1:], task]

    def write_close(self, task):
        closing, space = _decide(self.database, self.study, task), self.study.spec.space
        if self.holds(task):
            write_closing(self.database, task, space, closing)
            self.model.written.add(task.token)
            self.closed()
        elif task.token in self.model.written:
            # As after a connection that broke behind its commit: it is done, and nothing is lost.
            write_closing(self.database, task, space, closing)
        else:
            with pytest.raises(LeaseLostError):
                write_closing(self.database, task, space, closing)

    def give_close_back(self, task):
        release_closing(self.database, task)
        if self.holds(task):
            self.model.closer = None

    def holds(self, task):
        return self.model.closer is not None and self.model.closer[0] == task.token

    def close_at_once(self, worker):
        """Two workers find the same round finished at the same moment."""
        with ThreadPoolExecutor(2) as pool:
            tries = [
                pool.submit(close_finished_round, self.database, self.study, worker)
                for _ in range(2)
            ]
            closed = [one.result(timeout=60) for one in tries]
        assert sum(closed) == self.model.may_be_taken
        if any(closed):
            self.closed()

    def closed(self):
        planned = self.model.planned_next()
        self.model.closer, self.model.closer_lapsed = None, False
        if planned:
            self.learn_round(planned)
        else:
            self.model.complete = True

    # what must hold

    @invariant()
    def all_is_well(self):
        self.stored = stored = Stored.read(self.database, self.study)
        check_agreement(stored, self.model)
        check_trials(stored)
        check_optuna(stored)
        check_rounds(stored)
        self.check_results(stored)

    def check_results(self, stored):
        """What is written once is never changed."""
        for i, row in stored.trials.items():
            if row["state"] in FINISHED:
                written = (row, stored.epochs[i], stored.optuna[row["optuna_trial_id"]])
                assert self.results.setdefault(i, written) == written

    def teardown(self):
        """Once every lease has lapsed, one ordinary worker finishes what is left."""
        if sys.exc_info()[0] is not None:
            return
        with self.database.writing() as connection:
            mine = tables.trial.c.study_id == self.study.id
            running = tables.trial.c.state == TrialState.RUNNING
            connection.execute(update(tables.trial).where(mine, running).values(lease_until=0.0))
            connection.execute(update(tables.round_).values(closing_until=0.0))
        assert self.finish(self.study).state == "complete"
        stored = Stored.read(self.database, self.study)
        check_trials(stored)
        check_optuna(stored)
        check_rounds(stored)
        self.check_results(stored)
        assert {row["state"] for row in stored.trials.values()} <= set(FINISHED)
        assert {row["state"] for row in stored.rounds} == {"closed"}

    # what time does

    def die(self, worker):
        """Its process is gone, which nobody has seen yet."""
        *place, born = process_identity(os.getpid()).split("|")
        self.change(tables.worker, worker, process="|".join([*place, f"{born}0"]))
        if worker in self.model.workers:
            self.model.dead.add(worker)

    def lapse(self, taken):
        """The worker of a claim was not heard of for the length of a lease."""
        for trial in self.model.owned(taken.token):
            self.change(tables.trial, trial.row, lease_until=0.0)
            trial.lapsed = True

    def lapse_close(self):
        if self.model.closer:
            self.change(tables.round_, self.stored.rounds[-1]["id"], closing_until=0.0)
            self.model.closer_lapsed = True

    def change(self, table, row, **values):
        with self.database.writing() as connection:
            connection.execute(update(table).where(table.c.id == row).values(**values))


def test_the_store_agrees_with_a_model(
    database, make_study, make_worker, work, quick_objective, monkeypatch
):
    """After any history of workers the database holds what the model says, and goes on."""
    monkeypatch.setattr(rounds, "CLOSING_SECONDS", FOREVER)

    def finish(study):
        return work(study, quick_objective(population=TRIALS))

    run_state_machine_as_test(
        lambda: StoreMachine(database, make_study, make_worker, finish),
        settings=settings(
            max_examples=EXAMPLES,
            # The same histories every time; who asks for more gets others.
            derandomize="HPSEARCH_EXAMPLES" not in os.environ,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
