"""The limits that are offered where the best values may lie beyond an edge."""

import pytest

from hpsearch.report.widening import limits_option
from hpsearch.study import StudySpec


def spec(**space):
    search = {"narrowing": "posterior"}
    return StudySpec.model_validate({"name": "a", "space": space, "search": search})


@pytest.mark.parametrize(
    ("range_", "edge", "option"),
    [
        ({"low": 1e-6, "high": 1e-2, "scale": "log"}, "upper", "1e-06..100.0"),
        ({"low": 1e-6, "high": 1e-2, "scale": "log"}, "lower", "1e-10..0.01"),
        (
            {"low": 1e-6, "high": 1e-2, "scale": "log", "limits": [1e-7, 1.0]},
            "upper",
            "1e-07..10000.0",
        ),
    ],
)
def test_the_range_may_grow_by_its_own_width(range_, edge, option):
    """On its own scale, beyond the limits it has."""
    found = limits_option(spec(learning_rate=range_), "learning_rate", edge)
    assert found == f"--limits learning_rate={option}"


def test_what_the_key_takes_is_not_left():
    """A shorter way is offered where the whole width is too much, and none where all is."""
    assert limits_option(spec(dropout={"low": 0.1, "high": 0.7}), "dropout", "upper") == (
        "--limits dropout=0.1..0.85"
    )
    assert limits_option(spec(l2={"low": 0.0, "high": 0.1}), "l2", "lower") is None
    whole = spec(batch_size={"low": 16, "high": 64})
    assert limits_option(whole, "batch_size", "lower") == "--limits batch_size=4..64"
