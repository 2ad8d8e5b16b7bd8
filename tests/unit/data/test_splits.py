"""Splits: exact, stratified, seeded."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.data.splits import (
    apportioned,
    learning_split,
    stratified_choice,
    without_test,
)

LABELS = np.repeat(np.arange(10), 100)

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_apportioning_is_exact(total, weights):
    """Shares add up to the total, and each is its quota rounded down or up."""
    shares = apportioned(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


def test_equal_remainders_go_to_the_earlier_part():
    """A tie is decided by order, never by rounding noise of floats."""
    tenth = Fraction("0.1")
    assert apportioned(15, (tenth, tenth, tenth)) == [5, 5, 5]
    assert apportioned(2, (tenth, tenth, tenth)) == [1, 1, 0]


@given(label_lists, st.data(), st.integers(0, 2**63 - 1))
def test_every_row_is_in_exactly_one_part_and_classes_keep_their_share(labels, data, seed):
    """A choice has the size asked for, leaves the rest, and is off by less than a row a class."""
    count = data.draw(st.integers(0, len(labels)))
    chosen, rest = stratified_choice(labels, count, np.random.default_rng(seed))
    assert len(chosen) == count
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    for label in np.unique(labels):
        quota = count * np.mean(labels == label)
        assert abs(np.sum(labels[chosen] == label) - quota) < 1


def test_three_parts_are_disjoint_complete_and_stratified(study):
    """Test, training and validation rows share no row, miss none, and keep the proportions."""
    spec = study(source="digits", split={"train": 0.7, "validation": 0.1, "test": 0.2})
    learning, test = without_test(LABELS, spec)
    training, validation = (learning[part] for part in learning_split(LABELS[learning], spec))
    assert sorted([*training, *validation, *test]) == list(range(1000))
    for part, size in ((training, 70), (validation, 10), (test, 20)):
        assert np.bincount(LABELS[part]).tolist() == [size] * 10


def test_rows_come_in_random_order(study):
    """Minibatches of neighbouring rows would otherwise hold neighbouring source rows."""
    training, validation = learning_split(LABELS, study())
    assert not np.array_equal(training, np.sort(training))
    assert not np.array_equal(validation, np.sort(validation))


def test_the_seed_decides(study):
    """The same seed gives the same split, another seed another one, in every step."""
    for first, again, other in zip(
        _all_parts(study(seed=1, limit=300)),
        _all_parts(study(seed=1, limit=300)),
        _all_parts(study(seed=2, limit=300)),
        strict=True,
    ):
        assert np.array_equal(first, again)
        assert not np.array_equal(np.sort(first), np.sort(other))


def test_the_split_of_a_seed_is_pinned(study):
    """Rows assigned to seed 0 today stay where they are: stored studies depend on it."""
    test, training, validation = _all_parts(study())
    assert test[:6].tolist() == PINNED["test"]
    assert training[:6].tolist() == PINNED["training"]
    assert validation[:6].tolist() == PINNED["validation"]


def test_a_limit_moves_no_row_into_or_out_of_the_test_part(study):
    """Limited and unlimited studies of one seed have the same sealed rows."""
    for limit in (50, {"first": 50}):
        assert np.array_equal(
            without_test(LABELS, study(limit=limit))[1], without_test(LABELS, study())[1]
        )


def test_a_plain_limit_is_a_stratified_sample(study):
    """`limit = N` gives N rows for both parts together, every class with its share."""
    training, validation = learning_split(LABELS, study(limit=200))
    together = np.concatenate([training, validation])
    assert len(np.unique(together)) == 200
    assert np.bincount(LABELS[together]).tolist() == [20] * 10


def test_a_limit_of_first_rows_takes_them_as_they_stand(study):
    """`limit = { first = N }` gives the first N rows, whatever their classes."""
    labels = np.random.default_rng(0).permutation(LABELS)
    training, validation = learning_split(labels, study(limit={"first": 500}))
    assert sorted([*training, *validation]) == list(range(500))


@pytest.mark.parametrize("limit", [1001, {"first": 1001}])
def test_a_limit_above_the_rows_there_are_is_refused(study, refused, limit):
    """The line says how many rows there are."""
    line = refused(learning_split, LABELS, study(limit=limit))
    assert "1001" in line
    assert "at most 1000" in line


@pytest.mark.parametrize(
    ("rows", "part"), [(1, "test"), (2, "test"), (3, "validation"), (4, "validation")]
)
def test_an_empty_part_is_refused(study, refused, rows, part):
    """No study runs without a training, a validation and a test row."""
    spec = study(split={"train": 0.7, "validation": 0.1, "test": 0.2})

    def split():
        learning, _ = without_test(LABELS[:rows], spec)
        learning_split(LABELS[learning], spec)

    assert f"no {part} row" in refused(split)


def test_nothing_held_out_is_everything_in_order(comparison):
    """With split = "all" every row is scored on and trained on, as it stands; none is sealed."""
    learning, test = without_test(LABELS, comparison())
    assert (learning.tolist(), len(test)) == (list(range(1000)), 0)
    for limit, expected in ((None, range(1000)), ({"first": 300}, range(300))):
        training, validation = learning_split(LABELS, comparison(limit=limit))
        assert training.tolist() == validation.tolist() == list(expected)
    drawn, _ = learning_split(LABELS, comparison(limit=200))
    assert np.bincount(LABELS[drawn]).tolist() == [20] * 10
    assert np.all(np.diff(drawn) > 0)


def _all_parts(spec):
    learning, test = without_test(LABELS, spec)
    training, validation = learning_split(LABELS[learning], spec)
    return test, learning[training], learning[validation]


PINNED = {
    "test": [5, 8, 18, 25, 31, 41],
    "training": [847, 977, 738, 176, 844, 629],
    "validation": [636, 384, 605, 785, 9, 87],
}
