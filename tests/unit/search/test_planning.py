"""What a round consists of, and what follows it."""

import pytest

from hpsearch.search.narrowing import box_of
from hpsearch.search.outcomes import Outcome
from hpsearch.search.rounds import (
    close_confirmation,
    close_search_round,
    confirmation_round,
    first_round,
)
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.study import StudySpec


def make_spec(**changes):
    document = {
        "name": "planned",
        "seed": 7,
        "space": {
            "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
            "activation": {"choices": ["relu", "tanh"]},
        },
        "search": {"rounds": 2, "trials": 10},
        "confirmation": {"finalists": 3, "seeds": 2},
    }
    return StudySpec.model_validate(document | changes)


def scored(plan):
    return [
        Outcome(t.number, t.values, 1 - t.values["learning_rate"], 0.1, t.replicate)
        for t in plan.trials
    ]


def test_the_first_round_is_planned_in_the_declared_box():
    """Round 1 has its trials numbered from 0, each inside what the study file says."""
    spec = make_spec()
    plan = first_round(spec)
    assert (plan.purpose, plan.number, plan.box) == (Purpose.SEARCH, 1, spec.space)
    assert [trial.number for trial in plan.trials] == list(range(10))
    assert all(spec.space.contains(trial.values) for trial in plan.trials)


def test_common_seeds_are_shared_within_a_round():
    """All trials of a round have the round's seed, and another round has another."""
    spec = make_spec()
    first = first_round(spec)
    closing = close_search_round(spec, 1, first.box, scored(first), lambda: scored(first), 100)
    assert {t.seed for t in first.trials} == {trial_seed(7, Purpose.SEARCH, 1, 0)}
    assert {t.seed for t in closing.following.trials} == {trial_seed(7, Purpose.SEARCH, 2, 0)}
    assert {t.replicate for t in first.trials} == {0}


def test_fresh_seeds_differ_within_a_round():
    """With seeds = "fresh" every trial has a seed of its own, planned and not drawn."""
    plan = first_round(make_spec(search={"rounds": 1, "trials": 10, "seeds": "fresh"}))
    assert len({trial.seed for trial in plan.trials}) == 10
    assert plan.trials[3].seed == trial_seed(7, Purpose.SEARCH, 1, 3)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_trials_of_other_samplers_wait_without_values(sampler):
    """Where the sampler suggests at claim time the budget is planned all the same."""
    plan = first_round(make_spec(search={"rounds": 1, "trials": 10, "sampler": sampler}))
    assert [trial.values for trial in plan.trials] == [None] * 10


def test_the_next_round_lies_in_the_narrowed_box():
    """Round 2 continues the numbers and stays in the box that its ledger describes."""
    spec = make_spec(search={"rounds": 2, "trials": 64})
    first = first_round(spec)
    closing = close_search_round(spec, 1, first.box, scored(first), lambda: scored(first), 10_000)
    second = closing.following
    assert [trial.number for trial in second.trials] == list(range(64, 128))
    assert all(second.box.contains(trial.values) for trial in second.trials)
    assert {row.dimension: row.range for row in closing.ledger} == {
        d.name: d.range for d in second.box.dimensions
    }
    assert (closing.finished, closing.winner) == (False, None)


def test_a_grid_is_tried_once_and_narrows_nothing():
    """One round with every combination; the ledger says so instead of naming a next box."""
    space = {"optimizer": {"choices": ["sgd", "adam"]}, "hidden": {"choices": [[5], [50], [9]]}}
    spec = make_spec(space=space, search={"sampler": "grid"})
    first = first_round(spec)
    assert [trial.values for trial in first.trials] == spec.space.combinations()
    found = [Outcome(t.number, t.values, t.number / 10, 0.1) for t in first.trials]
    closing = close_search_round(spec, 1, first.box, found, lambda: found, 100)
    assert closing.following.purpose == Purpose.CONFIRMATION
    assert box_of(closing.ledger) == spec.space
    for row in closing.ledger:
        assert (row.decision, row.rule, row.elites, row.edge) == ("kept", "grid", 0, None)
        assert row.reason == "kept: a grid tries every combination once and narrows nothing"


