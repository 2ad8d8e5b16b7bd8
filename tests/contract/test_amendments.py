"""A study is amended while it lives, and whoever decides after that decides by it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import delete, select, update
from threadpoolctl import threadpool_limits

from hpsearch.audit import audit
from hpsearch.errors import LeaseLostError, StudyChangedError, UserError
from hpsearch.findings import Verdict
from hpsearch.search.amendments import Change
from hpsearch.seeds import Purpose
from hpsearch.service import wanted_change
from hpsearch.space import Box
from hpsearch.store import tables
from hpsearch.store.amendments import amend, take_back
from hpsearch.store.claims import claim
from hpsearch.store.copying import copy_study
from hpsearch.store.database import open_database
from hpsearch.store.openings import begin_opening, finish_opening
from hpsearch.store.optuna_rows import disagreements
from hpsearch.store.reading import open_work, ranges_document, study_document, trials_document
from hpsearch.store.record import read_record
from hpsearch.store.results import commit
from hpsearch.store.rounds import take_closing, write_closing
from hpsearch.store.studies import create_study, load_study
from hpsearch.study_file import overridden
from hpsearch.worker import Worker, _decide, close_finished_round
from tests.contract.conftest import QuickObjective

IS_ABOVE_THE_DATABASE = True
POSTERIOR = {
    "space": {
        "learning_rate": {"low": 1e-2, "high": 1.0, "scale": "log"},
        "l2": {"low": 0.0, "high": 0.1},
    },
    "search": {"rounds": 2, "trials": 12, "narrowing": "posterior", "sampler": "auto", "waves": 2},
}
WIDER = {"learning_rate": (1e-5, 1.0)}
# So many trials that the elites narrow, and find an edge open.
ELITES = {
    "space": {"learning_rate": {"low": 0.1, "high": 1.0}, "l2": {"low": 0.0, "high": 0.1}},
    "search": {"rounds": 2, "trials": 40},
}


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker's process: BLAS that takes all cores is slow where they are busy."""
    with threadpool_limits(1):
        yield


def start(database, study, **options):
    """What `hpsearch start` with these options makes of a study that is there."""
    spec = overridden(study.spec, **options)
    return amend(database, study, partial(wanted_change, spec=spec))


def train(database, study, worker_id, objective):
    """Train all that waits, and close nothing."""
    while (taken := claim(database, study.id, worker_id, 12)) is not None:
        commit(database, taken, {t.id: objective.result(t.values, t.seed) for t in taken.trials})


def boxes(database, study):
    rounds = study_document(database, study)["rounds"]
    return {r["round"]: Box.from_document(r["ranges"]) for r in rounds}


def ledger(database, study, number):
    rows = [r for r in ranges_document(database, study) if r["round"] == number]
    return {row["dimension"]: row for row in rows}


def of_purpose(database, study, purpose):
    return [t for t in trials_document(database, study) if t["purpose"] == purpose]


def problems(database, study):
    """What verify would say is wrong, but for replays."""
    study = load_study(database, study.name)
    record = read_record(database, study)
    found = [(f.check, f.said) for f in audit(record) if f.verdict != Verdict.OK]
    return found + [("Optuna", said) for said in disagreements(database, record)]


def table(database, study):
    """All that must be the same whoever trained it."""
    left_out = ("started", "finished", "worker", "attempts")
    trials = trials_document(database, study)
    rows = [{k: v for k, v in trial.items() if k not in left_out} for trial in trials]
    return json.dumps([rows, ranges_document(database, study)])


# --------------------------------------------------------------------------- more rounds


def test_a_finished_study_goes_on_with_more_rounds(database, finished_study, work):
    """The next round has the ranges decided before, and fresh seeds choose the winner again."""
    before = ranges_document(database, finished_study)
    following = ledger(database, finished_study, 3)
    study = start(database, finished_study, rounds=4)
    assert (study.state, study.winner, study.spec.rounds) == ("running", None, 4)
    assert study.begun == finished_study.begun
    assert problems(database, study) == []
    study = work(study)
    assert (study.state, study_document(database, study)["planned"]) == ("complete", 48)
    assert ranges_document(database, study)[: len(before)] == before
    third = boxes(database, study)[3].document()
    assert {n: third[n] for n in third} == {
        n: {key: row[key] for key in third[n]} for n, row in following.items()
    }
    assert problems(database, study) == []


