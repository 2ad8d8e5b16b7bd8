"""What `start` and `show` say at the end: from documents alone, never from their sentences."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from hpsearch.findings import Commands
from hpsearch.report.summary import print_result
from hpsearch.search import elites, posterior
from hpsearch.search.amendments import Amendment, Change, Place
from hpsearch.search.narrowing import Prospect
from hpsearch.store.studies import StoredStudy
from hpsearch.study import StudySpec
from hpsearch.study_file import overridden

DEFAULT_COMMANDS = Commands()
SPEC = StudySpec.model_validate(
    {
        "name": "a",
        "space": {
            "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
            "activation": {"choices": ["relu", "tanh"]},
        },
        "search": {"rounds": 1, "trials": 10},
    }
)
STUDY = StoredStudy(
    id=1,
    name="a",
    begun=SPEC,
    source="",
    data_fingerprint="0" * 64,
    validation_rows=100,
    keep_sealed=False,
    state="complete",
    winner=None,
    created=0.0,
    completed=3.0,
)
RANGES = SPEC.space.document()
DOCUMENT = {
    "study": "a",
    "state": "complete",
    "planned": 10,
    "complete": 10,
    "diverged": 0,
    "discarded": 0,
    "failed": 0,
    "rounds": [
        {"round": 1, "planned": 10, "finished": 10, "best_score": 0.9, "ranges": RANGES},
    ],
    "winner": {
        "values": {"learning_rate": 1e-3},
        "score": 0.9,
        "standard_error": 0.01,
        "seeds": 5,
        "ties": [],
    },
    "control": None,
    "discarding": None,
    "test": None,
    "has_test_rows": True,
    "failures": [],
    "seconds": 3.0,
}
NARROWED = {
    "round": 2,
    "dimension": "learning_rate",
    "low": 1e-3,
    "high": 1e-2,
    "scale": "log",
    "previous": [1e-6, 1e-2],
    "rule": "hull of the elites",
    "decision": "narrowed",
    "edge": "upper",
    "reason": "any words at all",
}
CHOSEN = {
    "round": 2,
    "dimension": "activation",
    "choices": ["relu"],
    "previous": ["relu", "tanh"],
    "rule": "choices that no elite has",
    "decision": "narrowed",
    "edge": None,
    "reason": "tanh has no place",
}


def printed(
    document=DOCUMENT, ledger=(NARROWED, CHOSEN), study=STUDY, commands=DEFAULT_COMMANDS
) -> str:
    """The result in one line of words, as a wide terminal would wrap nothing."""
    console = Console(file=io.StringIO(), width=400)
    print_result(console, study, document, list(ledger), commands)
    return " ".join(console.file.getvalue().split())


def limited(limits):
    """The study with limits of its learning rate."""
    return replace(STUDY, begun=overridden(SPEC, {"learning_rate": limits}))


@pytest.mark.parametrize("rule", [elites.RULE, posterior.RULE])
def test_beyond_an_open_edge_the_same_study_goes_on_in_one_command(rule):
    """Whether an edge is open is told from the ledger's fields, whatever the reason's words."""
    option = "`hpsearch start a --rounds 2 --limits learning_rate"
    row = NARROWED | {"rule": rule}
    upper = "=1e-06..100.0` looks beyond the upper edge of learning_rate and keeps all trials."
    found = printed(ledger=[row, CHOSEN])
    assert f"{option}{upper}" in found
    assert "hpsearch new" not in found
    assert option not in printed(ledger=[row | {"edge": None, "reason": "they crowd"}, CHOSEN])
    lower = {"low": 1e-6, "high": 1e-5, "edge": "lower"}
    said = "=1e-10..0.01` looks beyond the lower edge of learning_rate and"
    assert f"{option}{said}" in printed(ledger=[row | lower])
    both = row | {"low": 1e-6, "edge": "both", "decision": "kept"}
    said = "the lower edge of learning_rate and the upper edge of learning_rate and keeps"
    assert f"{option}=1e-10..100.0` looks beyond {said}" in printed(ledger=[both])


def test_an_edge_that_was_opened_is_not_offered_again():
    """What the limits allowed was done; what they did not is offered beyond them."""
    study = limited((1e-6, 1.0))
    opened = NARROWED | {"high": 1.0, "decision": "widened"}
    assert "--limits" not in printed(ledger=[opened], study=study)
    at_limit = opened | {"low": 0.1, "previous": [1e-3, 1.0], "decision": "narrowed"}
    assert "--limits learning_rate=1e-06..10000.0`" in printed(ledger=[at_limit], study=study)


def test_a_study_that_was_compared_offers_another_one():
    """A control arm is compared with the search as it was, so a wider one is another study's."""
    states = {"complete": 10, "diverged": 0, "discarded": 0, "failed": 0}
    winner = {"values": {"learning_rate": 1e-2}, "score": 0.8, "standard_error": 0.01, "seeds": 5}
    control = {"sampler": "random", "planned": 10, **states, "winner": winner, "difference": None}
    document = DOCUMENT | {"control": control}
    move = "`hpsearch new a-wider --from a`, then move the high of learning_rate above 0.01"
    found = printed(document)
    assert f"{move} there" in found
    assert "--limits" not in found
    both = NARROWED | {"low": 1e-6, "edge": "both", "decision": "kept"}
    said = (
        "move the low of learning_rate below 1e-06 and the high of learning_rate above 0.01 there"
    )
    assert said in printed(document, [both])
    at_limit = NARROWED | {"high": 1.0, "previous": [1e-3, 1.0]}
    text = printed(document, [at_limit], limited((1e-6, 1.0)))
    assert "then move the upper limit of learning_rate above 1 there" in text
    unbegun = control | dict.fromkeys(states, 0) | {"winner": None, "repeats": None}
    assert "--limits" in printed(DOCUMENT | {"control": unbegun})


