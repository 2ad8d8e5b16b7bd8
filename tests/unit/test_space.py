"""Dimensions, ranges and boxes: positions and values, and what cannot be a range."""

import json
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpsearch.space import (
    Box,
    Choices,
    Dimension,
    Entries,
    Interval,
    frozen,
    label,
    plain,
    range_from_document,
    setting,
)

positions = st.floats(0, 1)
scalars = st.one_of(
    st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.booleans(), st.text(max_size=5)
)
lists = st.tuples(st.integers(1, 99), st.integers(1, 99))
entries = st.recursive(
    st.one_of(scalars, lists),
    lambda inner: st.dictionaries(
        st.sampled_from(["name", "a", "b", "c d"]), inner, min_size=1, max_size=3
    ).map(lambda table: Entries(tuple(table.items()))),
    max_leaves=4,
)
options = st.one_of(scalars, lists, entries)


@st.composite
def intervals(draw, *, integer=None):
    """Any interval wide enough for floating-point numbers to tell its ends apart."""
    whole = draw(st.booleans()) if integer is None else integer
    scale = draw(st.sampled_from(["linear", "log"]))
    if whole:
        low = draw(st.integers(1, 1000))
        return Interval(low, low + draw(st.integers(1, 1000)), scale, integer=True)
    if scale == "log":
        low = draw(st.floats(1e-12, 1e6))
        return Interval(low, low * draw(st.floats(1.01, 1e9)), scale)
    low = draw(st.floats(-1e6, 1e6))
    return Interval(low, low + draw(st.floats(1e-3, 1e6)), scale)


@st.composite
def choices(draw):
    """Any set of options that differ."""
    unlike = (label, lambda option: option)
    return Choices(tuple(draw(st.lists(options, min_size=1, max_size=6, unique_by=unlike))))


# ------------------------------------------------------------------- intervals


@given(intervals(integer=False), positions)
def test_position_is_the_inverse_of_at(interval, position):
    """The position of the value at a position is that position, to rounding."""
    assert interval.position(interval.at(position)) == pytest.approx(position, abs=1e-5)


@given(intervals(integer=True))
def test_at_is_the_inverse_of_position_for_integers(interval):
    """Every integer is found again at its own position."""
    for value in {interval.low, interval.low + 1, interval.high}:
        inside = min(max(interval.position(value), 0.0), 1.0)
        assert interval.at(inside) == pytest.approx(value, abs=1)
    assert (interval.at(0), interval.at(1)) == (interval.low, interval.high)


@given(intervals(), positions)
def test_values_lie_in_their_interval(interval, position):
    """No position leads out of the interval, and integers are of type int."""
    value = interval.at(position)
    assert interval.contains(value)
    assert isinstance(value, int) == interval.integer


@st.composite
def parts(draw):
    """Two positions that leave some of an interval between them, perhaps beyond its ends."""
    low = draw(st.floats(-1, 1 - 1e-3, exclude_max=True))
    return low, draw(st.floats(max(low, 0) + 1e-3, 2, exclude_min=True))


@given(intervals(), parts())
def test_between_never_leaves(interval, ends):
    """A part of an interval lies in it, of the same kind, and contains what lies between."""
    low, high = ends
    part = interval.between(low, high)
    assert interval.low <= part.low < part.high <= interval.high
    assert (part.scale, part.integer) == (interval.scale, interval.integer)
    middle = interval.at(min(max((low + high) / 2, 0), 1))
    assert part.low - 1 <= middle <= part.high + 1 if part.integer else part.contains(middle)


@given(intervals())
def test_ends_that_are_not_moved_stay_exactly(interval):
    """The whole is the same interval, bit for bit, also where exp(log(x)) is not x."""
    assert interval.between(-0.5, 1.5) == interval
    assert interval.between(0, 1) == interval


def test_integers_get_equal_shares():
    """A thousand even positions are shared equally between the integers of a linear range."""
    interval = Interval(3, 7, "linear", integer=True)
    shares = Counter(interval.at((i + 0.5) / 1000) for i in range(1000))
    assert shares == dict.fromkeys(range(3, 8), 200)