def test_another_confirmation_uses_no_seed_again(database, make_study, work):
    """Neither in a race nor where the winner is measured, however often the study goes on."""
    confirmation = {"finalists": 2, "seeds": 4, "most_seeds": 7, "winner_seeds": 2}
    study = work(make_study(confirmation=confirmation))
    for rounds in (3, 4):
        count = len(of_purpose(database, study, "confirmation"))
        study = work(start(database, study, rounds=rounds))
        repeats = of_purpose(database, study, "confirmation")
        earlier = {trial["seed"] for trial in repeats[:count]}
        assert len(repeats) > count
        assert not earlier & {trial["seed"] for trial in repeats[count:]}
        assert study.winner["seeds"] == 2
        assert problems(database, study) == []


def test_what_is_not_confirmed_goes_on_too(database, make_study, work):
    """A study without finalists has its last round followed by another."""
    study = work(make_study(confirmation={"finalists": 0}))
    study = work(start(database, study, rounds=3))
    assert (study.state, list(boxes(database, study))) == ("complete", [1, 2, 3])
    assert problems(database, study) == []


def test_a_study_where_all_diverged_goes_on(database, study, work, diverging_objective):
    """There was no finalist to confirm; what went wrong may go right in another round."""
    study = work(study, diverging_objective())
    study = work(start(database, study, rounds=3))
    assert study.winner is not None
    assert problems(database, study) == []


def test_a_round_that_is_extended_while_it_runs_is_followed_by_another(
    database, study, work, worker_id, quick_objective
):
    """No confirmation comes between when the last round was still open."""
    train(database, study, worker_id, quick_objective())
    close_finished_round(database, study, worker_id)
    study = start(database, study, rounds=3)
    study = work(study)
    assert list(boxes(database, study)) == [1, 2, 3]
    assert len(of_purpose(database, study, "confirmation")) == 4
    assert problems(database, study) == []


def test_a_confirmation_under_way_comes_to_its_end_first(
    database, study, work, worker_id, quick_objective
):
    """Then the search goes on, and the study is not complete in between."""
    while open_work(database, study)["purpose"] != "confirmation":
        train(database, study, worker_id, quick_objective())
        close_finished_round(database, study, worker_id)
    study = start(database, study, rounds=3)
    train(database, study, worker_id, quick_objective())
    close_finished_round(database, study, worker_id)
    assert load_study(database, study.name).state == "running"
    study = work(study)
    assert len(of_purpose(database, study, "confirmation")) == 8
    assert problems(database, study) == []


def test_one_round_has_its_noise_measured_before_a_second(database, make_study, work):
    """The posterior repeats trials of round 1 as it would have done in a longer study."""
    study = work(make_study(**POSTERIOR | {"search": POSTERIOR["search"] | {"rounds": 1}}))
    assert of_purpose(database, study, "repeat") == []
    study = work(start(database, study, rounds=2, limits=WIDER))
    assert len(of_purpose(database, study, "repeat")) == 4
    assert list(boxes(database, study)) == [1, 2]
    assert problems(database, study) == []


def test_the_same_wish_twice_is_one_amendment(database, database_url, finished_study):
    """Whoever asks for what is there already changes nothing, also of many at the same time."""
    ready = threading.Barrier(4)

    def ask(_):
        own = open_database(database_url, write=True)
        ready.wait(timeout=30)
        study = start(own, finished_study, rounds=3)
        own.close()
        return len(study.amendments)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [1] * 4
    assert load_study(database, "small").amendments[0].change == Change(rounds=3)


def test_the_file_as_it_was_begun_goes_on_with_the_amended_study(database, finished_study, work):
    """A file need not follow the amendments; what it never said is another study."""
    study = work(start(database, finished_study, rounds=4))
    file = finished_study.begun
    assert amend(database, study, partial(wanted_change, spec=file)) == study
    for other in (overridden(file, rounds=3), overridden(file, rounds=4, trials=13)):
        with pytest.raises(StudyChangedError, match=r"finished with other settings: \[search\]"):
            amend(database, study, partial(wanted_change, spec=other))


def test_how_far_a_search_is_counts_the_rounds_there_are(database, finished_study):
    """A study that has just been extended has not done what it was given."""
    study = start(database, finished_study, rounds=4)
    assert open_work(database, study)["search_done"] == 24


