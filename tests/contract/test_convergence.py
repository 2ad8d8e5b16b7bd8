"""A search that is over once nothing is left to gain, and how it goes on all the same."""

import json
import math
from functools import partial

import pytest
from sqlalchemy import update
from threadpoolctl import threadpool_limits

from hpsearch.errors import UserError
from hpsearch.service import wanted_change
from hpsearch.store import tables
from hpsearch.store.amendments import amend
from hpsearch.store.reading import study_document
from tests.contract.conftest import QuickObjective, complete
from tests.contract.test_amendments import boxes, of_purpose, problems, start
from tests.contract.test_diagnosis import look, not_ok

IS_ABOVE_THE_DATABASE = True
GIVEN = 6
SEARCH = {
    "rounds": GIVEN,
    "trials": 16,
    "sampler": "auto",
    "waves": 2,
    "narrowing": "posterior",
    "until": "converged",
}
SETTINGS = {"space": {"learning_rate": {"low": 1e-2, "high": 1.0, "scale": "log"}}}


class PeakedObjective(QuickObjective):
    """The best learning rate lies in the middle, and many are about as good."""

    def result(self, values, seed):
        distance = math.log10(values["learning_rate"]) + 1.0
        return complete(0.9 - 0.1 * distance**2 - (seed % 97) / 1e3)


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker's process: BLAS that takes all cores is slow where they are busy."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def converged(make_study, work):
    """Run a study until it has converged, with these settings besides."""

    def run(search=(), **settings):
        study = make_study(**SETTINGS | {"search": SEARCH | dict(search)} | settings)
        return work(study, PeakedObjective())

    return run


def test_a_search_is_over_when_nothing_is_left_to_gain(database, converged):
    """It has fewer rounds than it was given, a winner, and the figures that ended it."""
    study = converged()
    rounds = len(boxes(database, study))
    document = study_document(database, study)
    assert (study.state, study.spec.rounds) == ("complete", rounds)
    assert rounds < GIVEN
    assert study.winner is not None
    assert document["planned"] == document["complete"] == 16 * rounds
    (amendment,) = document["amendments"]
    found = amendment["converged"]
    assert (amendment["after_round"], amendment["rounds"]) == (rounds, rounds)
    assert 0 <= found["expected_gain"] < found["noise"] / 4
    assert problems(database, study) == []


def test_who_did_not_ask_gets_every_round(database, converged):
    """By default a study has the rounds that its file says."""
    study = converged({"until": "rounds", "rounds": 3})
    assert len(boxes(database, study)) == 3
    assert study.amendments == ()


def test_an_open_edge_is_looked_beyond(database, make_study, work):
    """Where the best values crowd an edge all rounds are run, however little seems to be left."""
    space = {"learning_rate": {"low": 1e-2, "high": 0.1, "scale": "log", "limits": [1e-2, 1.0]}}
    # In waves round 1 would look beyond the edge itself, and see that nothing is there.
    search = SEARCH | {"rounds": 2, "waves": 1}
    study = work(make_study(space=space, search=search), PeakedObjective())
    assert len(boxes(database, study)) == 2


def test_a_search_without_confirmation_is_over_too(database, converged):
    """Its best trial wins, and no further round is opened."""
    study = converged(confirmation={"finalists": 0})
    assert study.state == "complete"
    assert len(boxes(database, study)) < GIVEN
    assert problems(database, study) == []


@pytest.mark.slow
def test_the_control_arm_is_as_large_as_the_search_came_to_be(database, converged):
    """It is compared with what was searched, not with what might have been."""
    study = converged({"control": "random"}, confirmation={"finalists": 2, "seeds": 2})
    searched = of_purpose(database, study, "search")
    assert len(searched) < 16 * GIVEN
    document = study_document(database, study)
    assert document["control"]["planned"] == document["control"]["complete"] == len(searched)
    assert problems(database, study) == []


def test_the_same_file_finds_it_finished(database, converged, work):
    """Who types the same command again has not asked for the rounds that were not needed."""
    study = converged()
    again = amend(database, study, partial(wanted_change, spec=study.begun))
    assert again == study
    longer = work(start(database, study, rounds=GIVEN + 2), PeakedObjective())
    assert longer.spec.rounds < GIVEN + 2
    assert start(database, longer, rounds=GIVEN + 2) == longer


@pytest.mark.parametrize("confirmation", [{"finalists": 2, "seeds": 2}, {"finalists": 0}])
def test_further_rounds_are_run_after_all(database, database_url, converged, work, confirmation):
    """Who asks for more rounds than the file has gets one at least."""
    study = converged(confirmation=confirmation)
    before = len(boxes(database, study))
    assert study.next_rounds == GIVEN + 1
    study = work(start(database, study, rounds=study.next_rounds), PeakedObjective())
    assert len(boxes(database, study)) > before
    assert study.state == "complete"
    assert problems(database, study) == []
    assert not_ok(look(database_url)) == []


def test_a_study_of_one_round_gets_those_that_are_asked_for(database, converged, work):
    """Its noise is measured first, and is no reason to end again."""
    study = converged({"rounds": 1})
    study = work(start(database, study, rounds=2), PeakedObjective())
    assert len(boxes(database, study)) == 2
    assert problems(database, study) == []


def test_wider_limits_need_a_round_that_they_count_in(database, converged):
    """A search that is over early has none, however many rounds its file has."""
    study = converged()
    wider = {"learning_rate": (1e-3, 1.0)}
    with pytest.raises(UserError, match=f"add --rounds {GIVEN + 1}"):
        start(database, study, limits=wider)
    assert start(database, study, limits=wider, rounds=GIVEN + 1).amendments[-1].change.limits


def test_another_reason_to_end_is_found(database, converged):
    """What was expected to be gained is worked out again."""
    study = converged()
    converged_by = study.amendments[0].change.converged
    claimed = {"gain": converged_by.gain / 2, "noise": converged_by.noise, "is_open": False}
    document = json.dumps({"rounds": study.spec.rounds, "converged": claimed})
    with database.writing() as connection:
        connection.execute(update(tables.amendment).values(document=document))
    ((check, said),) = problems(database, study)
    assert check == "amendments"
    assert said.startswith(f"the search ended after round {study.spec.rounds}: ")
