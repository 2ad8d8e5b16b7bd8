"""Testbeds: what they say of themselves is true, and they draw as trainings would."""

from dataclasses import replace

import numpy as np
import pytest
import testbeds

from hpsearch.errors import DataError
from hpsearch.space import Box, Dimension, Interval

# The testbeds that need no file from elsewhere.
OWN = ("mnist-500", *testbeds.FORMULAS)
CUT = ("mnist-500", "no-effect-cut")


@pytest.fixture(scope="module")
def beds():
    """All of them, made once."""
    return {name: testbeds.named(name) for name in OWN}


def square(points, low=(0.0, 0.0), high=(1.0, 1.0)):
    """A dense grid of positions between two corners of two dimensions."""
    lines = np.meshgrid(*map(np.linspace, low, high, (points, points)))
    return np.stack([line.ravel() for line in lines], axis=-1)


def fresh(bed, position, count):
    """Scores of one position with many seeds."""
    return bed.draw(np.tile(position, (count, 1)), np.arange(count))


# ---------------------------------------------------------- what a testbed says


@pytest.mark.parametrize("name", OWN)
def test_the_best_is_what_a_dense_grid_finds(beds, name):
    """No point of a dense grid has a higher mean, and one is as good within half the noise."""
    bed = beds[name]
    highest = bed.mean(square(101)).max()
    assert bed.best - bed.noise / 2 <= highest <= bed.best + bed.noise / 100


@pytest.mark.parametrize("name", OWN)
def test_half_of_the_limits_is_worse_than_the_median(beds, name):
    """Of points drawn blindly as many lie above the median as below it."""
    bed = beds[name]
    means = bed.mean(np.random.default_rng(1).random((5_000, 2)))
    # A share of 5,000 is off by 0.03 once in 50,000 times; on a plateau many means are equal.
    assert (means < bed.median - 1e-6).mean() < 0.53
    assert (means > bed.median + 1e-6).mean() < 0.53


@pytest.mark.parametrize("name", testbeds.FORMULAS)
def test_a_formula_draws_its_mean_and_its_noise(beds, name):
    """Scores of one point with many seeds have the mean and the standard deviation stated."""
    bed, position = beds[name], np.array([0.62, 0.48])
    scores = fresh(bed, position, 1500)
    # Both tolerances are beyond 4 standard errors: one false alarm in 15,000.
    assert abs(scores.mean() - bed.mean(position[None])[0]) < 4 * bed.noise / np.sqrt(1500)
    assert scores.std() == pytest.approx(bed.noise, rel=0.08)


def test_the_experiment_draws_its_noise_near_the_top(beds):
    """Scores of points near the top differ from their means by the noise stated."""
    bed, rng = beds["mnist-500"], np.random.default_rng(2)
    points = rng.random((20_000, 2))
    means = bed.mean(points)
    top = points[means >= np.quantile(means, testbeds.NEAR_THE_TOP)]
    scores = bed.draw(top, rng.integers(2**62, size=len(top)))
    assert np.nanstd(scores - bed.mean(top)) == pytest.approx(bed.noise, rel=0.1)


@pytest.mark.parametrize("name", OWN)
def test_a_point_with_its_seed_has_one_score(beds, name):
    """A score is the same alone and among others, so that searches meet the same luck."""
    bed, points = beds[name], square(5)
    seeds = np.arange(len(points)) + 2**62
    together = bed.draw(points, seeds)
    alone = [bed.draw(points[i : i + 1], seeds[i : i + 1])[0] for i in range(len(points))]
    np.testing.assert_array_equal(together, alone)


def test_points_of_one_seed_share_a_part_of_their_luck(beds):
    """Noise at two points with the same seeds is correlated by the share stated."""
    bed, points = beds["no-effect"], np.array([[0.7, 0.2], [0.7, 0.8]])
    one, other = (fresh(bed, point, 2000) for point in points)
    # The standard error of a correlation of 2,000 pairs is at most 0.022.
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(testbeds.SHARED, abs=0.1)


def test_regret_is_0_at_the_best_and_1_at_the_median(beds):
    """Regret is measured in units of what blind drawing misses."""
    bed = replace(beds["no-effect"], median=0.5)
    x = np.array([0.7, 0.7 - np.sqrt(0.2)])
    assert bed.regret(np.column_stack([x, x])).tolist() == pytest.approx([0.0, 1.0])