# -------------------------------------------------------------------------------- undo


@pytest.fixture
def second_round(database, make_study, make_worker, quick_objective):
    """A study of 4 rounds whose second has just been opened."""
    study = make_study(**ELITES | {"search": ELITES["search"] | {"rounds": 4}})
    open_second_round(database, study, make_worker(study), quick_objective())
    return study


def open_second_round(database, study, worker_id, objective):
    """Train the first, and repeat some of its trials."""
    while len(boxes(database, study)) == 1:
        train(database, study, worker_id, objective)
        assert close_finished_round(database, study, worker_id)


def test_an_undo_counts_from_the_next_round_on(database, second_round, work):
    """The open round goes on as it is, the next has the earlier box, and then it narrows again."""
    study = take_back(database, second_round, 2)
    study = work(study)
    found = boxes(database, study)
    assert found[2] != found[1]
    assert found[3] == found[1]
    assert found[4] != found[3]
    (decision,) = {row["decision"] for row in ledger(database, study, 3).values()}
    (reason,) = {row["reason"] for row in ledger(database, study, 3).values()}
    assert decision == "undone"
    assert reason == (
        "undone: the range of round 1 again, because somebody asked to take back what opened "
        "round 2"
    )
    assert problems(database, study) == []


def test_a_finished_study_begins_its_next_round_from_the_earlier_box(database, make_study, work):
    """The undo waits for the round that further rounds give the study."""
    study = work(make_study(**ELITES))
    for _ in range(2):  # the same wish twice is one amendment
        study = take_back(database, study, 2)
    assert (study.state, len(study.amendments)) == ("complete", 1)
    assert problems(database, study) == []
    study = work(start(database, study, rounds=4))
    found = boxes(database, study)
    assert found[3] == found[1] != found[2]
    assert found[4] != found[3]
    assert {row["decision"] for row in ledger(database, study, 3).values()} == {"undone"}
    assert problems(database, study) == []


def test_an_undo_of_the_last_round_outlives_its_close(
    database, make_study, make_worker, work, quick_objective
):
    """What was taken back while the last round ran is not narrowed again by an extension."""
    study = make_study(**ELITES)
    open_second_round(database, study, make_worker(study), quick_objective())
    study = work(take_back(database, study, 2))
    study = work(start(database, study, rounds=3))
    found = boxes(database, study)
    assert found[3] == found[1]
    assert problems(database, study) == []


def test_the_newest_of_two_wishes_counts(database, second_round, work):
    """Who takes back another narrowing before the next round opens has changed his mind."""
    study = work(take_back(database, second_round, 2))
    study = take_back(database, take_back(database, study, 2), 3)
    study = work(start(database, study, rounds=5))
    found = boxes(database, study)
    assert found[5] == found[2] != found[1]
    assert problems(database, study) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "small: round 1 has the declared ranges; nothing came before them"),
        (0, "small: the ranges of round 0 were never decided; give 2 to 2"),
        (3, "small: the ranges of round 3 were never decided; give 2 to 2"),
    ],
)
def test_what_cannot_be_taken_back_is_one_line(database, second_round, number, said):
    """The round is named, and those that could be meant."""
    with pytest.raises(UserError) as caught:
        take_back(database, second_round, number)
    assert str(caught.value) == said


def test_what_was_never_narrowed_is_one_line(database, study, make_study, work):
    """Neither a study that has just begun, nor a grid, nor a round whose ranges were all kept."""
    with pytest.raises(UserError, match="no range has been narrowed yet"):
        take_back(database, study, 2)
    space = {"activation": {"choices": ["relu", "tanh"]}}
    grid = {"name": "grid", "space": space, "search": {"sampler": "grid"}}
    with pytest.raises(UserError, match="a grid narrows nothing"):
        take_back(database, make_study(**grid), 2)
    kept = {"name": "kept", "search": {"rounds": 1, "trials": 3}}
    with pytest.raises(UserError, match="round 2 has the ranges of round 1"):
        take_back(database, work(make_study(**kept)), 2)


# ------------------------------------------------------------------------------ limits


