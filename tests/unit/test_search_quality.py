"""The comparison of searches: everybody meets the same luck, and figures mean what they say."""

import json
from dataclasses import replace

import contenders
import numpy as np
import pytest
import search_quality
import testbeds
from contenders import CONTENDERS, Search
from search_quality import Results, Standing

from hpsearch.errors import UserError

BUDGETS = (4, 12)
BED = testbeds.named("no-effect-cut")


@pytest.fixture
def counted(monkeypatch):
    """A contender called `fake` that tries the middle of everything; the seeds it was run with."""
    seeds = []

    def fake(bed, seed, budgets):
        seeds.append(seed)
        positions = np.full((max(budgets), bed.dimensions), 0.5)
        return Search(positions, np.zeros(max(budgets)), positions[: len(budgets)], 0.012)

    monkeypatch.setitem(CONTENDERS, "fake", fake)
    return seeds


# ------------------------------------------------------------------ contenders


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_stays_in_its_box(name):
    """All trials are placed in the declared box, or with `-wide` anywhere in the limits."""
    if contenders.missing(name):
        pytest.skip(contenders.missing(name))
    search = CONTENDERS[name](BED, 3, BUDGETS)
    low, high = (np.zeros(2), np.ones(2)) if name.endswith("-wide") else BED.declared_ends()
    assert search.positions.shape == (12, 2)
    assert (search.positions >= low - 1e-9).all()
    assert (search.positions <= high + 1e-9).all()


@pytest.mark.parametrize("name", ["sobol", "tpe", "cmaes-wide"])
def test_a_contender_is_repeated_by_its_seed(name):
    """The same seed gives the same trials and scores, another seed gives others."""
    one, same, other = (CONTENDERS[name](BED, seed, BUDGETS) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.positions, same.positions)
    np.testing.assert_array_equal(one.scores, same.scores)
    assert not np.array_equal(one.positions, other.positions)


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_the_best_observed_is_recommended(name):
    """After a budget the point with the highest score so far is recommended."""
    search = CONTENDERS[name](BED, 5, BUDGETS)
    for budget, point in zip(BUDGETS, search.recommended, strict=True):
        best = search.scores[:budget].argmax()
        np.testing.assert_array_equal(point, search.positions[best])


def test_what_diverged_is_not_recommended():
    """A training without a score counts 0, also where it was the first."""
    positions = np.array([[0.1], [0.2], [0.3]])
    best = contenders.best_observed(positions, np.array([np.nan, 0.4, np.nan]), (1, 3))
    assert best.tolist() == [[0.1], [0.2]]


def test_all_meet_the_same_luck():
    """The score of a trial depends on the search's seed, its number and its place alone."""
    points = np.random.default_rng(0).random((6, 2))
    at_once = contenders.drawn(BED, 7, 0, points)
    one_by_one = [contenders.drawn(BED, 7, n, points[n : n + 1])[0] for n in range(6)]
    np.testing.assert_array_equal(at_once, one_by_one)
    assert not np.array_equal(at_once, contenders.drawn(BED, 8, 0, points))