def test_log_positions_halve_the_decades():
    """The middle of a logarithmic range is the geometric mean of its ends."""
    assert Interval(1e-6, 1e-2, "log").at(0.5) == pytest.approx(1e-4)
    assert Interval(1e-6, 1e-2, "log").position(1e-3) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.01, 0.001), "low must be below high, got low=0.01, high=0.001"),
        ((1.0, 1.0), "low must be below high, got low=1.0, high=1.0"),
        ((0.0, 1.0, "log"), "a log range must start above 0, got low=0.0"),
        ((-1.0, 1.0, "log"), "a log range must start above 0, got low=-1.0"),
        ((0.0, float("inf")), "low and high must be finite, got low=0.0, high=inf"),
        ((float("nan"), 1.0), "low and high must be finite, got low=nan, high=1.0"),
        ((1.5, 3, "linear", True), "low and high must be whole numbers, got low=1.5, high=3"),
    ],
)
def test_what_cannot_be_a_range_is_refused(arguments, message):
    """A bad range says what is wrong and with which values."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        Interval(*arguments)
    assert str(caught.value) == message


def test_text_is_in_no_interval():
    """Strings and lists are not numbers of an interval."""
    interval = Interval(0, 1)
    assert not interval.contains("0.5")
    assert not interval.contains((1,))


# --------------------------------------------------------------------- choices


@given(choices(), positions)
def test_choices_have_equal_shares(found, position):
    """The option at a position is the one whose equal share it lies in."""
    count = len(found.options)
    assert found.at(position) is found.options[min(int(position * count), count - 1)]
    assert found.contains(found.at(position))


def test_bad_choices_are_refused():
    """No option, or one twice, is no choice; 1 and 1.0 are one."""
    with pytest.raises(ValueError, match="must not be empty"):
        Choices(())
    with pytest.raises(ValueError, match="must differ from each other"):
        Choices(("relu", "tanh", "relu"))
    with pytest.raises(ValueError, match="must differ from each other"):
        Choices((1, 1.0))


def test_choices_keep_their_order_when_some_are_dropped():
    """Dropping options leaves the others as they stood."""
    assert Choices(("a", (50, 20), 3)).keeping({"3", "a"}) == Choices(("a", 3))


ADAM = Entries((("learning_rate", 0.001), ("name", "adam")))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"name": "adam", "learning_rate": 0.001}, "adam, learning_rate=0.001"),
        ({"normal": 0.01}, "normal=0.01"),
        ({"name": "sgd"}, "sgd"),
        ({"name": "relu", "hidden": [50, 20]}, "relu, hidden=[50, 20]"),
        (
            {"initializer": {"normal": 1.0}, "batch_norm": True, "name": "sigmoid"},
            "sigmoid, batch_norm=true, initializer={normal=1.0}",
        ),
        ({"name": {"normal": 1}, "a": "b, c=d", "e": "1"}, '{normal=1}, a="b, c=d", e="1"'),
    ],
)
def test_tables_have_a_label(table, text):
    """A table's label has its own value first, and text in quotes where it could be misread."""
    assert label(frozen(table)) == text
    assert plain(frozen(table)) == table


@given(entries, entries)
def test_different_tables_have_different_labels(one, other):
    """The label of a table tells it from every other table."""
    assume(isinstance(one, Entries) and isinstance(other, Entries))
    assert (label(one) == label(other)) == (json.dumps(plain(one)) == json.dumps(plain(other)))


def test_the_order_of_entries_makes_no_difference():
    """A table written the other way round is the same choice, and cannot stand there twice."""
    assert frozen({"name": "adam", "learning_rate": 0.001}) == ADAM
    assert hash(frozen({"name": "adam", "learning_rate": 0.001})) == hash(ADAM)
    with pytest.raises(ValueError, match="must differ from each other"):
        Choices((ADAM, frozen({"name": "adam", "learning_rate": 0.001})))
    with pytest.raises(ValueError, match="at least one entry"):
        Entries(())


def test_a_named_table_sets_several_keys():
    """`name` is the dimension's own value; a table without it is that value itself."""
    assert setting("optimizer", ADAM) == {"optimizer": "adam", "learning_rate": 0.001}
    assert setting("initializer", frozen({"normal": 1})) == {"initializer": frozen({"normal": 1})}
    assert setting("hidden", (50, 20)) == {"hidden": (50, 20)}


# ------------------------------------------------------------------- documents


@given(st.one_of(intervals(), choices()))
def test_ranges_survive_their_documents(found):
    """A range that was written as JSON is read back equal."""
    assert range_from_document(json.loads(json.dumps(found.document()))) == found


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(intervals(), choices()),
                       min_size=1, max_size=5))  # fmt: skip