@pytest.mark.parametrize("settings", [POSTERIOR, ELITES], ids=["posterior", "elites"])
def test_limits_open_an_edge_of_a_finished_study(database, make_study, work, settings):
    """With limits beyond the edge where the best trials lie, the next round looks there."""
    study = work(make_study(**settings))
    assert ledger(database, study, 3)["learning_rate"]["edge"] == "lower"
    declared = boxes(database, study)[1]["learning_rate"]
    study = work(start(database, study, rounds=3, limits=WIDER))
    assert boxes(database, study)[3]["learning_rate"].low < declared.low
    assert ledger(database, study, 3)["learning_rate"]["decision"] in {"moved", "widened"}
    lowest = min(t["values"]["learning_rate"] for t in of_purpose(database, study, "search"))
    assert 1e-5 <= lowest < declared.low
    assert problems(database, study) == []


def test_limits_are_looked_beyond_whatever_the_newest_trials_say(database, make_study, work):
    """An edge that only an earlier round has named is offered, and then has to be opened."""
    study = work(make_study(**POSTERIOR))
    assert ledger(database, study, 3)["learning_rate"]["edge"] == "lower"
    study = work(start(database, study, rounds=3, limits={"learning_rate": (1e-2, 10.0)}))
    box = boxes(database, study)[3]["learning_rate"]
    assert box.high == pytest.approx(10.0)
    assert "as its limits were moved out" in ledger(database, study, 3)["learning_rate"]["reason"]
    assert problems(database, study) == []


def test_limits_need_a_round_in_which_they_count(database, make_study, work):
    """Of a search that is over they are refused, with the option that is missing."""
    study = work(make_study(**POSTERIOR))
    with pytest.raises(UserError, match=r"wider limits need another round: add --rounds 3$"):
        start(database, study, limits=WIDER)
    assert load_study(database, study.name) == study


def test_narrower_limits_are_another_study(database, make_study):
    """What trials were placed by cannot be taken away."""
    study = start(database, make_study(**POSTERIOR), limits=WIDER)
    with pytest.raises(StudyChangedError, match=r"learning_rate\.limits"):
        start(database, study, limits={"learning_rate": (1e-4, 1.0)})


@pytest.mark.slow
def test_it_does_not_matter_when_within_a_round_it_is_amended(
    database, make_study, make_worker, work, quick_objective
):
    """Waves of the open round are planned as if nothing had been amended."""
    tables_found = set()
    for name, count in (("at-once", 0), ("after-a-wave", 10)):
        study = make_study(**POSTERIOR | {"name": name})
        worker = make_worker(study)
        while count > len([t for t in trials_document(database, study) if t["score"]]):
            taken = claim(database, study.id, worker, 1)
            if taken is None:
                assert close_finished_round(database, study, worker)
                continue
            results = {t.id: quick_objective().result(t.values, t.seed) for t in taken.trials}
            commit(database, taken, results)
        study = work(start(database, study, rounds=3, limits=WIDER))
        assert problems(database, study) == []
        tables_found.add(table(database, study))
    assert len(tables_found) == 1


# ------------------------------------------------------------------------- control arm

CONTROLLED = {"search": {"rounds": 2, "trials": 12, "control": "random"}}


@pytest.fixture
def extended(database, make_study, make_worker, quick_objective):
    """A study with a control arm whose confirmation has ended with another round asked for."""
    study = make_study(**CONTROLLED)
    worker = make_worker(study)
    while open_work(database, study)["purpose"] != "confirmation":
        train(database, study, worker, quick_objective())
        close_finished_round(database, study, worker)
    study = start(database, study, rounds=3)
    train(database, study, worker, quick_objective())
    close_finished_round(database, study, worker)
    return study


def test_a_control_arm_is_as_large_as_the_extended_search(database, extended, work):
    """It waits for the further rounds, and no decision misses one."""
    assert open_work(database, extended)["purpose"] == "search"
    assert problems(database, extended) == []
    study = work(extended)
    control = study_document(database, study)["control"]
    assert (control["planned"], control["complete"]) == (36, 36)
    assert problems(database, study) == []


def test_a_control_arm_meets_the_seeds_of_the_newest_confirmation(database, extended, work):
    """As replicates of it, which alone found the winner; over them the winners are compared."""
    first = len(of_purpose(database, extended, "confirmation"))
    study = work(extended)
    record = read_record(database, study)
    newest = record.outcomes(Purpose.CONFIRMATION, up_to=2)[first:]
    repeats = record.outcomes(Purpose.CONTROL, up_to=2)[36:]
    assert [o.seed for o in repeats] == [o.seed for o in newest]
    assert {o.replicate for o in newest} == {2, 3}
    assert study_document(database, study)["control"]["difference"]["seeds"] == 2


