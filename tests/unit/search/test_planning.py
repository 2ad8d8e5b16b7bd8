"""What a round consists of, and what follows it."""

from dataclasses import replace
from math import log10

import pytest

from hpsearch.search.design import SearchDesign
from hpsearch.search.ledger import box_of
from hpsearch.search.narrowing import Known
from hpsearch.search.outcomes import Outcome, configurations
from hpsearch.search.proposals import wave_sizes
from hpsearch.search.rounds import (
    DoneRound,
    close_round,
    confirmation_round,
    first_round,
)
from hpsearch.search.selection import race
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.study import StudySpec


def make_design(**changes):
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
    document |= changes
    document["search"] = {"sampler": "sobol", "narrowing": "elites"} | document["search"]
    confirmation = {"seeds": 2, "winner_seeds": 0} | document["confirmation"]
    document["confirmation"] = {"most_seeds": confirmation["seeds"]} | confirmation
    return SearchDesign.of(StudySpec.model_validate(document))


def scored(plan):
    return [
        Outcome(t.number, t.values, 1 - t.values["learning_rate"], 0.1, t.replicate)
        for t in plan.trials
    ]


def close_search(design, number, plan, outcomes, rows=100, history=None, repeats=()):
    """Close a round whose planned trials have these outcomes."""
    done = DoneRound(Purpose.SEARCH, number, plan.box, outcomes, len(plan.trials), plan.model)
    known = Known(history or (lambda: outcomes), lambda: repeats, tuple, rows)
    return close_round(design, done, known)


def close_first(design, plan, outcomes, rows=100):
    """Close the first round and its repeats, which score what their trials did."""
    repeats = close_whole(design, plan, outcomes).following
    known = {str(outcome.values): outcome.score for outcome in outcomes}
    scores = [
        Outcome(t.number, t.values, known[str(t.values)], 0.1, t.replicate) for t in repeats.trials
    ]
    done = DoneRound(Purpose.REPEAT, 1, repeats.box, scores, len(scores))
    return close_round(design, done, Known(lambda: outcomes, lambda: scores, tuple, rows))


def close_confirmed(repeats):
    """Close a confirmation with these outcomes."""
    design = make_design()
    done = DoneRound(Purpose.CONFIRMATION, 1, design.space, repeats, len(repeats))
    return close_round(design, done, Known(tuple, tuple, lambda: repeats, 100))


def test_the_first_round_is_planned_in_the_declared_box():
    """Round 1 has its trials numbered from 0, each inside what the study file says."""
    design = make_design()
    plan = first_round(design)
    assert (plan.purpose, plan.number, plan.box) == (Purpose.SEARCH, 1, design.space)
    assert [trial.number for trial in plan.trials] == list(range(10))
    assert all(design.space.contains(trial.values) for trial in plan.trials)


def test_common_seeds_are_shared_within_a_round():
    """All trials of a round have the round's seed, and another round has another."""
    design = make_design()
    first = first_round(design)
    closing = close_first(design, first, scored(first))
    assert {t.seed for t in first.trials} == {trial_seed(7, Purpose.SEARCH, 1, 0)}
    assert {t.seed for t in closing.following.trials} == {trial_seed(7, Purpose.SEARCH, 2, 0)}
    assert {t.replicate for t in first.trials} == {0}


def test_fresh_seeds_differ_within_a_round():
    """With seeds = "fresh" every trial has a seed of its own, planned and not drawn."""
    plan = first_round(make_design(search={"rounds": 1, "trials": 10, "seeds": "fresh"}))
    assert len({trial.seed for trial in plan.trials}) == 10
    assert plan.trials[3].seed == trial_seed(7, Purpose.SEARCH, 1, 3)


def test_blocks_of_eight_trials_share_a_seed():
    """With seeds = "blocks" a round of 20 meets three seeds, in the order of its trials."""
    plan = first_round(make_design(search={"rounds": 1, "trials": 20, "seeds": "blocks"}))
    assert [trial.replicate for trial in plan.trials] == [0] * 8 + [1] * 8 + [2] * 4
    assert plan.trials[9].seed == plan.trials[8].seed == trial_seed(7, Purpose.SEARCH, 1, 1)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_trials_of_other_samplers_wait_without_values(sampler):
    """Where the sampler suggests at claim time the budget is planned all the same."""
    plan = first_round(make_design(search={"rounds": 1, "trials": 10, "sampler": sampler}))
    assert [trial.values for trial in plan.trials] == [None] * 10


