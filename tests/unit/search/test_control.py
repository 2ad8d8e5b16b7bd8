"""The control arm: planned beside the search, confirmed like it, compared with it."""

from dataclasses import replace
from math import log10
from statistics import fmean, stdev

import pytest
from scipy.stats import t

from hpsearch.search.design import SearchDesign
from hpsearch.search.narrowing import Known
from hpsearch.search.outcomes import Outcome
from hpsearch.search.rounds import DoneRound, close_round, confirmation_round, first_round
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.study import StudySpec

RATE = {"low": 1e-6, "high": 1e-2, "scale": "log"}


def make_design(**changes):
    document = {
        "name": "planned",
        "seed": 7,
        "space": {"learning_rate": RATE, "activation": {"choices": ["relu", "tanh"]}},
        "search": {"rounds": 2, "trials": 10, "control": "random"},
        "confirmation": {"finalists": 3, "seeds": 5},
    }
    document |= changes
    document["search"] = {"sampler": "sobol", "narrowing": "elites"} | document["search"]
    confirmation = {"seeds": 2, "winner_seeds": 0} | document["confirmation"]
    document["confirmation"] = {"most_seeds": confirmation["seeds"]} | confirmation
    return SearchDesign.of(StudySpec.model_validate(document))


class Arms:
    """A study of which the search is over: what its confirmation and control arm lead to.

    Args:
        design: The study's design.
        score: Score of (purpose, replicate, values) for every trial from here on.
    """

    def __init__(self, design, score):
        self._design = design
        self._score = score
        self.outcomes = {Purpose.SEARCH: [], Purpose.CONFIRMATION: [], Purpose.CONTROL: []}
        self.rounds = []
        plan = first_round(design)
        best = [trial.values for trial in plan.trials[: design.finalists]]
        self.closing = self._close(confirmation_round(design, plan.box, best))

    def to_the_end(self):
        while self.closing.following is not None:
            self.closing = self._close(self.closing.following)
        return self

    def of(self, purpose):
        return [plan for plan in self.rounds if plan.purpose == purpose]

    def _close(self, plan):
        self.rounds.append(plan)
        self.outcomes[plan.purpose] += [self._outcome(plan, trial) for trial in plan.trials]
        done = DoneRound(plan.purpose, plan.number, plan.box, (), len(plan.trials), plan.model)
        known = Known(
            history=lambda: self.outcomes[Purpose.SEARCH],
            repeats=tuple,
            confirmed=lambda: self.outcomes[Purpose.CONFIRMATION],
            validation_rows=100,
            control=lambda: self.outcomes[Purpose.CONTROL],
        )
        return close_round(self._design, done, known)

    def _outcome(self, plan, trial):
        score = self._score(plan, trial)
        return Outcome(trial.number, trial.values, score, 0.1, trial.replicate)


def by_rate(_, trial):
    """Low rates are best; seeds differ a little, and not for all finalists alike."""
    luck = (trial.seed % 97 + 31 * trial.number % 13) / 1e4
    return 0.9 - 10 * trial.values["learning_rate"] - luck


# ---------------------------------------------------------------------- the plan


def test_it_has_as_many_trials_as_the_search_with_seeds_of_their_own():
    """All planned once the winner is known, in the declared box, on no seed of the search."""
    design = make_design()
    plan = Arms(design, by_rate).closing.following
    assert (plan.purpose, plan.number, plan.size) == (Purpose.CONTROL, 1, 20)
    assert [trial.number for trial in plan.trials] == list(range(20))
    assert all(design.space.contains(trial.values) for trial in plan.trials)
    others = [(p, r) for p in Purpose if p != Purpose.CONTROL for r in (1, 2)]
    taken = {trial_seed(7, p, r, n) for p, r in others for n in range(20)}
    assert not taken & {trial.seed for trial in plan.trials}


@pytest.mark.parametrize(("seeds", "different"), [("common", 2), ("fresh", 20)])
def test_it_shares_seeds_as_the_search_does(seeds, different):
    """Common seeds are shared by as many trials as a round has; else each has its own."""
    search = {"rounds": 2, "trials": 10, "control": "random", "seeds": seeds}
    plan = Arms(make_design(search=search), by_rate).closing.following
    assert len({trial.seed for trial in plan.trials}) == different