def test_boxes_survive_their_documents(ranges):
    """A box that was written as JSON is read back equal, in the same order."""
    box = Box(tuple(Dimension(name, found) for name, found in ranges.items()))
    again = Box.from_document(json.loads(json.dumps(box.document())))
    assert again == box
    assert again.names == tuple(ranges)


def test_a_box_needs_dimensions_with_different_names():
    """An empty box and a name used twice are mistakes."""
    with pytest.raises(ValueError, match="at least one dimension"):
        Box(())
    twice = Dimension("x", Interval(0, 1))
    with pytest.raises(ValueError, match="names must differ, got \\['x', 'x'\\]"):
        Box((twice, twice))


def test_a_box_contains_what_all_its_ranges_contain():
    """One value outside is outside; a position per dimension is needed."""
    box = Box((Dimension("x", Interval(0, 1)), Dimension("y", Choices(("a", "b")))))
    assert box.contains({"x": 0.5, "y": "a"})
    assert not box.contains({"x": 0.5, "y": "c"})
    assert not box.contains({"x": 1.5, "y": "a"})
    assert box.at([0.5, 0.9]) == {"x": 0.5, "y": "b"}
    with pytest.raises(ValueError, match="shorter"):
        box.at([0.5])


def test_combinations_run_through_the_last_dimension_first():
    """Every combination stands there once, in the order written."""
    box = Box((Dimension("x", Choices((1, 2))), Dimension("y", Choices(("a", "b", "c")))))
    assert box.size == 6
    assert [(values["x"], values["y"]) for values in box.combinations()] == [
        (1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "b"), (2, "c"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="x: an interval has no combinations"):
        Box((Dimension("x", Interval(0, 1)),)).combinations()


def test_corners_meet_every_two_values():
    """Both ends and all choices stand beside those of every other dimension."""
    ranges = {"x": Interval(0, 1), "y": Choices(("a", "b", "c")), "z": Choices((1, 2))}
    box = Box(tuple(Dimension(name, found) for name, found in ranges.items()))
    corners = list(box.corners())
    for one, other in (("x", "y"), ("x", "z"), ("y", "z")):
        met = {(values[one], values[other]) for values in corners}
        assert len(met) == len(ranges[one].ends()) * len(ranges[other].ends())
    assert all(box.contains(values) for values in corners)


# ---------------------------------------------------------------------- limits


def test_a_range_with_limits_reads_back_equal():
    """Limits are part of a box's document; a range without has none there."""
    limited = Dimension("rate", Interval(1e-6, 1e-2, "log"), Interval(1e-7, 1.0, "log"))
    box = Box((limited, Dimension("size", Interval(1, 5, integer=True))))
    assert box.document()["rate"]["limits"] == [1e-7, 1.0]
    assert "limits" not in box.document()["size"]
    assert Box.from_document(box.document()) == box


def test_the_widest_box_reaches_to_the_limits():
    """What may ever be tried: the limits where there are some, else the range."""
    limited = Dimension("rate", Interval(1e-6, 1e-2, "log"), Interval(1e-7, 1.0, "log"))
    box = Box((limited, Dimension("kind", Choices(("a", "b")))))
    assert box.widest["rate"] == Interval(1e-7, 1.0, "log")
    assert box.widest["kind"] == Choices(("a", "b"))


@pytest.mark.parametrize(
    ("range_", "limits", "said"),
    [
        (Interval(1, 5), Interval(2, 9), "must hold the whole range from 1 to 5"),
        (Interval(1, 5), Interval(0, 4), "must hold the whole range from 1 to 5"),
        (Choices((1, 2)), Interval(0, 4), "for ranges of numbers, not for choices"),
    ],
)
def test_limits_hold_the_range(range_, limits, said):
    """Limits inside the range, or around choices, are a mistake."""
    with pytest.raises(ValueError, match=said):
        Dimension("x", range_, limits)


def test_a_box_grows_to_hold_values():
    """Numbers beyond an end move it, those inside move nothing, and choices stay."""
    box = Box((Dimension("rate", Interval(1e-4, 1e-2, "log")), Dimension("kind", Choices(("a",)))))
    held = box.holding([{"rate": 0.1, "kind": "a"}, {"rate": 1e-3, "kind": "a"}])
    assert (held["rate"], held["kind"]) == (Interval(1e-4, 0.1, "log"), Choices(("a",)))
    assert box.holding([]) == box
