"""Numbers as people read them."""

import pytest

from hpsearch.report.numbers import (
    count,
    dimension_text,
    duration,
    number,
    score,
    shown_range,
    shown_values,
)
from hpsearch.space import Choices, Dimension, Interval


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_have_two_units_at_most(seconds, text):
    """Seconds up to a minute, minutes up to an hour, then hours."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0012345, "0.00123"), (1e-6, "1e-06"), (32, "32"), ("relu", "relu"), ([50, 20], "[50, 20]")],
)
def test_values_have_three_digits(value, text):
    """Floats are shortened, everything else stays as the study file has it."""
    assert number(value) == text


def test_a_dimension_reads_with_its_limits():
    """Where it is searched, on which scale, and how far it may grow."""
    low, wide = Interval(1e-4, 1e-3, "log"), Interval(1e-5, 1.0, "log")
    said = dimension_text(Dimension("learning_rate", low, wide))
    assert said == "0.0001 .. 0.001, log, may grow to 1e-05 .. 1"
    assert dimension_text(Dimension("beta1", Interval(0.5, 0.95))) == "0.5 .. 0.95"
    assert dimension_text(Dimension("hidden", Choices(((5,), (20, 20))))) == "[5], [20, 20]"


def test_ranges_and_scores_read_well():
    """A range shows its ends, choices their list, a missing score a dash."""
    assert shown_range({"low": 1e-6, "high": 0.01}) == "1e-06 .. 0.01"
    assert shown_range({"choices": ["relu", [50]]}) == "relu, [50]"
    table = {"name": "adam", "learning_rate": 0.00123456}
    assert shown_range({"choices": [table, "sgd"]}) == "adam (learning_rate=0.00123), sgd"
    assert shown_values({"optimizer": table, "initializer": {"normal": 0.01}}) == (
        "optimizer adam (learning_rate=0.00123), initializer normal=0.01"
    )
    assert score(None) == "-"
    assert score(0.96824) == "0.9682"
    assert shown_values({"a": 0.5, "b": "x"}) == "a 0.5, b x"
    assert (count(1, "trial"), count(2, "trial")) == ("1 trial", "2 trials")