def test_it_may_look_wherever_the_search_may():
    """With limits its box is that of the limits, and it uses it."""
    space = {"learning_rate": RATE | {"limits": [1e-7, 1.0]}}
    search = {"rounds": 2, "trials": 10, "control": "random", "narrowing": "posterior"}
    plan = Arms(make_design(space=space, search=search), by_rate).closing.following
    assert (plan.box["learning_rate"].low, plan.box["learning_rate"].high) == (1e-7, 1.0)
    assert max(trial.values["learning_rate"] for trial in plan.trials) > 1e-2


def test_a_sampler_that_suggests_later_has_no_values_yet():
    """With tpe the trials wait without values."""
    search = {"rounds": 2, "trials": 10, "control": "tpe"}
    plan = Arms(make_design(search=search), by_rate).closing.following
    assert [(trial.values, trial.shape) for trial in plan.trials] == [(None, None)] * 20


def test_without_it_the_confirmation_is_the_end():
    """The winner is the same with and without, and so is every repeat that led to it."""
    alone = make_design(search={"rounds": 2, "trials": 10})
    arms, without = (Arms(d, by_rate).to_the_end() for d in (make_design(), alone))
    assert without.closing.control is None
    assert arms.closing.winner == without.closing.winner
    assert arms.of(Purpose.CONFIRMATION) == without.of(Purpose.CONFIRMATION)


def test_a_search_without_a_winner_has_none():
    """Where every repeat diverges there is nothing to compare with, and no trial is spent."""
    arms = Arms(make_design(), lambda *_: None)
    assert arms.closing.finished
    assert (arms.closing.winner, arms.closing.control) == (None, None)


# --------------------------------------------------------------- its confirmation


def test_its_best_meet_the_seeds_that_the_searchs_best_have_met():
    """As many finalists, the same seeds; numbers go on behind the trials."""
    arms = Arms(make_design(), by_rate).to_the_end()
    (confirmation,), (_, repeats) = arms.of(Purpose.CONFIRMATION), arms.of(Purpose.CONTROL)
    assert [t.seed for t in repeats.trials] == [t.seed for t in confirmation.trials]
    assert [t.number for t in repeats.trials] == list(range(20, 35))
    found = sorted(arms.of(Purpose.CONTROL)[0].trials, key=lambda t: -by_rate(None, t))
    assert [t.values for t in repeats.trials[:3]] == [t.values for t in found[:3]]


def test_a_trial_that_never_had_values_takes_no_number():
    """Where the last trial failed before it had values, repeats are numbered behind it."""
    arms = Arms(make_design(), by_rate)
    plan = arms.closing.following
    short = replace(plan, trials=plan.trials[:-1])
    arms.closing = arms._close(short)
    assert arms.closing.following.trials[0].number == 20


def test_its_finalists_are_found_by_the_searchs_own_rule():
    """Where the posterior narrows they come from a surface through the control's own trials."""
    search = {"rounds": 2, "trials": 20, "control": "random", "narrowing": "posterior"}
    lucky = []

    def score(plan, trial):
        """The best rate is 1e-4, and one trial far from it was lucky."""
        far = abs(log10(trial.values["learning_rate"]) + 4)
        if plan.purpose == Purpose.CONTROL and far > 1 and not lucky:
            lucky.append(trial.values)
        return 0.905 if trial.values in lucky else 0.9 - 0.05 * far**2

    arms = Arms(make_design(search=search), score).to_the_end()
    expected, measured = (t.values for t in arms.of(Purpose.CONTROL)[1].trials[:2])
    assert measured == lucky[0]
    assert abs(log10(expected["learning_rate"]) + 4) < 0.5


def test_it_races_as_the_search_does():
    """Finalists that cannot be told apart meet more seeds, and its winner is measured too."""
    confirmation = {"finalists": 2, "seeds": 4, "most_seeds": 6, "winner_seeds": 3}

    def score(_, trial):
        return 0.8 + (0.05 if trial.replicate % 2 == trial.number % 2 else 0.0)

    arms = Arms(make_design(confirmation=confirmation), score).to_the_end()
    assert [plan.size for plan in arms.of(Purpose.CONTROL)] == [20, 8, 4, 3]
    assert arms.closing.control.winner.candidate.seeds == 3
    assert arms.closing.control.difference.seeds == 3


# ------------------------------------------------------------------ the comparison