def test_the_confirmation_repeats_the_finalists_over_the_same_seeds():
    """Every finalist meets every seed once, and trials of one seed stand side by side."""
    spec = make_spec()
    first = first_round(spec)
    plan = confirmation_round(spec, first.box, scored(first))
    assert (plan.purpose, len(plan.trials)) == (Purpose.CONFIRMATION, 6)
    assert [trial.replicate for trial in plan.trials] == [0, 0, 0, 1, 1, 1]
    best = sorted(scored(first), key=lambda o: -o.score)[:3]
    assert [trial.values for trial in plan.trials[:3]] == [o.values for o in best]
    assert [trial.values for trial in plan.trials[3:]] == [o.values for o in best]
    assert len({trial.seed for trial in plan.trials}) == 2


def test_confirmation_seeds_are_fresh():
    """No repeat has a seed that a search trial was trained with."""
    spec = make_spec(search={"rounds": 1, "trials": 10, "seeds": "fresh"})
    first = first_round(spec)
    repeats = confirmation_round(spec, first.box, scored(first)).trials
    assert not {t.seed for t in first.trials} & {t.seed for t in repeats}


def test_the_last_round_is_followed_by_the_confirmation():
    """After round 2 of 2 the finalists of the whole history are repeated."""
    spec = make_spec()
    first = first_round(spec)
    closing = close_search_round(spec, 2, first.box, scored(first), lambda: scored(first), 100)
    assert closing.following.purpose == Purpose.CONFIRMATION
    assert not closing.finished


def test_only_the_last_round_looks_at_the_history():
    """Closing an earlier round takes no longer, however many trials came before it."""
    spec = make_spec()
    first = first_round(spec)
    asked = []

    def history():
        asked.append(True)
        return scored(first)

    close_search_round(spec, 1, first.box, scored(first), history, 100)
    assert not asked
    close_search_round(spec, 2, first.box, scored(first), history, 100)
    assert len(asked) == 1


def test_without_finalists_the_best_trial_wins_unconfirmed():
    """The study ends after its last round; its winner was trained once and is tied with nobody."""
    spec = make_spec(confirmation={"finalists": 0})
    first = first_round(spec)
    found = scored(first)
    closing = close_search_round(spec, 2, first.box, found, lambda: found, 100)
    best = max(found, key=lambda outcome: outcome.score)
    assert (closing.following, closing.finished) == (None, True)
    candidate = closing.winner.candidate
    assert (candidate.values, candidate.score) == (best.values, best.score)
    assert (candidate.seeds, candidate.standard_error, closing.winner.ties) == (1, 0.0, ())
    lost = [Outcome(t.number, t.values, None, None) for t in first.trials]
    assert close_search_round(spec, 2, first.box, lost, lambda: lost, 100).winner is None


def test_a_search_without_any_score_is_finished():
    """Where nothing can be confirmed the study ends without a winner."""
    spec = make_spec()
    first = first_round(spec)
    lost = [Outcome(t.number, t.values, None, None) for t in first.trials]
    closing = close_search_round(spec, 2, first.box, lost, lambda: lost, 100)
    assert (closing.following, closing.winner, closing.finished) == (None, None, True)


def test_the_confirmation_names_the_winner():
    """Closing it ends the study with a winner and opens nothing."""
    closing = close_confirmation([Outcome(0, {"learning_rate": 1e-3}, 0.9, 0.1)])
    assert closing.winner.candidate.values == {"learning_rate": 1e-3}
    assert (closing.following, closing.finished, closing.ledger) == (None, True, ())


def test_a_confirmation_that_only_diverged_names_nobody():
    """Without a scored repeat the study is over, and there is no winner to test."""
    closing = close_confirmation([Outcome(0, {"learning_rate": 1e-3}, None, None)])
    assert (closing.winner, closing.following, closing.finished) == (None, None, True)