def test_who_lacks_a_package_is_left_out_with_a_line(monkeypatch, capsys):
    """Without torch the GP does not take part, and one line says what to install."""
    monkeypatch.setattr(contenders, "find_spec", lambda _name: None)
    assert search_quality.able(["gp-wide", "sobol"]) == ["sobol"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install "hpsearch[gp]"' in said


# --------------------------------------------------------------------- results


def test_an_outcome_is_regret_at_every_checkpoint(counted):
    """What is kept is the regret of each recommended point, and the time a trial."""
    outcome = Results(None).of(BED, "fake", 0, BUDGETS)
    regret = BED.regret([[0.5, 0.5]])[0]
    assert outcome.regrets == pytest.approx((regret, regret))
    assert outcome.ms == pytest.approx(1.0)
    assert counted == [0]


def test_what_is_in_the_file_is_not_measured_again(counted, tmp_path):
    """A second run takes known outcomes from the file and adds the others to it."""
    file = tmp_path / "a.jsonl"
    first = Results(file).of(BED, "fake", 0, BUDGETS)
    results = Results(file)
    assert results.of(BED, "fake", 0, BUDGETS) == first
    results.of(BED, "fake", 1, BUDGETS)
    assert counted == [0, 1]
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize("change", ["contender", "median", "declared", "checkpoints"])
def test_what_has_changed_is_measured_anew(counted, tmp_path, change):
    """Outcomes of a contender named by --again, another truth or other checkpoints do not count."""
    file = tmp_path / "a.jsonl"
    Results(file).of(BED, "fake", 0, BUDGETS)
    results = Results(file, again=["fake"] if change == "contender" else [])
    changes = {"median": BED.median - 0.1, "declared": BED.limits}
    bed = replace(BED, **{change: changes[change]}) if change in changes else BED
    results.of(bed, "fake", 0, (12,) if change == "checkpoints" else BUDGETS)
    assert counted == [0, 0]


@pytest.mark.parametrize("line", ["{", "[]", json.dumps({"testbed": "cliff"})])
def test_a_damaged_line_is_named(tmp_path, line):
    """A line that is no outcome is refused by its number."""
    file = tmp_path / "a.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UserError, match=r"a.jsonl, line 1: no outcome; delete the line"):
        Results(file)


def test_one_box_is_searched_once(counted, monkeypatch):
    """Where the declared box is the limits, both names share one standing and one row."""
    monkeypatch.setitem(CONTENDERS, "fake-wide", CONTENDERS["fake"])
    names = ["fake", "fake-wide"]
    whole, part = testbeds.named("no-effect"), BED
    for bed, rows in ((whole, 1), (part, 2)):
        counted.clear()
        standings = search_quality.measured(bed, names, 3, BUDGETS, Results(None))
        assert len(counted) == 3 * rows
        assert len(search_quality.testbed_table(bed.name, standings, BUDGETS)) == 1 + rows


# ------------------------------------------------------------------- comparing


def test_the_interval_covers_a_mean_as_often_as_it_says():
    """Of 300 samples of 20 normal differences the interval holds the truth in about 95 %."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        low, high = search_quality.interval(rng.normal(0.3, 1.0, size=(1, 20)))
        held += low <= 0.3 <= high
    # Percentile intervals of 20 hold it in 93 %; 300 of those are below 88 % once in 3,000 times.
    assert 0.88 < held / 300 < 0.98


def test_the_interval_is_of_the_mean_over_testbeds():
    """Each testbed counts alike, and what does not vary over seeds is certain."""
    assert search_quality.interval(np.array([[1.0] * 5, [3.0] * 5])) == pytest.approx((2.0, 2.0))


def test_contenders_are_compared_seed_by_seed():
    """A lead that every seed confirms is certain, however much seeds differ."""
    luck = np.random.default_rng(5).random((1, 20))
    cells = search_quality.compared({"one": luck, "other": luck + 0.01, "same": luck})
    mean = 100 * luck.mean()
    assert cells["one"] == cells["same"] == f"**{mean:.2f}**"
    assert cells["other"] == f"{mean + 1:.2f} (+1.00 .. +1.00)"


def test_tables_show_the_trials_they_are_asked_for():
    """A column for every tabled number of trials, a row for every contender, times at the end."""
    regrets = np.tile(np.linspace(0.9, 0.0, 10), (3, 1))
    standings = {"bed": {"one": Standing(regrets, 1.25), "two": Standing(regrets + 0.1, 3.0)}}
    heading, one, two = search_quality.overall_table(standings, search_quality.CHECKPOINTS)
    assert heading[1:] == ("50 trials", "100 trials", "200 trials", "300 trials", "ms a trial")
    assert (one[0], one[4], one[5]) == ("one", "**0.00**", "1.2")
    assert two[4] == "10.00 (+10.00 .. +10.00)"


def test_a_figure_is_drawn():
    """The figure is a PNG, also where a regret is 0."""
    regrets = np.zeros((2, 10))
    drawn = search_quality.picture(
        {"bed": {"sobol": Standing(regrets, 1.0)}}, search_quality.CHECKPOINTS
    )
    assert drawn.startswith(b"\x89PNG")
