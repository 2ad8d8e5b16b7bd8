"""Values as rows: what is alike is near."""

import numpy as np

from hpsearch.search.features import Features
from hpsearch.space import Box, Choices, Dimension, Interval

BOX = Box(
    (
        Dimension("rate", Interval(1e-4, 1.0, "log")),
        Dimension("activation", Choices(("relu", "tanh", "sigmoid"))),
        Dimension("size", Interval(0, 10, integer=True)),
    )
)


def test_numbers_are_positions_and_choices_are_columns():
    """A range is one column from 0 to 1 on its own scale, a choice one column per option."""
    features = Features(BOX)
    rows = features.rows([{"rate": 1e-2, "activation": "tanh", "size": 10}])
    assert features.width == 5
    assert rows[0, features.columns("rate")] == 0.5
    assert list(rows[0, features.columns("activation")] > 0) == [False, True, False]
    assert rows[0, features.columns("size")] == 1.0


def test_two_options_are_as_far_apart_as_the_ends_of_a_range():
    """No option is nearer to one than to another, and the distance is 1."""
    given = [{"rate": 1.0, "activation": a, "size": 1} for a in ("relu", "tanh", "sigmoid")]
    rows = Features(BOX).rows(given)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    assert np.allclose(distances, 1 - np.eye(3))
