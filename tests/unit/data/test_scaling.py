"""Scaling: statistics of training rows, applied to everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.data.rows import Rows
from hpsearch.data.scaling import Scaling, fitted
from hpsearch.errors import DataError


def rows_of(x) -> Rows:
    """Rows with these features, all of class 0."""
    return Rows(np.asarray(x), np.zeros(len(x), dtype=np.int64))


def test_range_divides_by_the_largest_possible_value():
    """Pixels end between 0 and 1, even where no training pixel is at its largest."""
    scaling = fitted("range", rows_of([[0], [100]]), 255.0, "mnist")
    scaled = scaling.apply(np.arange(256, dtype=np.uint8)[:, None])
    expected = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, expected)


def test_range_needs_a_largest_value():
    """Points in the plane have none, and the line says what to write."""
    with pytest.raises(DataError, match=r'moons has no largest value.*"standard"'):
        fitted("range", rows_of([[0.5]]), None, "moons")


def test_standard_gives_training_rows_mean_0_and_deviation_1():
    """More rows than one block, so that the blocks are put together rightly."""
    x = np.random.default_rng(0).normal(7, 3, size=(10_000, 5))
    scaled = fitted("standard", rows_of(x), None, "moons").apply(x)
    assert np.allclose(scaled.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    assert np.allclose(scaled.std(axis=0, dtype=np.float64), 1, atol=1e-6)


@given(st.floats(-1e6, 1e6), st.integers(1, 50))
def test_a_constant_feature_is_only_shifted(value, rows):
    """A feature that never varies becomes exactly 0 and divides nothing by nearly nothing."""
    scaling = fitted("standard", rows_of(np.full((rows, 1), value)), None, "moons")
    assert scaling.divisor == (1.0,)
    assert not scaling.apply(np.full((rows, 1), value)).any()


def test_none_only_changes_the_type():
    """Values stay what they are."""
    x = np.array([[0, 255]], dtype=np.uint8)
    assert fitted("none", rows_of(x), 255.0, "mnist").apply(x).tolist() == [[0.0, 255.0]]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_scaling_survives_its_document(numbers):
    """Statistics read back from JSON are equal to the last bit."""
    scaling = Scaling("standard", tuple(numbers), tuple(numbers))
    assert Scaling.from_document(scaling.document()) == scaling


@pytest.mark.parametrize(("kind", "largest"), [("none", 1e39), ("standard", 1e300)])
def test_values_beyond_the_number_type_are_refused(kind, largest):
    """Training never starts on infinities."""
    rows = rows_of([[0.0], [largest]])
    with pytest.raises(DataError, match="less noise"):
        fitted(kind, rows, None, "moons").apply(rows.x)