def test_the_next_round_lies_in_the_narrowed_box():
    """Round 2 continues the numbers and stays in the box that its ledger describes."""
    design = make_design(search={"rounds": 2, "trials": 64})
    first = first_round(design)
    closing = close_first(design, first, scored(first), rows=10_000)
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
    design = make_design(space=space, search={"sampler": "grid"})
    first = first_round(design)
    assert [trial.values for trial in first.trials] == design.space.combinations()
    found = [Outcome(t.number, t.values, t.number / 10, 0.1) for t in first.trials]
    closing = close_search(design, 1, first, found)
    assert closing.following.purpose == Purpose.CONFIRMATION
    assert box_of(closing.ledger) == design.space
    for row in closing.ledger:
        assert (row.decision, row.rule, row.elites, row.edge) == ("kept", "grid", 0, None)
        assert row.reason == "kept: a grid tries every combination once and narrows nothing"


def test_the_confirmation_repeats_the_finalists_over_the_same_seeds():
    """Every finalist meets every seed once, and trials of one seed stand side by side."""
    design = make_design()
    first = first_round(design)
    plan = confirmation_round(design, first.box, configurations(scored(first))[:3])
    assert (plan.purpose, len(plan.trials)) == (Purpose.CONFIRMATION, 6)
    assert [trial.replicate for trial in plan.trials] == [0, 0, 0, 1, 1, 1]
    best = sorted(scored(first), key=lambda o: -o.score)[:3]
    assert [trial.values for trial in plan.trials[:3]] == [o.values for o in best]
    assert [trial.values for trial in plan.trials[3:]] == [o.values for o in best]
    assert len({trial.seed for trial in plan.trials}) == 2


def test_confirmation_seeds_are_fresh():
    """No repeat has a seed that a search trial was trained with."""
    design = make_design(search={"rounds": 1, "trials": 10, "seeds": "fresh"})
    first = first_round(design)
    repeats = confirmation_round(design, first.box, configurations(scored(first))[:3]).trials
    assert not {t.seed for t in first.trials} & {t.seed for t in repeats}


def test_the_last_round_is_followed_by_the_confirmation():
    """After round 2 of 2 the finalists of the whole history are repeated."""
    design = make_design()
    first = first_round(design)
    closing = close_search(design, 2, first, scored(first))
    assert closing.following.purpose == Purpose.CONFIRMATION
    assert not closing.finished


def test_only_the_last_round_looks_at_the_history():
    """Closing an earlier round takes no longer, however many trials came before it."""
    design = make_design(search={"rounds": 3, "trials": 10})
    first = first_round(design)
    asked = []

    def history():
        asked.append(True)
        return scored(first)

    for number in (1, 2):
        close_search(design, number, first, scored(first), history=history)
    assert not asked
    close_search(design, 3, first, scored(first), history=history)
    assert len(asked) == 1


def test_without_finalists_the_best_trial_wins_unconfirmed():
    """The study ends after its last round; its winner was trained once and is tied with nobody."""
    design = make_design(confirmation={"finalists": 0})
    first = first_round(design)
    found = scored(first)
    closing = close_search(design, 2, first, found)
    best = max(found, key=lambda outcome: outcome.score)
    assert (closing.following, closing.finished) == (None, True)
    candidate = closing.winner.candidate
    assert (candidate.values, candidate.score) == (best.values, best.score)
    assert (candidate.seeds, candidate.standard_error, closing.winner.ties) == (1, 0.0, ())
    lost = [Outcome(t.number, t.values, None, None) for t in first.trials]
    assert close_search(design, 2, first, lost).winner is None


def test_a_search_without_any_score_is_finished():
    """Where nothing can be confirmed the study ends without a winner."""
    design = make_design()
    first = first_round(design)
    lost = [Outcome(t.number, t.values, None, None) for t in first.trials]
    closing = close_search(design, 2, first, lost)
    assert (closing.following, closing.winner, closing.finished) == (None, None, True)


def test_the_confirmation_names_the_winner():
    """Closing it ends the study with a winner and opens nothing."""
    closing = close_confirmed([Outcome(0, {"learning_rate": 1e-3}, 0.9, 0.1)])
    assert closing.winner.candidate.values == {"learning_rate": 1e-3}
    assert (closing.following, closing.finished, closing.ledger) == (None, True, ())


