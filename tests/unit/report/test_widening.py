"""The limits that are offered where the best values may lie beyond an edge."""

import pytest

from hpsearch.report.widening import further_ends, limits_option
from hpsearch.study import StudySpec


def spec(**space):
    return StudySpec.model_validate({"name": "a", "space": space})


def option(study, dimension, *ends):
    """What is offered to look beyond these ends; None where nothing is."""
    further = further_ends(study, dimension, ends)
    return limits_option(study, dimension, further) if further else None


@pytest.mark.parametrize(
    ("range_", "edge", "limits"),
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
def test_the_range_may_grow_by_its_own_width(range_, edge, limits):
    """On its own scale, beyond the limits it has."""
    found = option(spec(learning_rate=range_), "learning_rate", edge)
    assert found == f"--limits learning_rate={limits}"


def test_what_the_key_takes_is_not_left():
    """A shorter way is offered where the whole width is too much, and none where all is."""
    assert option(spec(dropout={"low": 0.1, "high": 0.7}), "dropout", "upper") == (
        "--limits dropout=0.1..0.85"
    )
    decay = spec(l2={"low": 0.0, "high": 0.1})
    assert option(decay, "l2", "lower") is None
    assert option(decay, "l2", "lower", "upper") == "--limits l2=0.0..0.2"
    whole = spec(batch_size={"low": 16, "high": 64})
    assert option(whole, "batch_size", "lower") == "--limits batch_size=4..64"
