"""Our storage is an Optuna storage: what it writes in bulk is what Optuna would have written."""

import math
import time
from datetime import datetime

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from hpsearch.seeds import Purpose
from hpsearch.store.bulk import FinishedTrial
from hpsearch.store.claims import claim
from hpsearch.store.engine import engine_options, parse_url
from hpsearch.store.reading import trials_document

NAN, INF = float("nan"), float("inf")
STARTED, ENDED = 1_700_000_000.25, 1_700_000_061.5

DISTRIBUTIONS = {
    "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "batch_size": IntDistribution(16, 128),
    "units": IntDistribution(1, 1000, log=True),
    "activation": CategoricalDistribution(["relu", "tanh", "[50, 20]", 3, True]),
}
PARAMS = [
    {
        "learning_rate": 10.0 ** -(2 + i % 4),
        "momentum": i / 10,
        "batch_size": 16 + i,
        "units": 1 + 100 * i,
        "activation": DISTRIBUTIONS["activation"].choices[i % 5],
    }
    for i in range(7)
]
# One trial per line: state, value, intermediate values.
ENDS = [
    (TrialState.COMPLETE, 0.875, {1: 0.5, 2: 0.875}),
    (TrialState.PRUNED, None, {1: 0.5, 2: NAN}),
    (TrialState.PRUNED, None, {1: INF, 2: -INF}),
    (TrialState.FAIL, None, {}),
    (TrialState.COMPLETE, 0.0, {1: 0.0}),
]


class TestOptunaStorage(StorageTestCase):
    """Everything Optuna asks of a storage holds for ours."""

    @pytest.fixture
    def storage(self, shared_storage):
        """The same storage for all tests, emptied after each; making tables takes longer."""
        yield shared_storage
        shared_storage.remove_session()
        with shared_storage.engine.begin() as connection:
            for table in reversed(BaseModel.metadata.sorted_tables):
                if table.name != "version_info":
                    connection.execute(table.delete())


@pytest.fixture
def _seoul(monkeypatch):
    """A time zone that is nine hours from UTC, all year."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        yield
    time.tzset()


def write_in_bulk(database, name):
    """Five trials that ended, one that runs, one that waits."""
    storage = database.storage
    study_id = storage.find_or_create_study(name)
    with database.writing() as connection:
        ids = storage.insert_waiting(connection, study_id, [*PARAMS[:5], None, None], DISTRIBUTIONS)
        storage.insert_params(
            connection, dict(zip(ids[5:], PARAMS[5:], strict=True)), DISTRIBUTIONS
        )
        storage.start(connection, ids[:6], STARTED)
        ends = [FinishedTrial(i, *end) for i, end in zip(ids, ENDS, strict=False)]
        storage.finish(connection, ends, ENDED)
    return study_id


def templates():
    started, ended = datetime.fromtimestamp(STARTED), datetime.fromtimestamp(ENDED)
    states = [*ENDS, (TrialState.RUNNING, None, {}), (TrialState.WAITING, None, {})]
    return [
        FrozenTrial(
            number=number,
            state=state,
            value=value,
            datetime_start=None if state == TrialState.WAITING else started,
            datetime_complete=ended if state.is_finished() else None,
            params=params,
            distributions=DISTRIBUTIONS,
            user_attrs={},
            system_attrs={},
            intermediate_values=steps,
            trial_id=-1,
        )
        for number, ((state, value, steps), params) in enumerate(zip(states, PARAMS, strict=True))
    ]


def write_by_templates(storage, name):
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
    for template in templates():
        storage.create_new_trial(study_id, template_trial=template)
    return study_id


def write_step_by_step(storage, name):
    """As `study.optimize` does, one call per value; times are those of the calls."""
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
    for template in templates():
        running = template.state != TrialState.WAITING
        trial_id = storage.create_new_trial(study_id)
        for key, distribution in DISTRIBUTIONS.items():
            internal = distribution.to_internal_repr(template.params[key])
            storage.set_trial_param(trial_id, key, internal, distribution)
        for step, value in template.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        if template.state.is_finished():
            storage.set_trial_state_values(trial_id, template.state, template.values)
        elif not running:
            storage.set_trial_state_values(trial_id, TrialState.WAITING)
    return study_id


def fields(trial):
    """Every field of a FrozenTrial but its id; text, because NaN differs from itself."""
    kept = {key: value for key, value in vars(trial).items() if key != "_trial_id"}
    times = {"started": trial.datetime_start, "completed": trial.datetime_complete}
    return {key: repr(value) for key, value in (kept | times).items()}


@pytest.mark.usefixtures("_seoul")
def test_bulk_reads_back_as_written_through_the_api(database, database_url):
    """Trials written in bulk equal, in every field, those written through Optuna's API."""
    address = parse_url(database_url)
    plain = RDBStorage(
        address.render_as_string(hide_password=False), engine_kwargs=engine_options(address)
    )
    bulk_id = write_in_bulk(database, "bulk")
    api_id = write_by_templates(plain, "api")
    bulk = [fields(trial) for trial in plain.get_all_trials(bulk_id)]
    api = [fields(trial) for trial in plain.get_all_trials(api_id)]
    plain.engine.dispose()
    assert len(bulk) == 7
    assert bulk == api
    assert bulk[0]["started"] == repr(datetime(2023, 11, 15, 7, 13, 20, 250_000))


