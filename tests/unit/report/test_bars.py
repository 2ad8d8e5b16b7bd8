"""Ranges as bars in a line of text."""

from hpsearch.report.bars import bars


def log(low, high):
    return {"low": low, "high": high, "scale": "log"}


def test_bars_show_where_a_range_lies_within_all_that_was_searched():
    """On the range's own scale; all bars are as long as the widest range."""
    found = bars([log(1e-8, 1e-1), log(1e-8, 1e-4), log(1e-4, 1e-1), log(1e-5, 1.01e-5)])
    assert [len(bar) for bar in found] == [14] * 4
    assert found[0] == "━" * 14
    assert found[1] == "━" * 8 + "·" * 6
    assert found[2] == "·" * 8 + "━" * 6
    assert found[3].count("━") == 1


def test_choices_have_no_bar():
    """There is no scale to draw them on."""
    assert bars([{"choices": ["relu", "tanh"]}] * 2) == ["", ""]