def test_a_confirmation_that_only_diverged_names_nobody():
    """Without a scored repeat the study is over, and there is no winner to test."""
    closing = close_confirmed([Outcome(0, {"learning_rate": 1e-3}, None, None)])
    assert (closing.winner, closing.following, closing.finished) == (None, None, True)


# ----------------------------------------------------------- planned from a posterior


def make_posterior(**changes):
    search = {"rounds": 2, "trials": 40, "sampler": "auto", "narrowing": "posterior"}
    space = {
        "learning_rate": {"low": 1e-5, "high": 1e-2, "scale": "log", "limits": [1e-6, 1.0]},
        "weight_decay": {"low": 1e-8, "high": 1e-4, "scale": "log"},
    }
    return make_design(space=space, search=search | changes)


def peaked(trials, at=-3.0):
    """Scores with one maximum in the learning rate, and none in the weight decay."""
    return [
        Outcome(t.number, t.values, 0.9 - (log10(t.values["learning_rate"]) - at) ** 2 / 10, 0.1)
        for t in trials
    ]


def filled(design, plan, score, before=()):
    """All outcomes of a round, wave after wave, and the sizes of its waves."""
    trials, sizes = list(plan.trials), [len(plan.trials)]
    while len(trials) < plan.size:
        done = DoneRound(
            Purpose.SEARCH, plan.number, plan.box, score(trials), len(trials), plan.model
        )
        history = [*before, *score(trials)]
        known = Known(lambda history=history: history, tuple, tuple, 100)
        closing = close_round(design, done, known)
        assert (closing.following, closing.ledger, closing.finished) == (None, (), False)
        trials += closing.wave
        sizes.append(len(closing.wave))
    first = (plan.number - 1) * design.trials
    assert [trial.number for trial in trials] == list(range(first, first + design.trials))
    return score(trials), sizes


def close_whole(design, plan, found):
    """Close a round of which every wave is done."""
    done = DoneRound(Purpose.SEARCH, plan.number, plan.box, found, plan.size, plan.model)
    return close_round(design, done, Known(lambda: found, tuple, tuple, 100))


def after_repeats(design, score=peaked):
    """The first round's outcomes, and what follows once some were repeated with the same scores."""
    first = first_round(design)
    found, _ = filled(design, first, score)
    return found, close_first(design, first, found)


@pytest.mark.parametrize(
    "search", [{}, {"narrowing": "elites"}, {"narrowing": "elites", "sampler": "sobol"}]
)
def test_good_trials_are_repeated_before_anything_is_narrowed(search):
    """After round 1 four of the best quarter meet four fresh seeds; the ledger waits for them."""
    design = make_posterior(**search)
    first = first_round(design)
    found, _ = filled(design, first, peaked)
    closing = close_whole(design, first, found)
    repeats = closing.following
    assert (repeats.purpose, repeats.number, closing.ledger) == (Purpose.REPEAT, 1, ())
    assert len(repeats.trials) == 16
    assert len({t.seed for t in repeats.trials}) == 4
    assert not {t.seed for t in repeats.trials} & {t.seed for t in first.trials}
    best = []
    for outcome in sorted(found, key=lambda o: (-o.score, o.loss, o.number)):
        best += [] if outcome.values in best else [outcome.values]
    assert all(t.values in best[:10] for t in repeats.trials)


def test_the_measured_noise_decides_who_is_an_elite():
    """Repeats that scatter widely make more trials elites; the noise is kept with the round."""
    design = make_design(search={"rounds": 2, "trials": 100})
    first = first_round(design)
    found = scored(first)
    repeats = close_search(design, 1, first, found).following
    counts = []
    for spread in (0.0, 0.1):
        scores = [
            Outcome(n, t.values, 0.9 + spread * (-1) ** (n + t.replicate), 0.1, t.replicate)
            for n, t in enumerate(repeats.trials)
        ]
        done = DoneRound(Purpose.REPEAT, 1, repeats.box, scores, len(scores))
        known = Known(lambda: found, lambda scores=scores: scores, tuple, 10**9)
        closing = close_round(design, done, known)
        counts.append(closing.ledger[0].elites)
    assert counts[0] < counts[1]
    assert closing.following.model.noise > 0.05