TIMES = "datetime_start, datetime_complete"
RAW = {
    "trials": "number, state",
    "trial_params": "number, param_name, param_value, distribution_json",
    "trial_values": "number, objective, value, value_type",
    "trial_intermediate_values": "number, step, intermediate_value, intermediate_value_type",
}


def raw_rows(database, study_id, *, times):
    """Stored rows of a study without ids, as text, with SQLite's storage classes."""
    rows = {}
    with database.reading() as connection:
        for table, columns in RAW.items():
            wanted = f"{columns}, {TIMES}" if times and table == "trials" else columns
            join = "" if table == "trials" else "JOIN trials USING (trial_id)"
            found = connection.execute(
                text(f"SELECT {wanted} FROM {table} {join} WHERE study_id = :study_id"),  # noqa: S608
                {"study_id": study_id},
            )
            rows[table] = sorted(repr(tuple(row)) for row in found)
    return rows


@pytest.mark.usefixtures("_seoul")
def test_raw_rows_are_those_of_the_api(database):
    """Stored rows are equal too, so that other readers of Optuna's tables see no difference."""
    bulk_id = write_in_bulk(database, "bulk")
    template_id = write_by_templates(database.storage, "templates")
    steps_id = write_step_by_step(database.storage, "steps")
    bulk = raw_rows(database, bulk_id, times=True)
    assert bulk == raw_rows(database, template_id, times=True)
    assert raw_rows(database, bulk_id, times=False) == raw_rows(database, steps_id, times=False)
    assert "2023-11-14 22:13:20.25" in bulk["trials"][0] or "2023, 11, 14, 22" in bulk["trials"][0]


def test_bulk_numbers_follow_trials_made_by_others(database):
    """Trials added in bulk get the numbers after those that came through the API."""
    storage = database.storage
    study_id = storage.find_or_create_study("shared")
    storage.create_new_trial(study_id)
    with database.writing() as connection:
        storage.insert_waiting(connection, study_id, [None, None], {})
    storage.create_new_trial(study_id)
    assert [trial.number for trial in storage.get_all_trials(study_id)] == [0, 1, 2, 3]


def test_a_round_may_have_more_trials_than_a_statement_has_parameters(database):
    """A large grid is written at once: PostgreSQL binds 65,535 values, SQLite 32,766."""
    storage = database.storage
    study_id = storage.find_or_create_study("large")
    rate = {"rate": FloatDistribution(0.0, 1.0)}
    with database.writing() as connection:
        ids = storage.insert_waiting(connection, study_id, [{"rate": 0.5}] * 66_000, rate)
        assert len(set(ids)) == storage.next_number(connection, study_id) == 66_000


