"""Where trainings diverge, as trials show it."""

import numpy as np
import pytest

from hpsearch.search.feasibility import Feasibility


def rows_of(count, columns=2):
    return np.random.default_rng(2).random((count, columns))


def test_where_nothing_diverged_everything_has_a_score():
    """The probability is 1 everywhere, and nothing has an effect on it."""
    found = Feasibility(rows_of(20), np.zeros(20, bool))
    assert found.probability(rows_of(5)).tolist() == [1.0] * 5
    assert found.effect(slice(0, 1)) == 0.0


def test_a_boundary_that_no_trial_contradicts_is_sharp():
    """Between the last trial with a score and the first without one it goes from 1 to 0."""
    rows = rows_of(200)
    diverged = rows[:, 0] > 0.7
    found = Feasibility(rows, diverged)
    inside, outside = rows[~diverged, 0].max(), rows[diverged, 0].min()
    places = np.array([[inside - 0.02, 0.5], [outside + 0.02, 0.5]])
    assert found.probability(places) == pytest.approx([1.0, 0.0], abs=0.01)


def test_a_boundary_that_luck_decides_is_gradual():
    """Where every other trial diverges the probability is near one half."""
    rows = rows_of(400, columns=1)
    diverged = np.random.default_rng(4).random(400) < rows[:, 0]
    found = Feasibility(rows, diverged).probability(np.array([[0.1], [0.5], [0.9]]))
    assert found == pytest.approx([0.9, 0.5, 0.1], abs=0.12)


def test_only_columns_that_decide_it_have_an_effect():
    """With a boundary in the first of two columns the second explains nothing."""
    rows = rows_of(100)
    found = Feasibility(rows, rows[:, 0] > 0.7)
    assert found.effect(slice(0, 1)) > 4
    assert found.effect(slice(1, 2)) < 0


def test_the_only_column_may_have_an_effect():
    """Without it every trial diverges as often as all do."""
    rows = rows_of(100, columns=1)
    assert Feasibility(rows, rows[:, 0] > 0.7).effect(slice(0, 1)) > 4


def test_a_choice_that_decides_it_has_an_effect():
    """However many options it has: their columns add up to a constant, and count as less."""
    options = np.random.default_rng(5).integers(5, size=128)
    rows = np.column_stack([np.eye(5)[options] / np.sqrt(2), rows_of(128, columns=1)])
    found = Feasibility(rows, options == 0)
    assert found.effect(slice(0, 5)) > 4
    assert found.effect(slice(5, 6)) < 0


def test_a_few_chance_divergences_rule_out_next_to_nothing():
    """Of 40 trials in 10 dimensions 4 diverge by chance: less than a tenth of all is suspect."""
    rows = rows_of(40, columns=10)
    diverged = np.arange(40) < 4
    suspect = Feasibility(rows, diverged).probability(rows_of(2000, columns=10)) < 0.5
    assert suspect.mean() < 0.1