# ----------------------------------------------------------------------- boxes


@pytest.mark.parametrize("name", OWN)
def test_values_stand_where_their_positions_are(beds, name):
    """Positions become values within the limits and are found again."""
    bed, points = beds[name], square(4)
    values = bed.values(points)
    assert all(bed.limits.contains(each) for each in values)
    np.testing.assert_allclose(bed.positions(values), points, atol=1e-12)


def test_the_experiment_declares_what_its_study_declares(beds):
    """The declared box is the study file's [space], and the limits lie where the task says."""
    bed = beds["mnist-500"]
    assert bed.declared["learning_rate"] == Interval(1e-6, 1e-2, "log")
    assert bed.declared["weight_decay"] == Interval(1e-8, 1e-4, "log")
    low, high = bed.declared_ends()
    np.testing.assert_allclose(low, [1 / 7, 2 / 9])
    np.testing.assert_allclose(high, [5 / 7, 6 / 9])


@pytest.mark.parametrize("name", CUT)
def test_a_cut_range_leaves_the_optimum_out(beds, name):
    """No declared point comes within twice the noise of the best."""
    bed = beds[name]
    assert bed.is_cut
    assert bed.mean(square(101, *bed.declared_ends())).max() < bed.best - 2 * bed.noise


@pytest.mark.parametrize("name", sorted(set(OWN) - set(CUT)))
def test_other_testbeds_declare_their_limits(beds, name):
    """Without a cut the declared box is the limits."""
    assert not beds[name].is_cut


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"noise": 0.0}, "noise must be above 0"),
        ({"median": 0.95}, "median 0.95 is not below best 0.9"),
        ({"declared": Box((Dimension("x", Interval(0, 1)),))}, "name different dimensions"),
        (
            {"declared": Box((Dimension("x", Interval(0, 2)), Dimension("y", Interval(0, 1))))},
            "x is declared beyond its limits",
        ),
    ],
)
def test_a_testbed_that_cannot_be_is_refused(beds, change, complaint):
    """Boxes that do not belong together and impossible numbers are named."""
    with pytest.raises(ValueError, match=complaint):
        replace(beds["no-effect"], **change)


# ---------------------------------------------------------------------- shapes


def test_one_dimension_has_no_effect(beds):
    """On the testbed of that name the mean depends on x alone."""
    means = beds["no-effect"].mean(square(21)).reshape(21, 21)
    assert np.ptp(means, axis=0).max() == 0
    assert np.ptp(means, axis=1).min() > 0.5


def test_the_best_of_one_dimension_depends_on_the_other(beds):
    """On the interaction, the best y falls as x rises."""
    means = beds["interaction"].mean(square(101)).reshape(101, 101)  # y, x
    best_y = means.argmax(axis=0)
    assert best_y[20] > best_y[50] > best_y[80]


def test_there_are_two_hills(beds):
    """Around the lower of the two optima every direction leads down."""
    bed, top = beds["two-optima"], np.array([0.20, 0.30])
    around = top + 0.05 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    assert bed.mean(around).max() < bed.mean(top[None])[0] < bed.best


def test_trainings_beyond_the_cliff_diverge(beds):
    """A diverged score is not a number, and counts 0 in the mean."""
    bed, points = beds["cliff"], np.array([[0.75, 0.5], [0.7501, 0.5]])
    assert np.isnan(bed.draw(points, np.array([1, 1]))).tolist() == [False, True]
    assert bed.mean(points).tolist() == pytest.approx([0.9, 0.0])


# ---------------------------------------------------------------------- tables


def test_a_table_is_interpolated_between_its_points():
    """On the grid a surface is the table, halfway between two points their mean."""
    table = testbeds.Table([np.array([0.0, 0.5, 1.0])], np.array([[1.0, 2.0], [3, 4], [5, 0]]))
    points = np.array([[0.5], [0.25], [0.75]])
    assert table.draw(points, np.array([0, 0, 1])).tolist() == [3.0, 2.0, 2.0]
    assert table.mean(points).tolist() == [3.5, 2.5, 3.0]
    assert table.best_position().tolist() == [0.5]


