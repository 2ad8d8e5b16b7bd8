"""Optuna's pruners on trials that are known when one is claimed."""

import pytest

from hpsearch.search.pruning import KnownCurve, PrunerRule, pruner_study

KNOWN = [KnownCurve(end, {1: end / 2, 2: end}) for end in (0.1, 0.3, 0.5, 0.7, 0.9)]


def judge(known=KNOWN, per_step=100, spared=False):
    return PrunerRule(pruner_study("median", known), spared).judge(per_step, 3)


def asked(follower, *accuracies):
    return [follower(n, {"validation_accuracy": a}) for n, a in enumerate(accuracies, start=1)]


def test_the_median_of_complete_trials_decides():
    """The best so far against the median after as many epochs; what is left stands for its best."""
    stopped = judge()
    assert asked(stopped, 0.3, 0.4) == [False, True]
    assert (stopped.below.step, stopped.below.threshold, stopped.below.stands_for) == (2, None, 0.4)
    assert asked(judge(), 0.24) == [True]
    assert asked(judge(), 0.6, 0.1) == [False, False]


@pytest.mark.parametrize("options", [{"per_step": 30}, {"known": KNOWN[:4]}])
def test_too_little_is_no_evidence(options):
    """Nobody is asked about before 80 updates, nor before five trials are complete."""
    assert asked(judge(**options), 0.0, 0.0) == [False, False]


def test_a_spared_trial_runs_on():
    """With the first measurement after which it would have been stopped."""
    follower = judge(spared=True)
    assert asked(follower, 0.1, 0.1) == [False, False]
    assert follower.below.step == 1
