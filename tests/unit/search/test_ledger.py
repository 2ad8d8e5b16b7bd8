"""The ledger: ranges that begin wider because somebody moved the limits out."""

from dataclasses import replace

import pytest

from hpsearch.search.ledger import UNDO, LedgerRow, decision_between, opened
from hpsearch.space import Box, Choices, Dimension, Interval

DECLARED = Interval(1e-4, 1e-2, "log")
BEFORE = Box((Dimension("rate", DECLARED),))
REASON = "narrowed: 10 elites lie in 20% of the range"


def row(low, high):
    now = Interval(low, high, "log")
    return LedgerRow("rate", now, DECLARED, 10, "rule", "narrowed", None, REASON)


def space(low, high):
    return Box((Dimension("rate", DECLARED, Interval(low, high, "log")),))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1e-4, 1.0), (1e-3, 1.0)),
        ((1e-4, 1e3), (1e-3, 1.0)),
        ((1e-5, 1e-2), (1e-5, 3e-3)),
        ((1e-4, 1e-2), (1e-3, 3e-3)),
    ],
    ids=["upper", "no further than the declared width", "lower", "not moved"],
)
def test_a_range_reaches_beyond_an_end_that_was_moved(limits, expected):
    """Whatever the newest trials say of the old end; the other end stays where they have it."""
    (found,) = opened([row(1e-3, 3e-3)], BEFORE, space(*limits))
    assert (found.range.low, found.range.high) == pytest.approx(expected)
    if limits == (1e-4, 1e-2):
        assert found == row(1e-3, 3e-3)
    else:
        assert found.decision == "widened"
        assert found.reason.startswith("widened: 10 elites lie in 20% of the range; opened to ")


def test_a_range_that_was_taken_back_stays_so():
    """It is wider than it was before all the same, and says who wanted what."""
    wish = replace(row(1e-4, 1e-2), rule=UNDO, decision="undone", reason="undone: as of round 1")
    (found,) = opened([wish], BEFORE, space(1e-4, 1.0))
    assert (found.decision, found.range.high) == ("undone", pytest.approx(1.0))
    assert found.reason.startswith("undone: as of round 1; opened to 0.0001 .. 1")


def test_choices_have_no_ends_to_move():
    """Their row stays as it is."""
    kept = Choices(("relu", "tanh"))
    box = Box((Dimension("activation", kept),))
    before = LedgerRow("activation", kept, kept, 10, "rule", "kept", None, "kept: all")
    assert opened([before], box, box) == [before]


@pytest.mark.parametrize(
    ("after", "decision"),
    [
        ((1e-4, 1e-2), "kept"),
        ((1e-4, 1e-3), "narrowed"),
        ((1e-3, 3e-2), "moved"),
        ((1e-3, 1e-1), "moved"),
        ((1e-3, 1.0), "widened"),
        ((1e-5, 1e-2), "widened"),
    ],
)
def test_a_decision_says_what_became_of_the_range(after, decision):
    """On its own scale: what reaches beyond an end is only wider if it is."""
    before = Interval(1e-4, 1e-2, "log")
    assert decision_between(before, Interval(*after, "log")) == decision


def test_options_are_counted():
    """Another option in place of two is no more to choose from."""
    before = Choices(("relu", "tanh"))
    found = [decision_between(before, Choices(o)) for o in (("relu",), ("elu",), ("a", "b", "c"))]
    assert found == ["narrowed", "moved", "widened"]