def test_a_search_of_one_round_repeats_nothing():
    """Noise is measured for the rounds to come."""
    design = make_posterior(rounds=1)
    first = first_round(design)
    found, _ = filled(design, first, peaked)
    assert close_whole(design, first, found).following.purpose == Purpose.CONFIRMATION


def test_rounds_are_planned_in_waves_that_fill_their_budget():
    """Each wave is planned when the one before is done: a large one first, then equal ones."""
    design = make_posterior(trials=42)
    _, sizes = filled(design, first_round(design), peaked)
    assert sizes == [17, 9, 8, 8]
    found, closing = after_repeats(design)
    _, sizes = filled(design, closing.following, peaked, found)
    assert sizes == [11, 11, 10, 10]


def test_an_open_edge_is_looked_beyond_within_the_first_round():
    """With its optimum beyond the declared edge the later waves go there, the first does not."""
    design = make_posterior()
    first = first_round(design)
    found, sizes = filled(design, first, lambda trials: peaked(trials, at=-1.0))
    beyond = [outcome.values["learning_rate"] > 1e-2 for outcome in found]
    assert not any(beyond[: sizes[0]])
    assert sum(beyond[sizes[0] :]) >= 0.5 * sum(sizes[1:])


def test_without_waves_a_round_is_planned_at_once():
    """`waves = 1` is for searches whose workers shall never wait for each other within a round."""
    design = make_posterior(waves=1)
    assert len(first_round(design).trials) == 40
    _, closing = after_repeats(design)
    assert len(closing.following.trials) == 40


def test_later_waves_gather_where_the_scores_are_best():
    """Most of what is planned after round 1 lies within a factor of three of the optimum."""
    _, closing = after_repeats(make_posterior())
    near = [abs(log10(t.values["learning_rate"]) + 3) < 0.5 for t in closing.following.trials]
    assert sum(near) >= 0.6 * len(near)


def test_finalists_are_in_turn_the_best_expected_and_the_best_measured():
    """A lucky trial far from the others is among them, and so is one that needed no luck."""

    def lucky(trials):
        return [replace(o, score=0.99) if o.number % 40 == 3 else o for o in peaked(trials)]

    design = make_posterior(rounds=1)
    first = first_round(design)
    found, _ = filled(design, first, lucky)
    plan = close_whole(design, first, found).following
    finalists = [trial.values for trial in plan.trials[:3]]
    assert found[3].values in finalists
    assert min(abs(log10(values["learning_rate"]) + 3) for values in finalists) < 0.1


def test_what_nobody_can_fit_is_spread_evenly():
    """Where all scores are equal the elites' rule decides, and the next round is Sobol's."""
    design = make_posterior()
    _, closing = after_repeats(
        design, lambda trials: [Outcome(t.number, t.values, 0.5, 0.1) for t in trials]
    )
    assert {row.decision for row in closing.ledger} == {"kept"}
    assert closing.following.model.parameters == ()
    assert len(closing.following.trials) == 10


def test_the_same_results_lead_to_the_same_plan():
    """What is decided and planned depends on results and seeds alone, to the last bit."""
    design = make_posterior()
    (_, one), (_, other) = (after_repeats(design) for _ in range(2))
    assert (one.ledger, one.following) == (other.ledger, other.following)


# ---------------------------------------------------------------------- the race


RACE = {"finalists": 3, "seeds": 4, "most_seeds": 8, "winner_seeds": 2}


def confirmed(score):
    """Every round of a confirmation to its end: sizes of the rounds, all repeats, the winner."""
    design = make_design(confirmation=RACE)
    first = first_round(design)
    plan = confirmation_round(design, first.box, configurations(scored(first))[:3])
    order = [trial.values for trial in plan.trials[:3]]
    sizes, repeats = [], []
    while True:
        sizes.append(len(plan.trials))
        assert [t.number for t in plan.trials] == list(range(len(repeats), sum(sizes)))
        repeats += [
            Outcome(t.number, t.values, score(order.index(t.values), t.replicate), 0.1, t.replicate)
            for t in plan.trials
        ]
        done = DoneRound(Purpose.CONFIRMATION, plan.number, plan.box, (), len(plan.trials))
        known = Known(tuple, tuple, lambda found=tuple(repeats): found, 100)
        closing = close_round(design, done, known)
        if closing.finished:
            return sizes, repeats, closing.winner
        plan = closing.following