def over_seeds(searched, controlled):
    """Scores of the two winners over the seeds; all other trials are worse."""

    def score(plan, trial):
        best = trial.number < 5 if plan.purpose == Purpose.CONFIRMATION else trial.number < 25
        if plan.purpose == Purpose.CONTROL and plan.number == 1:
            return 0.5 if trial.number == 3 else 0.1
        scores = searched if plan.purpose == Purpose.CONFIRMATION else controlled
        return scores[trial.replicate] if best else 0.0

    return Arms(make_design(confirmation={"finalists": 1, "seeds": 5}), score).to_the_end()


def test_the_difference_is_taken_seed_by_seed_with_students_interval():
    """Mean, and the mean's standard error times the 97.5 % quantile with n - 1 degrees."""
    searched, controlled = [0.9, 0.8, 0.85, 0.7, 0.95], [0.85, 0.8, 0.83, 0.68, 0.88]
    difference = over_seeds(searched, controlled).closing.control.difference
    lead = [a - b for a, b in zip(searched, controlled, strict=True)]
    half = t.ppf(0.975, 4) * stdev(lead) / 5**0.5
    assert difference.mean == pytest.approx(fmean(lead))
    assert difference.interval == pytest.approx((fmean(lead) - half, fmean(lead) + half))
    assert difference.seeds == 5


def test_a_better_control_is_said_and_never_wins():
    """The study's winner is one of its own finalists, however good the control's is."""
    arms = over_seeds([0.5, 0.5, 0.6, 0.5, 0.5], [0.9, 0.8, 0.9, 0.9, 0.9])
    control = arms.closing.control
    assert arms.closing.winner.candidate.score == pytest.approx(0.52)
    assert control.winner.candidate.score == pytest.approx(0.88)
    assert control.difference.interval[1] < 0


def test_repeats_that_failed_do_not_count_and_those_that_diverged_are_0():
    """A seed counts where both winners have a result, as in the choice of the winner."""
    arms = over_seeds([0.9] * 5, [0.8, 0.8, None, 0.8, 0.8])
    assert arms.closing.control.difference.mean == pytest.approx(0.26)
    repeats = arms.outcomes[Purpose.CONTROL][20:]
    arms.outcomes[Purpose.CONTROL][20:] = [replace(o, failed=o.score is None) for o in repeats]
    done = DoneRound(Purpose.CONTROL, 2, arms.rounds[-1].box, (), 5)
    outcomes = arms.outcomes
    known = Known(tuple, tuple, lambda: outcomes[Purpose.CONFIRMATION], 100)
    known = replace(known, control=lambda: outcomes[Purpose.CONTROL])
    design = make_design(confirmation={"finalists": 1, "seeds": 5})
    difference = close_round(design, done, known).control.difference
    assert (difference.seeds, difference.mean) == (4, pytest.approx(0.1))


def test_a_single_seed_has_no_interval():
    """One difference says nothing about chance."""
    confirmation = {"finalists": 1, "seeds": 1}
    arms = Arms(make_design(confirmation=confirmation), by_rate).to_the_end()
    assert arms.closing.control.difference.seeds == 1
    assert arms.closing.control.difference.interval is None


def test_seeds_that_chose_nobody_decide_where_there_are_any():
    """With winner_seeds the winners are compared over those alone."""
    confirmation = {"finalists": 2, "seeds": 2, "winner_seeds": 4}

    def score(plan, trial):
        if trial.replicate < 2:
            return 0.5 + trial.values["learning_rate"]
        return 0.9 if plan.purpose == Purpose.CONFIRMATION else 0.7

    arms = Arms(make_design(confirmation=confirmation), score).to_the_end()
    difference = arms.closing.control.difference
    assert (difference.mean, difference.seeds) == (pytest.approx(0.2), 4)


def test_a_control_without_a_score_has_no_winner():
    """Where all its trials, or all repeats of its best, diverge, the study still has its winner."""
    for number, seen in ((1, 1), (2, 2)):

        def score(plan, trial, number=number):
            gone = plan.purpose == Purpose.CONTROL and plan.number == number
            return None if gone else by_rate(plan, trial)

        arms = Arms(make_design(), score).to_the_end()
        assert len(arms.of(Purpose.CONTROL)) == seen
        assert arms.closing.winner is not None
        assert (arms.closing.control.winner, arms.closing.control.difference) == (None, None)
