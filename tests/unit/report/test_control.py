"""What is said of the control arm, from the document alone."""

import pytest

from hpsearch.catalog import shipped_studies
from hpsearch.report.control import control_lines, control_plan
from hpsearch.study_file import load_study, overridden

WINNER = {
    "values": {"learning_rate": 1e-3},
    "score": 0.9,
    "standard_error": 0.01,
    "seeds": 5,
    "ties": [],
}
CONTROL = {
    "sampler": "random",
    "planned": 300,
    "complete": 298,
    "diverged": 2,
    "discarded": 0,
    "failed": 0,
    "repeats": {"planned": 25, "finished": 25},
    "winner": WINNER | {"values": {"learning_rate": 2e-3}, "score": 0.803},
    "difference": {"mean": 0.026, "interval": [0.012, 0.04], "seeds": 5},
}


WIDE, NARROW = {"learning_rate": {"low": 1e-6}}, {"learning_rate": {"low": 1e-4}}
ROUNDS = [{"ranges": WIDE}, {"ranges": NARROW}]


def said(state="complete", rounds=ROUNDS, **changes):
    document = {"state": state, "winner": WINNER, "rounds": rounds}
    return control_lines(document | {"control": CONTROL | changes})


def test_without_a_control_arm_nothing_is_said():
    """A study that has none does not speak of it."""
    assert control_lines({"state": "complete", "winner": WINNER, "control": None}) == []


def test_what_narrowing_gave_is_one_line():
    """The control's mean, and the difference with its interval."""
    (line,) = said()
    assert line == (
        "random, 300 trials: [bold]0.8030[/] ± 0.0100; narrowing gave +0.0260 "
        "(95 % interval 0.0120 .. 0.0400 over 5 common seeds)."
    )


def test_where_no_range_moved_narrowing_gave_nothing():
    """What the search is ahead by then comes from where it placed its trials."""
    (line,) = said(rounds=[{"ranges": WIDE}] * 2)
    assert "; placing trials (no range moved) gave +0.0260 (" in line


@pytest.mark.parametrize(
    ("mean", "interval", "words", "sure"),
    [
        (0.01, [-0.01, 0.03], "+0.0100 (95 % interval -0.0100 .. 0.0300", None),
        (-0.01, [-0.03, 0.01], "-0.0100 (95 % interval -0.0300 .. 0.0100", "has the better mean"),
        (-2e-17, [-0.01, 0.01], "+0.0000 (95 % interval -0.0100 .. 0.0100", None),
        (-0.02, [-0.03, -0.01], "-0.0200 (95 % interval -0.0300 .. -0.0100", "is the better one"),
    ],
)
def test_a_better_control_is_said_plainly(mean, interval, words, sure):
    """Where its winner is ahead a line of its own names its values; chance is named too."""
    first, *more = said(difference={"mean": mean, "interval": interval, "seeds": 5})
    assert words in first
    assert ("perhaps by chance" in first) == (interval[0] <= 0 <= interval[1])
    named = [f"The control's winner {sure}: learning_rate 0.002."] if sure else []
    assert more == named


def test_one_seed_is_called_what_it_is():
    """Without an interval nothing is claimed."""
    (line,) = said(difference={"mean": 0.1, "interval": None, "seeds": 1})
    assert "+0.1000 (over a single seed: perhaps by chance)" in line


def test_equal_values_are_called_so():
    """With few choices both may find the same, which is no difference to measure."""
    (line,) = said(winner=WINNER)
    assert "it found the same values" in line


def test_what_cannot_be_compared_is_said():
    """A control without a score, one that was never run, one that is under way."""

    def line(state="complete", **changes):
        (only,) = said(state, **{"winner": None, "difference": None} | changes)
        return only

    nothing = {"complete": 0, "diverged": 0, "repeats": None}
    assert "no repeat of its best has a score" in line()
    assert "none of 300 trials has a score" in line(complete=0, diverged=300, repeats=None)
    assert "not run, because there is no winner" in line(**nothing)
    assert line("running", **nothing | {"complete": 120}) == "random: 120 of 300 trials done."


def test_the_plan_names_its_size_and_sampler():
    """As many trials as the search has."""
    spec = load_study(shipped_studies()["digits"])
    assert control_plan(spec) == ""
    assert control_plan(overridden(spec, control="tpe")) == "300 control trials (tpe)"
