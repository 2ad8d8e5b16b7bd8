"""Fixtures for the tests of data."""

import pytest

from hpsearch.errors import DataError
from hpsearch.space import Box, Choices, Dimension, Interval
from hpsearch.study import StudySpec


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    """A folder in the environment of whoever runs the tests must not decide them."""
    monkeypatch.delenv("HPSEARCH_DATA", raising=False)


@pytest.fixture
def study():
    """Builds a study around the [data] table given by keywords."""
    box = Box((Dimension("learning_rate", Interval(1e-4, 1e-1, "log")),))

    def build(seed: int = 0, **data) -> StudySpec:
        return StudySpec.model_validate(
            {"name": "test", "seed": seed, "data": {"source": "moons"} | data, "space": box}
        )

    return build


@pytest.fixture
def comparison():
    """Builds a study that holds nothing out: a grid, unconfirmed, with split = "all"."""
    box = Box((Dimension("learning_rate", Choices((0.1, 0.01))),))

    def build(seed: int = 0, training: dict | None = None, **data) -> StudySpec:
        return StudySpec.model_validate(
            {
                "name": "test",
                "seed": seed,
                "data": {"source": "moons", "split": "all"} | data,
                "training": training or {},
                "space": box,
                "search": {"sampler": "grid"},
                "confirmation": {"finalists": 0},
            }
        )

    return build


@pytest.fixture
def refused():
    """Calls a function, expects a DataError of one line, and returns the line."""

    def call(function, *args) -> str:
        with pytest.raises(DataError) as caught:
            function(*args)
        line = str(caught.value)
        assert "\n" not in line
        return line

    return call
