"""Which trials `trials` shows, and how rows are written for a spreadsheet."""

import csv
import io
import json

import pytest

from hpsearch.errors import UserError
from hpsearch.report.comma_separated import ranges_csv, trials_csv
from hpsearch.report.filters import chosen, conditions

NAMES = ("learning_rate", "activation")


def trial(number, score, **changes):
    document = {
        "purpose": "search",
        "number": number,
        "round": 1 + number // 2,
        "state": "complete" if score is not None else "diverged",
        "score": score,
        "loss": 0.5,
        "seed": 3,
        "worker": "host-1",
        "attempts": 1,
        "elite": number == 1,
        "epochs": [{"epoch": 1, "metrics": {"training_loss": 0.1 + 0.2}}],
        "started": None,
        "finished": "2026-01-01T00:00:00.000+00:00",
        "message": None,
        "values": {"learning_rate": 10.0**-number, "activation": "relu"},
    }
    return document | changes


TRIALS = [trial(0, 0.5), trial(1, 0.9), trial(2, None), trial(3, 0.7)]
TRIALS.append(trial(0, 0.95, purpose="final", elite=None))


def numbers(*typed, top=None):
    found = chosen(TRIALS, conditions(typed, NAMES), top)
    return [(t["purpose"], t["number"]) for t in found]


def test_a_dimension_takes_the_place_of_a_field_of_its_name():
    """Where `epochs` is searched, what is compared and written is how many a trial was to have."""
    trials = [trial(number, 0.5, values={"epochs": 10 * number}) for number in range(3)]
    found = chosen(trials, conditions(["epochs>=10"], ["epochs"]), None)
    assert [t["number"] for t in found] == [1, 2]
    rows = list(csv.reader(io.StringIO(trials_csv(found, ["epochs"]))))
    assert rows[0].count("epochs") == 1
    assert [row[rows[0].index("epochs")] for row in rows[1:]] == ["10", "20"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["round=2"], [2, 3]),
        (["round = 1", "purpose=search"], [0, 1]),
        (["score>=0.7", "purpose=search"], [1, 3]),
        (["state!=complete"], [2]),
        (["elite=true"], [1]),
        (["learning_rate<0.05", "activation==relu"], [2, 3]),
        (["epochs=1", "round=2"], [2, 3]),
    ],
)
def test_only_trials_of_which_all_conditions_hold(typed, expected):
    """Numbers are compared as numbers, everything else as text; spaces do not matter."""
    assert [number for _, number in numbers(*typed)] == expected


def test_a_trial_without_a_value_is_only_unequal():
    """One that diverged has no score: it is neither below nor above any."""
    assert ("search", 2) not in numbers("score<1") + numbers("score>=0")
    assert ("search", 2) in numbers("score!=0.5")


def test_the_best_are_those_of_the_search_unless_another_purpose_is_named():
    """A test figure is no score to be ranked among those of the search."""
    assert numbers(top=2) == [("search", 1), ("search", 3)]
    assert numbers("purpose=final", top=2) == [("final", 0)]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("round", "write FIELD=VALUE"),
        ("rund=2", "rund is no field of a trial; did you mean 'round'?"),
        ("round=two", "round is a number"),
        ("state<3", "have no order"),
    ],
)
def test_a_mistake_is_one_line(typed, words):
    """What was typed, and what is wrong with it."""
    with pytest.raises(UserError, match=words) as raised:
        numbers(typed)
    assert str(raised.value).startswith(f"--where {typed}: ")
    assert "\n" not in str(raised.value)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_trials_read_back_from_a_spreadsheet():
    """Every figure exactly, one line a trial, the metrics of the last measurement behind it."""
    rows = read(trials_csv(TRIALS, NAMES))
    assert len(rows) == len(TRIALS)
    assert float(rows[1]["training_loss"]) == 0.1 + 0.2
    assert float(rows[3]["learning_rate"]) == 10.0**-3
    assert (rows[1]["elite"], rows[2]["score"], rows[4]["elite"]) == ("true", "", "")


def test_choices_are_lists_in_a_spreadsheet():
    """A range has its ends, a choice its list as JSON."""
    row = {"round": 1, "dimension": "activation", "choices": ["relu", "tanh"], "previous": None}
    (found,) = read(ranges_csv([row | dict.fromkeys(("decision", "edge", "elites", "rule"))]))
    assert json.loads(found["choices"]) == ["relu", "tanh"]
    assert found["low"] == ""
