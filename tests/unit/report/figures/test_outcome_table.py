"""The table of how trials ended, beside what others published."""

import pytest

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.drawing import draw
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.table import outcome_table

OPTIMIZERS = {
    "optimizer": {"choices": ["sgd", "adam"]},
    "batch_norm": {"choices": [False]},
}
PUBLISHED = {
    "sgd": {"accuracy": 0.717, "cost": 0.573367},
    "adam": {"accuracy": 0.757, "note": "not what Adam gives."},
}


def test_a_row_has_final_figures_and_the_cost_at_an_epoch(make_grid):
    """Accuracies and loss of the last epoch, and with `cost_at` the loss of the epoch named."""
    table = outcome_table(make_grid(OPTIMIZERS, report={"cost_at": 2}))
    assert table.head == (
        "trial",
        "training accuracy",
        "validation accuracy",
        "training loss",
        "training loss of epoch 2",
    )
    assert table.rows == (
        ("sgd", "0.9000", "0.6000", "0.666667", "1.000000"),
        ("adam", "0.9000", "0.6000", "1.666667", "2.000000"),
    )


def test_early_stopping_gives_the_figures_of_the_score(make_grid):
    """A trial scored at epoch 2 of 3 has accuracies and loss of epoch 2, and the epoch is named."""
    diverged = {"state": "diverged", "score": None, "epochs": []}
    space = {"optimizer": {"choices": ["sgd", "adam", "adamw"]}, "batch_norm": {"choices": [True]}}
    table = outcome_table(make_grid(space, changed={0: {"scored_at": 2}, 2: diverged}))
    assert table.head[2:] == (
        "scored at epoch",
        "training accuracy",
        "validation accuracy",
        "training loss",
    )
    assert [row[2:] for row in table.rows] == [
        ("2", "0.6000", "0.4000", "1.000000"),
        ("3", "0.9000", "0.6000", "1.666667"),
        ("-", "-", "-", "-"),
    ]


def test_published_figures_stand_beside_ours_with_their_note(make_grid):
    """Columns of published figures by the trial's label, and below the table what is to be said."""
    table = outcome_table(make_grid(OPTIMIZERS, report={"published": PUBLISHED}))
    assert table.head[-2:] == ("published accuracy", "published cost")
    assert [row[-2:] for row in table.rows] == [("0.717", "0.573367"), ("0.757", "-")]
    assert table.notes == ("adam: not what Adam gives.",)
    assert "| adam | 0.9000 |" in table.markdown()
    assert table.markdown().endswith("\n\nadam: not what Adam gives.\n")


def test_published_figures_of_no_trial_are_said(make_grid):
    """A label that no trial has is a mistake in the file, not a silence."""
    table = outcome_table(make_grid(OPTIMIZERS, report={"published": {"adm": {"cost": 1}}}))
    assert table.notes == ("published, but no trial of this study: adm",)


def test_a_diverged_trial_is_named_as_such(make_grid):
    """With any trial that is not complete there is a column that says how each ended."""
    table = outcome_table(make_grid(OPTIMIZERS, changed={1: {"state": "diverged", "epochs": []}}))
    assert table.head[1] == "state"
    assert table.rows[1] == ("adam", "diverged", "-", "-", "-")


def test_a_search_lists_its_best_first(make_search, make_grid):
    """Trials of a range stand by their score, those of a grid as it was written."""
    assert outcome_table(make_search(3)).rows[0][0].startswith("learning rate 0.00102")
    assert outcome_table(make_grid()).rows[0][0].startswith("learning rate 0.1")


def test_of_many_trials_the_best_are_printed_and_all_written(make_search):
    """The terminal gets the best 20 of 60 and is told of the others; the file has all of them."""
    search = make_search(60)
    printed = outcome_table(search)
    assert printed.rows == outcome_table(search, None).rows[:20]
    assert printed.notes == ("The best 20; 40 more trials in the file.",)
    written = draw(search, ["table"]).files["table.md"].decode()
    assert written.count("learning rate") == 60
    assert "more trial" not in written
    assert outcome_table(make_search(20)).notes == ()


def test_a_large_grid_prints_its_best(make_grid):
    """In the file a grid stands as it was written; of too many the best are printed, best first."""
    rates = {"choices": [round(0.01 * n, 2) for n in range(1, 12)]}
    space = {"learning_rate": rates, "batch_norm": {"choices": [True, False]}}
    grid = make_grid(space, changed={n: {"score": n / 100} for n in range(22)})
    labels = [trial.label for trial in grid.trials]
    assert [row[0] for row in outcome_table(grid).rows] == labels[:1:-1]
    assert [row[0] for row in outcome_table(grid, None).rows] == labels


def test_nothing_finished_is_no_table(make_spec):
    """Before the first trial there is a reason instead."""
    with pytest.raises(CannotDrawError, match="no trial is finished"):
        outcome_table(Material.of(make_spec(), []))
