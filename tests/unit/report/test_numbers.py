"""Numbers as people read them."""

import pytest

from hpsearch.report.numbers import count, duration, number, score, shown_range, shown_values


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