def test_a_figure_of_before_is_said_to_be_the_earlier_winners():
    """It stands beside a new winner only with whose it is, and with what tests the new one."""
    test = {"score": 0.9, "interval": [0.8, 0.95], "rows": 50, "openings": 1, "trainings": 5}
    test |= {"values": {"learning_rate": 0.01}, "earlier_winner": True}
    found = printed(DOCUMENT | {"test": test})
    assert "of the earlier winner (learning_rate 0.01): accuracy 0.9000" in found
    assert "`hpsearch test a` opens the test split again, which is counted." in found
    assert "earlier winner" not in printed(DOCUMENT | {"test": test | {"earlier_winner": False}})


def test_amendments_are_listed():
    """Each with what it changed and from where on it counts."""
    change = Change(rounds=4, limits={"learning_rate": (1e-6, 1.0)}, undo=2)
    amendment = Amendment(Place(3, over=True), change, 0.0)
    said = "from after round 3 on, 4 rounds in all, learning_rate may grow to 1e-06 .. 1, "
    found = printed(study=replace(STUDY, amendments=(amendment,)))
    assert f"{said}what opened round 2 is taken back." in found


def test_why_a_search_was_over_early_is_said():
    """With what was left to gain, and the noise that it was held against."""
    change = Change(rounds=2, converged=Prospect(gain=0.0004, noise=0.0032, is_open=False))
    amendment = Amendment(Place(2, over=True), change, 0.0)
    assert (
        "over after round 2: no more than 0.0004 is expected to be gained, less than a quarter of "
        "the noise 0.0032, and no edge within the limits is open."
    ) in printed(study=replace(STUDY, amendments=(amendment,)))


def test_an_edge_that_was_left_behind_offers_nothing():
    """The declared edge stays named, but the range has moved on, inside what may be searched."""
    moved = NARROWED | {"low": 0.01, "high": 0.1, "previous": [1e-3, 1.0]}
    assert "looks beyond" not in printed(study=limited((1e-6, 1.0)), ledger=[moved, CHOSEN])


def test_an_edge_that_opened_after_the_last_round_offers_another():
    """Within the limits no more than a further round is needed."""
    opened = NARROWED | {"high": 1.0, "decision": "widened"}
    found = printed(study=limited((1e-6, 1.0)), ledger=[opened, CHOSEN])
    assert "`hpsearch start a --rounds 2` looks beyond the upper edge of learning_rate" in found


def test_an_end_that_is_drawn_anew_is_no_edge_to_look_beyond():
    """The best values lie beyond the declared edge, where the range has followed them already."""
    followed = NARROWED | {"high": 0.012, "decision": "widened"}
    found = printed(study=limited((1e-6, 1.0)), ledger=[followed, CHOSEN])
    assert "looks beyond" not in found