def test_a_search_that_was_compared_stays_as_it_is(database, make_study, work):
    """From the first control trial on it is refused in one line, but not what is there."""
    study = work(make_study(**ELITES | {"search": ELITES["search"] | {"control": "random"}}))
    assert start(database, study) == study
    said = (
        "small: its control arm has begun, which is compared with the search as it is; "
        "`hpsearch new small-2 --from small` writes a file for another study"
    )
    for ask in (partial(start, rounds=3), lambda *of: take_back(*of, 2)):
        with pytest.raises(UserError) as caught:
            ask(database, study)
        assert str(caught.value) == said
    assert load_study(database, "small") == study


# --------------------------------------------------------- closes, deaths and other workers


def test_a_close_under_way_does_not_slip_through(database, study, worker_id, quick_objective, work):
    """What was decided without the amendment is not written; the next close decides with it."""
    train(database, study, worker_id, quick_objective())
    close_finished_round(database, study, worker_id)
    train(database, study, worker_id, quick_objective())
    task = take_closing(database, study.id, worker_id)
    decided = _decide(database, study, task)
    start(database, study, rounds=3)
    with pytest.raises(LeaseLostError):
        write_closing(database, task, study.spec.space, decided)
    assert close_finished_round(database, study, worker_id)
    assert open_work(database, study)["purpose"] == "search"
    assert problems(database, work(study)) == []


@pytest.mark.slow
def test_who_dies_after_an_amendment_or_in_the_close_after_it_costs_nothing(
    database, make_study, make_worker, work
):
    """Whoever comes next finds the round to be closed, and the table is the same."""
    undisturbed = work(make_study(**POSTERIOR | {"name": "undisturbed"}))
    undisturbed = work(start(database, undisturbed, rounds=3, limits=WIDER))
    study = start(database, work(make_study(**POSTERIOR)), rounds=3, limits=WIDER)
    assert problems(database, study) == []
    worker = make_worker(study)
    task = take_closing(database, study.id, worker)
    _decide(database, study, task)
    assert take_closing(database, study.id, worker) is None
    with database.writing() as connection:
        connection.execute(update(tables.round_).values(closing_until=0.0))
    study = work(load_study(database, study.name))
    assert table(database, study) == table(database, undisturbed)
    assert problems(database, study) == []


@pytest.mark.slow
def test_the_table_does_not_depend_on_workers(database, database_url, make_study):
    """1 worker or 2 give the same table after the same amendments."""
    found = set()
    for name, workers in (("one", 1), ("two", 2)):
        study = make_study(**POSTERIOR | {"name": name})
        run_in_threads(database_url, study, workers)
        study = take_back(database, load_study(database, name), 2)
        study = start(database, study, rounds=4, limits=WIDER)
        run_in_threads(database_url, study, workers)
        assert problems(database, study) == []
        found.add(table(database, load_study(database, name)))
    assert len(found) == 1


def run_in_threads(url, study, count):
    """Some workers with a connection each, until the study is complete."""

    def run(_):
        with closing(open_database(url, write=True)) as own:
            finish(own, study)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


def test_a_copy_has_the_amendments(database, study, work):
    """A study that was extended and not finished goes on elsewhere as it would have here."""
    study = start(database, work(study), rounds=3)
    copy_study(database, database.url, "small", "twin")
    study, twin = work(study), work(load_study(database, "twin"))
    assert twin.amendments == study.amendments
    assert table(database, twin) == table(database, study)
    assert problems(database, twin) == []


# --------------------------------------------------------------------- the sealed test


@pytest.fixture
def tested(database, finished_study, make_worker, complete_with):
    """A finished study whose test split was opened once."""
    worker = make_worker(finished_study)
    opening = begin_opening(database, finished_study, worker, again=False)
    figure = {"score": 0.5, "scores": [0.5], "interval": [0.4, 0.6], "rows": 24}
    finish_opening(database, opening, figure, complete_with(0.5))
    return finished_study


