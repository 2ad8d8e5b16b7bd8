"""Where trials are placed: inside the box, the same for the same seed, evenly or where it pays."""

import math
import sys

import numpy as np
import pytest

from hpsearch.errors import UserError
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import (
    PLANNED,
    check_sampler,
    distribution,
    encoded,
    plan,
    suggest,
)
from hpsearch.space import Box, Choices, Dimension, Entries, Interval, frozen

EVERY_KIND = Box(
    (
        Dimension("rate", Interval(1e-6, 1e-2, "log")),
        Dimension("momentum", Interval(0.0, 0.99)),
        Dimension("batch", Interval(16, 128, "linear", integer=True)),
        Dimension("units", Interval(1, 1000, "log", integer=True)),
        Dimension("activation", Choices(("relu", "tanh"))),
        Dimension("hidden", Choices(((50,), (100, 100), 3, True, "4"))),
        Dimension("optimizer", Choices((frozen({"name": "adam", "rate": 0.1}), "sgd"))),
    )
)
# Planned samplers that draw their points; a grid draws nothing.
DRAWN = [sampler for sampler in PLANNED if sampler != "grid"]
SQUARE = Box((Dimension("x", Interval(0.0, 1.0)), Dimension("y", Interval(0.0, 1.0))))


@pytest.mark.parametrize("sampler", DRAWN)
def test_planned_points_lie_in_the_box(sampler):
    """Every value of every kind of dimension is one the box contains, with the right type."""
    points = plan(sampler, EVERY_KIND, 100, 0)
    assert len(points) == 100
    assert all(EVERY_KIND.contains(point) for point in points)
    assert all(isinstance(p["batch"], int) and isinstance(p["units"], int) for p in points)
    assert {p["hidden"] for p in points} == {(50,), (100, 100), 3, True, "4"}


@pytest.mark.parametrize("sampler", DRAWN)
def test_the_seed_decides_the_plan(sampler):
    """The same seed gives the same points, another seed gives others."""
    first = plan(sampler, EVERY_KIND, 20, 1)
    assert first == plan(sampler, EVERY_KIND, 20, 1)
    assert first != plan(sampler, EVERY_KIND, 20, 2)


def test_a_grid_is_planned_in_the_order_written():
    """A grid's points are all combinations of the choices, whatever the seed."""
    choices = Box(tuple(d for d in EVERY_KIND.dimensions if isinstance(d.range, Choices)))
    points = plan("grid", choices, choices.size, 1)
    assert points == plan("grid", choices, choices.size, 2) == choices.combinations()
    assert len(points) == 2 * 5 * 2


def test_sobol_points_are_balanced():
    """Of 64 points in a square each of 64 equal cells (8 x 8) has exactly one."""
    points = plan("sobol", SQUARE, 64, 7)
    cells = {(int(8 * p["x"]), int(8 * p["y"])) for p in points}
    assert len(cells) == 64


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_number_of_points_can_be_planned(count):
    """Numbers that are no power of two are met exactly, and points differ."""
    points = plan("sobol", SQUARE, count, 0)
    assert len({tuple(point.values()) for point in points}) == count


@pytest.mark.parametrize("dimension", EVERY_KIND.dimensions, ids=lambda d: d.name)
def test_every_value_has_an_optuna_form(dimension):
    """A value survives the way into Optuna's storage form and back, for every kind."""
    form = distribution(dimension.range)
    for position in np.linspace(0, 1, 11):
        value = encoded(dimension.range.at(float(position)))
        assert form.to_external_repr(form.to_internal_repr(value)) == value


# ------------------------------------------------------- suggested when claimed


def known(points, score):
    return [Outcome(i, p, score(p), 0.1) for i, p in enumerate(points)]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_suggestions_lie_in_the_box(sampler):
    """Suggestions are in the box and of the right types, with and without earlier trials."""
    points = plan("random", EVERY_KIND, 30, 0)
    finished = known(points, lambda p: -abs(math.log10(p["rate"]) + 3))
    for before in ([], finished[:4], finished):
        found = suggest(sampler, EVERY_KIND, before, points[:2], 5, 1)
        assert len(found) == 5
        assert all(EVERY_KIND.contains(point) for point in found)
        assert all(isinstance(p["batch"], int) for p in found)
        assert {type(p["hidden"]) for p in found} <= {tuple, int, bool, str}
        assert {type(p["optimizer"]) for p in found} <= {Entries, str}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_suggestions_repeat_with_their_seed(sampler):
    """The same knowledge and seed give the same suggestions, another seed others."""
    finished = known(plan("random", SQUARE, 30, 0), lambda p: p["x"])
    first = suggest(sampler, SQUARE, finished, [], 4, 1)
    assert first == suggest(sampler, SQUARE, finished, [], 4, 1)
    assert first != suggest(sampler, SQUARE, finished, [], 4, 2)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_suggestions_follow_what_is_known_in_the_box(sampler):
    """Where trials near one corner are best, suggestions are nearer to it than chance puts them.

    The mean distance of random points from the corner is 0.77, with a standard error of 0.04 for
    40 points: 0.6 is more than 4 of them away.
    """
    finished = known(plan("random", SQUARE, 60, 0), lambda p: -math.hypot(p["x"], p["y"]))
    found = [p for seed in range(10) for p in suggest(sampler, SQUARE, finished, [], 4, seed)]
    assert np.mean([math.hypot(p["x"], p["y"]) for p in found]) < 0.6


