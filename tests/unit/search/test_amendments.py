"""What an amendment is, what asks for one, and from where on it counts."""

import pytest

from hpsearch.search.amendments import (
    AmendedSearch,
    Amendment,
    Change,
    Place,
    amended,
    extension,
    other_differences,
    rounds_asked,
)
from hpsearch.search.ledger import Undone
from hpsearch.search.narrowing import Prospect
from hpsearch.study import StudySpec
from hpsearch.study_file import overridden

FILE = StudySpec.model_validate(
    {
        "name": "a",
        "space": {
            "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
            "batch_size": {"low": 16, "high": 64},
            "activation": {"choices": ["relu", "tanh"]},
        },
        "search": {"rounds": 2, "trials": 10, "narrowing": "posterior"},
    }
)
WIDER = {"learning_rate": (1e-6, 1.0), "batch_size": (8, 128)}


AFTER_ALL = Place(2, over=True)


def made(*changes, place=AFTER_ALL):
    return [Amendment(place, change, 0.0) for change in changes]


def test_an_amended_study_is_the_one_that_its_file_could_have_been():
    """Later amendments win, limits one by one, and whole numbers stay whole."""
    first = Change(rounds=3, limits={"learning_rate": (1e-7, 1e-1), "batch_size": (8, 128)})
    second = Change(rounds=4, limits={"learning_rate": (1e-7, 1.0)})
    limits = {"learning_rate": (1e-7, 1.0), "batch_size": (8.0, 128.0)}
    assert amended(FILE, made(first, second)) == overridden(FILE, limits, rounds=4)
    assert amended(FILE, made(Change(undo=2))) is FILE


@pytest.mark.parametrize(
    "change",
    [Change(), Change(rounds=3), Change(undo=2), Change(rounds=3, limits=WIDER, undo=2)],
)
def test_a_change_survives_its_document(change):
    """What is stored reads back equal."""
    assert Change.from_document(change.document()) == change


def test_limits_that_make_no_study_are_refused():
    """A row that somebody has changed leads to no search."""
    with pytest.raises(ValueError, match="must hold the whole range"):
        amended(FILE, made(Change(limits={"learning_rate": (1e-3, 1.0)})))


ASKED = {
    "nothing": (FILE, Change()),
    "more rounds": (overridden(FILE, rounds=3), Change(rounds=3)),
    "limits": (overridden(FILE, WIDER), Change(limits=WIDER)),
    "both": (overridden(FILE, WIDER, rounds=5), Change(rounds=5, limits=WIDER)),
}


@pytest.mark.parametrize("what", list(ASKED))
def test_more_of_the_same_is_asked_for_and_is_no_difference(what):
    """More rounds and wider limits make an amendment; with it the same file asks for nothing."""
    wanted, change = ASKED[what]
    assert extension(FILE, FILE, wanted, FILE.rounds) == change
    assert other_differences(FILE, FILE, wanted) == []
    now = amended(FILE, made(change))
    assert extension(FILE, now, wanted, rounds_asked(FILE, made(change))) == Change()
    assert other_differences(FILE, now, wanted) == []
    assert other_differences(FILE, now, FILE) == []


NOW = overridden(FILE, WIDER, rounds=5)
OTHERS = {
    "fewer rounds": (overridden(NOW, rounds=4), "[search] rounds: 4 here, 5 there"),
    "narrower limits": (
        overridden(NOW, {"learning_rate": (1e-6, 1e-1)}),
        "[space] learning_rate.limits: [1e-06, 0.1] here, [1e-06, 1.0] there",
    ),
    "other trials": (overridden(NOW, trials=11), "[search] trials: 11 here, 10 there"),
    "another seed": (overridden(NOW, seed=1), "seed: 1 here, 0 there"),
}


@pytest.mark.parametrize("what", list(OTHERS))
def test_all_else_is_another_study(what):
    """What is less, or something else, is named."""
    wanted, line = OTHERS[what]
    assert other_differences(FILE, NOW, wanted) == [line]


def test_a_range_that_was_moved_is_no_wider_limit():
    """Limits say how far a range may grow; another declared range is another study."""
    moved = {"low": 1e-5, "high": 1e-2, "scale": "log", "limits": [1e-6, 1.0]}
    document = FILE.document()
    document["space"]["learning_rate"] = moved
    wanted = StudySpec.from_document(document)
    assert extension(FILE, FILE, wanted, FILE.rounds) == Change()
    assert any("learning_rate.low" in line for line in other_differences(FILE, FILE, wanted))


def test_rounds_that_were_not_needed_are_not_asked_for_again():
    """A search that converged has fewer rounds than somebody asked for; only more are news."""
    over = Change(rounds=3, converged=Prospect(0.0004, 0.0032, is_open=False))
    amendments = [*made(Change(rounds=6)), *made(over)]
    now, asked = amended(FILE, amendments), rounds_asked(FILE, amendments)
    assert (now.rounds, asked) == (3, 6)
    for rounds in (FILE.rounds, 4, 6):
        assert extension(FILE, now, overridden(FILE, rounds=rounds), asked) == Change()
    assert extension(FILE, now, overridden(FILE, rounds=7), asked) == Change(rounds=7)


def test_an_amendment_counts_from_its_place_on():
    """Not before; an undo only for the box that is decided there."""
    amendments = [
        *made(Change(limits=WIDER), place=Place(1)),
        *made(Change(undo=2), place=Place(2)),
        *made(Change(rounds=3), place=Place(2, over=True)),
    ]
    search = AmendedSearch(FILE, amendments, lambda number: f"box {number}")
    limited = overridden(FILE, WIDER).space
    found = {
        place: (search.design(place).space == limited, search.design(place).rounds)
        for place in (Place(0, over=True), Place(1), Place(2), Place(2, over=True), Place(3))
    }
    assert list(found.values()) == [(False, 2), (True, 2), (True, 2), (True, 3), (True, 3)]
    undone = [search.design(place).undone for place in found]
    assert undone == [None, None, Undone(2, "box 1"), Undone(2, "box 1"), None]