def test_a_race_ends_when_one_is_left():
    """Two that lag behind at every seed drop out after four; then the winner is measured alone."""
    sizes, repeats, winner = confirmed(lambda who, seed: 0.9 - who / 10 + seed / 1000)
    assert sizes == [12, 2]
    assert (winner.candidate.values, winner.ties) == (repeats[0].values, ())


def test_the_winner_is_measured_on_seeds_that_did_not_choose_it():
    """Its score is the mean of its own last seeds, which no other finalist has met."""
    _, repeats, winner = confirmed(lambda who, seed: 0.5 if seed >= 8 else 0.9 - who / 10)
    assert (winner.candidate.score, winner.candidate.seeds) == (0.5, 2)
    assert {o.replicate for o in repeats if o.score == 0.5} == {8, 9}


def test_those_that_cannot_be_told_apart_run_on_to_the_last_seed():
    """Two seeds at a time; who is left at the end is tied with the winner."""
    sizes, repeats, winner = confirmed(
        lambda who, seed: 0.2 if who == 2 else 0.8 + (0.1 if seed % 2 == who else 0.0)
    )
    assert sizes == [12, 4, 4, 2]
    assert [tie.values for tie in winner.ties] == [repeats[1].values]
    assert (winner.ties[0].seeds, winner.candidate.seeds) == (8, 2)


def test_who_diverges_more_often_drops_out():
    """Divergence is no noise."""
    sizes, _, winner = confirmed(lambda who, seed: None if who and seed == who else 0.9)
    assert sizes == [12, 2]
    assert winner.ties == ()


def over_seeds(scores):
    """Repeats of two finalists; a line has the scores of one over its seeds."""
    cells = [(seed, who) for seed in range(len(scores[0])) for who in range(2)]
    return [
        Outcome(n, {"x": who}, scores[who][seed], 0.1, seed) for n, (seed, who) in enumerate(cells)
    ]


def test_fewer_than_four_seeds_drop_nobody():
    """Three seeds all in favour of one may be luck."""
    assert len(race(over_seeds([[0.9, 0.9, 0.9], [0.8, 0.8, 0.8]])).running) == 2
    assert len(race(over_seeds([[0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.8]])).running) == 1


def test_the_simpler_of_two_that_cannot_be_told_apart_wins():
    """A hair's breadth of lead is no reason for a larger network; a clear lead is."""
    close = over_seeds([[0.90, 0.91, 0.90, 0.91], [0.91, 0.90, 0.90, 0.90]])
    assert race(close).winner.candidate.values == {"x": 0}
    found = race(close, lambda values: (-values["x"],))
    assert found.winner.candidate.values == {"x": 1}
    assert [tie.values for tie in found.winner.ties] == [{"x": 0}]
    clear = over_seeds([[0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.8]])
    assert race(clear, lambda values: (-values["x"],)).winner.candidate.values == {"x": 0}


def test_fewer_units_are_simpler_and_then_more_decay():
    """What a study's values set decides how simple they are."""
    space = {
        "hidden": {"choices": [[5], [50, 20], [50]]},
        "weight_decay": {"low": 1e-8, "high": 1e-2, "scale": "log"},
    }
    simplicity = make_design(space=space).simplicity
    given = [((5,), 1e-8), ((50,), 1e-2), ((50,), 1e-4), ((50, 20), 1e-2)]
    order = [simplicity({"hidden": hidden, "weight_decay": decay}) for hidden, decay in given]
    assert order == sorted(order)


def test_a_failed_repeat_keeps_its_finalist_in_the_race():
    """An error at the last seed says nothing about the values."""
    repeats = over_seeds([[0.9] * 4, [0.9] * 4])
    repeats[-1] = Outcome(7, {"x": 1}, None, None, 3, failed=True)
    assert (len(race(repeats).running), race(repeats).seeds) == (2, 4)


@pytest.mark.parametrize("trials", range(1, 60))
@pytest.mark.parametrize("waves", range(1, 6))
@pytest.mark.parametrize("number", [1, 2])
def test_every_round_has_its_waves(trials, waves, number):
    """Each has a trial at least, and together they are the round."""
    if waves <= trials:
        sizes = wave_sizes(trials, waves, number)
        assert (len(sizes), sum(sizes)) == (waves, trials)
        assert min(sizes) > 0