def test_a_narrowing_that_was_taken_back_has_its_command():
    """Where the search would have gone on is not shown, and the newest of two wishes counts."""
    undos = [Amendment(Place(1, over=True), Change(undo=n), 0.0) for n in (3, 2)]
    found = printed(study=replace(STUDY, amendments=tuple(undos)))
    assert "`hpsearch start a --rounds 2` begins round 2 from the ranges of round 1." in found
    assert "what opened round 2 is taken back" in found
    assert "what opened round 3" not in found
    assert " next " not in found


def test_a_search_that_is_over_early_says_how_to_go_on():
    """With more rounds than anybody asked for before."""
    begun = overridden(SPEC, rounds=4)
    change = Change(rounds=1, converged=Prospect(gain=0.0004, noise=0.0032, is_open=False))
    amendment = Amendment(Place(1, over=True), change, 0.0)
    study = replace(STUDY, begun=begun, amendments=(amendment,))
    closed = NARROWED | {"edge": None}
    found = printed(study=study, ledger=[closed, CHOSEN])
    assert "`hpsearch start a --rounds 5` goes on all the same." in found


def test_an_edge_that_was_open_in_an_earlier_round_is_still_said():
    """The newest reason of each dimension, and before it the round that found an open edge."""
    newest = NARROWED | {"round": 3, "low": 2e-3, "previous": [1e-3, 1e-2], "reason": "newest"}
    newest |= {"edge": None}
    text = printed(ledger=[NARROWED, newest])
    assert "learning_rate: newest. learning_rate, after round 1: any words at all." in text


def test_why_trials_failed_is_said():
    """The commonest message, how many share it, and the command that lists the others."""
    failures = [{"message": "MemoryError: no [room]", "count": 3}, {"message": "x", "count": 1}]
    text = printed(DOCUMENT | {"complete": 6, "failed": 4, "failures": failures})
    assert (
        "6 complete, 4 failed, in 3 s. 4 failures, 3 of them: MemoryError: no [room]; "
        "`hpsearch trials a` lists them."
    ) in text
    alone = printed(DOCUMENT | {"complete": 9, "failed": 1, "failures": failures[1:]})
    assert "1 failure: x;" in alone
    assert "failure" not in printed()
    assert "failure" not in printed(DOCUMENT | {"failures": []})


def test_no_winner_says_what_was_missing():
    """Without any score it is the trials that have none, else the repeats of the finalists."""
    none = {"winner": None}
    assert "none: no repeat of a finalist has a score." in printed(DOCUMENT | none)
    lost = DOCUMENT | none | {"complete": 0, "diverged": 10}
    assert "none: no trial has a score." in printed(lost)
    assert "opens the sealed test split" not in printed(lost)


@pytest.mark.parametrize("split", [None, "all"])
def test_a_comparison_says_what_it_is(split):
    """What was not confirmed is called so, is not tested unasked, and may have no test split."""
    choices = {"activation": {"choices": ["relu", "tanh"]}}
    changes = {
        "space": choices,
        "search": {"sampler": "grid"},
        "confirmation": {"finalists": 0},
        "data": {"split": split},
    }
    study = replace(STUDY, begun=StudySpec.model_validate({"name": "a"} | changes))
    winner = {"values": {"activation": "relu"}, "score": 0.9, "seeds": 1, "standard_error": 0.0}
    rounds = [DOCUMENT["rounds"][0] | {"ranges": choices}]
    text = printed(DOCUMENT | {"rounds": rounds, "winner": winner | {"ties": []}}, (), study)
    measured = "validation accuracy" if split is None else "accuracy on the training rows"
    assert f"{measured} 0.9000, the best of the trials; nothing was confirmed." in text
    assert ("sealed: finalists = 0" in text) == (split is None)
    assert ("opens the sealed test split" in text) == (split is None)
    assert ('there is none: split = "all" holds no rows out' in text) == (split == "all")
    nobody = printed(DOCUMENT | {"rounds": rounds, "winner": None}, (), study)
    assert "none: no trial has a score." in nobody


def test_what_to_type_next_names_the_database_and_no_mlflow_that_is_not_wanted():
    """A study in another database than the usual one is found by what is printed."""
    commands = Commands(" --database sqlite:///b.db", " --tracking none")
    text = printed(commands=commands)
    assert "`hpsearch ranges a --database sqlite:///b.db` explains every range" in text
    assert "hpsearch ui" not in text
    running = printed(document=DOCUMENT | {"state": "interrupted"}, commands=commands)
    assert "`hpsearch start a --database sqlite:///b.db --tracking none` goes on" in running
    assert "`hpsearch ui a` opens the dashboard" in printed()
