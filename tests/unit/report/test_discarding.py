"""What is said of trials that were stopped early, from the documents alone."""

from hpsearch.report.discarding import below_text, discarding_lines

SPARED = {"trials": 5, "elites": 0, "interval": [0.0, 0.434]}
DOCUMENT = {"complete": 215, "diverged": 2, "discarded": 83, "failed": 0}


def said(**changes):
    found = {"rule": "auto", "updates_saved": 0.2371, "spared": SPARED}
    return discarding_lines(DOCUMENT | {"discarding": found | changes})


def test_it_says_what_was_saved_and_how_often_that_was_wrong():
    """One line has the trials, the updates and the share of wrong stops with its interval."""
    (line,) = said()
    assert line == (
        "83 of 300 trials early, 24% of the updates saved; of 5 that ran on all the same none "
        "ended among the elites (0% .. 43%)."
    )
    wrong = said(spared={"trials": 6, "elites": 1, "interval": [0.03, 0.56]})
    assert "of 6 that ran on all the same 1 ended among the elites (3% .. 56%)." in wrong[0]


def test_without_anybody_spared_nothing_is_claimed():
    """No trial that ran on is no evidence that the rule is right."""
    (line,) = said(spared={"trials": 0, "elites": 0, "interval": None})
    assert line.endswith("so nobody knows how often that was wrong.")


def test_nothing_is_said_where_nothing_is_discarded():
    """Or before a trial is done."""
    assert discarding_lines({"discarding": None}) == []
    assert said(updates_saved=None) == []


def test_a_trial_says_where_it_was_below():
    """With the threshold, and the epoch where it ran on after it."""
    below = {"epoch": 5, "threshold": 0.83194, "spared": False}
    assert below_text({"below": below}) == "<0.8319"
    assert below_text({"below": below | {"spared": True}}) == "<0.8319 at 5"
    assert below_text({}) == ""