def near_a_corner(point):
    """Best at (0.15, 0.15) and at (0.85, 0.85), bad where the two are mixed."""
    return -min(math.hypot(point["x"] - c, point["y"] - c) for c in (0.15, 0.85))


def mean_difference(sampler, box, finished):
    found = [p for seed in range(10) for p in suggest(sampler, box, finished, [], 4, seed)]
    return np.mean([abs(p["x"] - p["y"]) for p in found])


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_dimensions_are_sampled_together(sampler):
    """Where x and y must be small together or large together, suggestions have both alike.

    With these trials independent dimensions give a mean |x - y| of 0.62, joint ones of 0.05
    (TPE, measured over 40 suggestions); everything is seeded.
    """
    finished = known(plan("random", SQUARE, 100, 4), near_a_corner)
    assert mean_difference(sampler, SQUARE, finished) < 0.2


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_trials_outside_the_box_are_not_looked_at(sampler):
    """Trials of a wider earlier box change nothing about what is suggested in this one."""
    inside = known(plan("random", SQUARE, 20, 0), lambda p: p["x"])
    outside = [Outcome(100 + i, {"x": 5.0 + i, "y": 0.5}, 9.0, 0.0) for i in range(20)]
    assert suggest(sampler, SQUARE, inside, [], 3, 0) == suggest(
        sampler, SQUARE, [*inside, *outside], [], 3, 0
    )


def test_a_changed_range_does_not_drop_out_of_joint_sampling():
    """After narrowing, TPE still samples together the dimension whose range has changed."""
    narrower = Box((Dimension("x", Interval(0.05, 0.95)), Dimension("y", Interval(0.0, 1.0))))
    finished = known(plan("random", SQUARE, 100, 4), near_a_corner)
    assert mean_difference("tpe", narrower, finished) < 0.2


def test_trials_without_a_score_are_no_obstacle():
    """Diverged trials are told to the sampler as such."""
    finished = [Outcome(i, p, None, None) for i, p in enumerate(plan("random", SQUARE, 20, 0))]
    for sampler in ("tpe", "cmaes"):
        assert len(suggest(sampler, SQUARE, finished, [], 3, 0)) == 3


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_failed_trials_are_not_told_to_the_sampler(sampler):
    """Trials that failed change nothing about what is suggested; diverged ones may."""
    finished = known(plan("random", SQUARE, 20, 0), lambda p: p["x"])
    lost = [Outcome(100 + i, p, None, None, failed=True)
            for i, p in enumerate(plan("random", SQUARE, 20, 1))]  # fmt: skip
    assert suggest(sampler, SQUARE, [*finished, *lost], [], 3, 0) == suggest(
        sampler, SQUARE, finished, [], 3, 0
    )


# ------------------------------------------------------------- what they need


@pytest.mark.parametrize(
    ("sampler", "package", "requirement"),
    [("gp", "torch", '"hpsearch[gp]"'), ("cmaes", "cmaes", "cmaes")],
)
def test_a_missing_package_is_one_line(monkeypatch, sampler, package, requirement):
    """The line names the package and something that pip can install."""
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for use in (check_sampler, lambda name: suggest(name, SQUARE, [], [], 1, 0)):
        with pytest.raises(UserError) as caught:
            use(sampler)
        assert str(caught.value) == (
            f'sampler = "{sampler}" needs the package {package}, which is not installed: '
            f"pip install {requirement}"
        )


@pytest.mark.parametrize("sampler", ["sobol", "random", "grid", "tpe", "cmaes"])
def test_other_samplers_need_nothing_more(sampler):
    """What hpsearch itself installs is enough for every sampler but gp."""
    check_sampler(sampler)
