"""What values and trials are called in legends."""

import pytest

from hpsearch.report.figures.labels import distinct, value_label

SIGMOIDS = [
    {"name": "sigmoid", "initializer": {"normal": 1.0}},
    {"name": "sigmoid", "initializer": "xavier"},
    {"name": "relu", "initializer": "he"},
]


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        ("learning_rate", 0.01, "learning rate 0.01"),
        ("optimizer", "adam", "adam"),
        ("batch_norm", True, "with batch norm"),
        ("batch_norm", False, "without batch norm"),
        ("hidden", [50, 20], "hidden [50, 20]"),
        ("hidden", (50, 20), "hidden [50, 20]"),
        ("initializer", {"normal": 0.01}, "normal 0.01"),
    ],
)
def test_a_value_is_named_briefly(name, value, label):
    """Words stand alone, numbers and lists with their key, a switch as with or without."""
    assert value_label(name, value) == label


def test_a_table_is_named_by_what_tells_it_apart():
    """Its name alone where no other choice has it, else with its other keys."""
    labels = [value_label("activation", value, SIGMOIDS) for value in SIGMOIDS]
    assert labels == ["sigmoid, normal 1", "sigmoid, xavier", "relu"]
    optimizers = ["sgd", {"name": "adam", "learning_rate": 0.001, "epsilon": 1e-8}]
    assert value_label("optimizer", optimizers[1], optimizers) == "adam"


def test_trials_of_one_label_carry_their_numbers():
    """Two trials of the same values, or of no values that differ, are told apart."""
    assert distinct(["a", "b", "a", ""], [3, 4, 5, 6]) == [
        "a (trial 3)",
        "b",
        "a (trial 5)",
        "(trial 6)",
    ]