def test_a_figure_of_before_is_never_a_later_winners(
    database, tested, work, make_worker, complete_with
):
    """It says whose it is, while the study goes on too; opened again, it is the new winner's."""
    assert study_document(database, tested)["test"]["earlier_winner"] is False
    study = start(database, tested, rounds=5)
    assert study_document(database, study)["test"]["earlier_winner"] is True
    assert problems(database, study) == []
    study = work(study)
    assert study.winner["values"] != tested.winner["values"]
    test = study_document(database, study)["test"]
    assert (test["earlier_winner"], test["values"]) == (True, tested.winner["values"])
    assert begin_opening(database, study, make_worker(study), again=False) is None
    opening = begin_opening(database, study, make_worker(study), again=True)
    figure = {"score": 0.75, "scores": [0.75]}
    finish_opening(database, opening, figure, complete_with(0.75))
    test = study_document(database, study)["test"]
    assert (test["earlier_winner"], test["openings"]) == (False, 2)
    assert test["values"] == study.winner["values"]
    assert problems(database, study) == []


def test_verify_knows_which_winner_was_tested(database, tested, work):
    """An opening before an extension has the values of the winner of then, and no others."""
    study = work(start(database, tested, rounds=5))
    assert problems(database, study) == []
    trial = tables.trial.c
    with database.writing() as connection:
        values = json.dumps(study.winner["values"])
        final = trial.purpose == "final"
        connection.execute(update(tables.trial).where(final).values({"values": values}))
    found = [said for check, said in problems(database, study) if check == "openings"]
    assert found == [f"final 0: values {values} are not the winner's"]


def test_an_opening_under_way_is_finished_first(database, finished_study, make_worker):
    """The winner whose test has begun is still the winner when its figure is known."""
    begin_opening(database, finished_study, make_worker(finished_study), again=False)
    with pytest.raises(UserError, match="`hpsearch test small` finishes it"):
        start(database, finished_study, rounds=3)
    assert load_study(database, "small") == finished_study


def test_a_winner_that_is_one_no_more_is_not_tested(database, finished_study, make_worker):
    """Who read the study before it was extended opens no test split for its winner."""
    start(database, finished_study, rounds=3)
    with pytest.raises(UserError, match="was given further rounds meanwhile"):
        begin_opening(database, finished_study, make_worker(finished_study), again=False)
    assert study_document(database, finished_study)["test"] is None


# -------------------------------------------------------------------------------- verify


def document(**change):
    return update(tables.amendment).values(document=json.dumps(change))


TAMPERED = {
    "fewer rounds": (document(rounds=3, undo=2), "rounds"),
    "more rounds": (document(rounds=5, undo=2), "rounds"),
    "another undo": (document(rounds=4, undo=3), "ledger"),
    "no undo": (document(rounds=4), "ledger"),
    "no amendment": (delete(tables.amendment), "rounds"),
    "an earlier place": (update(tables.amendment).values(round=1, search_over=False), "ledger"),
    "a place to come": (update(tables.amendment).values(round=7), "amendments"),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_spec):
    """A study that was extended and begun anew from an earlier box, and is complete."""
    url = f"sqlite:///{tmp_path_factory.mktemp('original')}/study.db"
    spec = make_spec(**ELITES)
    with closing(open_database(url, create=True)) as database:
        study = create_study(database, spec, "", "0" * 64, 100)
        finish(database, study)
        amend(database, study, lambda *_: Change(rounds=4, undo=2))
        finish(database, study)
        yield database


def finish(database, study):
    Worker(database, study, QuickObjective()).run(threading.Event(), lambda: False)


@pytest.mark.parametrize("what", list(TAMPERED))
def test_a_changed_amendment_is_found(database, original, what):
    """What was decided by the amendment as it was is not what is decided by another."""
    copy_study(original, database.url, "small")
    study = load_study(database, "small")
    assert problems(database, study) == []
    statement, check = TAMPERED[what]
    with database.writing() as connection:
        connection.execute(statement)
    assert check in {found for found, _ in problems(database, study)}


def test_limits_that_were_changed_are_found(database, make_study, work):
    """The round that was opened within the limits is not the one that others lead to."""
    study = work(start(database, work(make_study(**POSTERIOR)), rounds=3, limits=WIDER))
    with database.writing() as connection:
        found = connection.scalar(select(tables.amendment.c.document))
        changed = found.replace("1e-05", "0.001")
        assert changed != found
        connection.execute(update(tables.amendment).values(document=changed))
    assert "ledger" in {check for check, _ in problems(database, study)}
