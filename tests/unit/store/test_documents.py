"""Values, ranges and winners as the text of JSON columns."""

import json
import math

from hpsearch.search.selection import Candidate, Winner
from hpsearch.space import Box, Choices, Dimension, Interval
from hpsearch.store.documents import (
    box_from,
    box_text,
    metrics_text,
    range_from,
    range_text,
    values_from,
    values_text,
    winner_text,
)

BOX = Box(
    (
        Dimension("rate", Interval(1e-6, 1e-2, "log")),
        Dimension("batch", Interval(16, 128, "linear", integer=True)),
        Dimension("hidden", Choices(((50,), (100, 100), "relu", 3, True))),
    )
)


def test_values_come_back_as_they_were():
    """Every kind of value keeps its type, lists included, and floats keep every bit."""
    values = {"rate": 0.1 + 0.2, "batch": 17, "hidden": (100, 100), "flag": True, "name": "relu"}
    again = values_from(values_text(values))
    assert again == values
    assert [type(v) for v in again.values()] == [type(v) for v in values.values()]


def test_boxes_and_ranges_come_back_as_they_were():
    """A stored box or range is read back equal."""
    assert box_from(box_text(BOX)) == BOX
    assert all(range_from(range_text(d.range)) == d.range for d in BOX.dimensions)


def test_metrics_that_are_not_finite_become_null():
    """JSON has no NaN: other programs could not read the document."""
    text = metrics_text({"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.5})
    assert json.loads(text) == {"a": None, "b": None, "c": None, "d": 0.5}


def test_the_winner_names_its_ties():
    """The winner's document has the documented fields, and those of each tie."""
    best, tie = Candidate({"h": (5, 2)}, 0.9, 0.01, 3), Candidate({"h": (4,)}, 0.89, 0.02, 3)
    document = json.loads(winner_text(Winner(best, (tie,))))
    assert document["values"] == {"h": [5, 2]}
    assert (document["score"], document["standard_error"], document["seeds"]) == (0.9, 0.01, 3)
    assert [t["values"] for t in document["ties"]] == [{"h": [4]}]