def test_a_handed_back_trial_waits_as_on_the_first_day(database):
    """After `hand_back` Optuna sees a trial equal to one that was never started."""
    storage = database.storage
    study_id = storage.find_or_create_study("returned")
    with database.writing() as connection:
        ids = storage.insert_waiting(connection, study_id, PARAMS[:2], DISTRIBUTIONS)
        storage.start(connection, ids[:1], STARTED)
        storage.hand_back(connection, ids[:1])
    first, second = storage.get_all_trials(study_id)
    assert (first.state, first.datetime_start) == (TrialState.WAITING, None)
    assert (first.state, first.datetime_start) == (second.state, second.datetime_start)


# ----------------------------------------------------------- for Optuna's users


def optuna_study(database, name):
    return optuna.load_study(study_name=name, storage=database.storage)


def test_load_study_opens_a_finished_study(database, finished_study):
    """`optuna.load_study` shows the search trials, all of them, and the best of them."""
    document = trials_document(database, finished_study)
    search = [trial for trial in document if trial["purpose"] == Purpose.SEARCH]
    loaded = optuna_study(database, finished_study.name)
    assert len(loaded.trials) == len(search) == finished_study.spec.planned_trials
    assert loaded.best_value == max(trial["score"] for trial in search)
    best = search[loaded.best_trial.number]
    assert best["values"] == loaded.best_params
    assert best["score"] == loaded.best_value
    assert all(trial.datetime_start <= trial.datetime_complete for trial in loaded.trials)
    assert all(list(trial.intermediate_values) == [1, 2] for trial in loaded.trials)


def test_repeats_stand_in_a_study_of_their_own(database, finished_study):
    """Confirmation trials are in NAME/confirmation and never among the search's trials."""
    repeats = optuna_study(database, f"{finished_study.name}/confirmation").trials
    confirmation = finished_study.spec.confirmation
    assert len(repeats) == confirmation.finalists * confirmation.seeds


def test_diverged_trials_are_pruned(database, study, work, diverging_objective):
    """A diverged trial is PRUNED without a value, and so can never become the best."""
    work(study, diverging_objective())
    trials = optuna_study(database, study.name).trials
    assert {trial.state for trial in trials} == {TrialState.PRUNED}
    assert {trial.value for trial in trials} == {None}
    assert all(math.isnan(trial.intermediate_values[2]) for trial in trials)


def test_a_foreign_ask_disturbs_nothing(database, make_study, work):
    """Whoever takes, measures and even ends a WAITING row through Optuna changes no result."""
    calm, study = make_study(name="calm"), make_study(name="disturbed")
    foreign = optuna_study(database, study.name)
    taken = [foreign.ask() for _ in range(3)]
    taken[0].report(0.1, step=1)
    foreign.tell(taken[1], 1e9)
    foreign.tell(taken[2], state=TrialState.FAIL)
    assert [trial.number for trial in taken] == [0, 1, 2]
    assert work(study).winner == work(calm).winner
    assert results(database, study) == results(database, calm)
    loaded = optuna_study(database, study.name)
    assert loaded.best_value < 1
    assert {trial.state for trial in loaded.trials} == {TrialState.COMPLETE}
    assert list(loaded.trials[0].intermediate_values) == [1, 2]


def results(database, study):
    kept = ("purpose", "number", "state", "values", "score", "epochs")
    return [[trial[key] for key in kept] for trial in trials_document(database, study)]


def test_a_foreign_suggestion_is_replaced_by_ours(database, make_study, work):
    """Values somebody suggested on a row whose sampler had not spoken yet do not stay."""
    study = make_study(name="late", search={"rounds": 1, "trials": 4, "sampler": "tpe"})
    foreign = optuna_study(database, study.name).ask()
    foreign.suggest_float("learning_rate", 1e-3, 1.0, log=True)
    work(study)
    loaded = optuna_study(database, study.name).trials[0]
    ours = next(t for t in trials_document(database, study) if t["purpose"] == Purpose.SEARCH)
    assert loaded.params == ours["values"]


def test_ownership_is_not_optunas_state(database, study, worker_id):
    """Trials that Optuna shows as RUNNING or COMPLETE are claimed all the same."""
    foreign = optuna_study(database, study.name)
    foreign.tell(foreign.ask(), 0.5)
    foreign.ask()
    taken = []
    while (got := claim(database, study.id, worker_id, 3)) is not None:
        taken += [trial.number for trial in got.trials]
    assert sorted(taken) == list(range(12))