def test_a_table_diverges_where_diverged_points_weigh_more():
    """Near a diverged point a training diverges, farther away it is as its finite neighbours."""
    table = testbeds.Table([np.array([0.0, 1.0])], np.array([[0.8, 0.8], [np.nan, 0.4]]))
    scores = table.surfaces(np.array([[0.4], [0.6]]))
    np.testing.assert_allclose(scores, [[0.8, 0.64], [np.nan, 0.56]])
    assert table.mean(np.array([[0.6]])).tolist() == pytest.approx([0.28])


def test_every_seed_has_its_turn():
    """Consecutive seeds go through all surfaces, whatever number they begin with."""
    table = testbeds.Table([np.array([0.0, 1.0])], np.tile([1.0, 2.0, 3.0], (2, 1)))
    drawn = table.draw(np.full((3, 1), 0.5), 2**62 + np.arange(3))
    assert sorted(drawn) == [1.0, 2.0, 3.0]


def test_a_table_and_its_axes_must_fit():
    """A table whose shape is another one is refused."""
    with pytest.raises(ValueError, match="axes of"):
        testbeds.Table([np.array([0.0, 1.0])], np.zeros((3, 2)))


@pytest.fixture
def tables(tmp_path):
    """A folder with a table of HPOBench's form whose best is at 0.1, 8, 2, 0.1 and 32."""
    lines = {
        "alpha": [0.01, 0.1, 1.0],
        "batch_size": [4, 8, 16],
        "depth": [1, 2],
        "learning_rate": [0.001, 0.01, 0.1],
        "width": [16, 32],
    }
    distances = np.stack(np.meshgrid(*map(np.arange, map(len, lines.values())), indexing="ij"))
    best = np.array([1, 1, 1, 2, 1]).reshape(-1, 1, 1, 1, 1, 1)
    mean = 0.9 - 0.1 * abs(distances - best).sum(axis=0)
    (tmp_path / "hpobench").mkdir()
    accuracy = mean[..., None] + np.array([-0.01, 0.0, 0.01])
    np.savez(tmp_path / "hpobench" / "car.npz", accuracy=accuracy.astype(np.float32), **lines)
    return tmp_path


@pytest.mark.parametrize("dimensions", testbeds.SEARCHED)
def test_what_is_not_searched_stands_at_its_best(tables, dimensions):
    """In any number of dimensions the best of the whole table can be found."""
    bed = testbeds.named(f"car-{dimensions}d", tables)
    assert bed.limits.names == testbeds.SEARCHED[dimensions]
    best = {"alpha": 0.1, "batch_size": 8, "depth": 2, "learning_rate": 0.1, "width": 32}
    assert bed.regret(bed.positions([best])).tolist() == pytest.approx([0.0], abs=1e-6)
    assert bed.best == pytest.approx(0.9)
    assert bed.noise == pytest.approx(0.01 * np.sqrt(2 / 3), rel=1e-4)


def test_a_cut_table_declares_poor_learning_rates_only(tables):
    """The declared learning rates are those whose best is clearly worse; the rest is as it was."""
    bed = testbeds.named("car-2d-cut", tables)
    assert bed.declared["learning_rate"].low == bed.limits["learning_rate"].low
    assert bed.declared["alpha"] == bed.limits["alpha"]
    gap = bed.best - bed.mean(square(101, *bed.declared_ends())).max()
    # The mean rises by 0.1 along half of the limits, and edges are looked for in steps of 0.005.
    assert testbeds.CUT * bed.noise <= gap + 1e-12 <= testbeds.CUT * bed.noise + 0.001


def test_a_table_without_an_effect_cannot_be_cut(tables):
    """Where good scores are at every learning rate, no range leaves them out."""
    file = tables / "hpobench" / "car.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {"accuracy": arrays["accuracy"][:, :, :, [2]].repeat(3, axis=3)})
    with pytest.raises(ValueError, match="car-2d: good learning rates are everywhere"):
        testbeds.named("car-2d-cut", tables)


@pytest.mark.parametrize("given", [True, False])
def test_a_table_that_is_not_there_is_one_line(tmp_path, monkeypatch, given):
    """Who has no tables is told what to set."""
    monkeypatch.delenv("HPSEARCH_DATA", raising=False)
    with pytest.raises(DataError, match=r"data-dir must name|set HPSEARCH_DATA") as refused:
        testbeds.named("car-2d", tmp_path if given else None)
    assert "\n" not in str(refused.value)
