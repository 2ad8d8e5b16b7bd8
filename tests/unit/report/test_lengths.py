"""How long trials train, wherever the study file says so."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hpsearch.cli.main import app
from hpsearch.findings import Commands
from hpsearch.report.lengths import length_text, units
from hpsearch.report.summary import print_opening
from hpsearch.study import StudySpec

RATE = {"learning_rate": {"low": 1e-3, "high": 1e-2}}


def chosen(*choices):
    return {"optimizer": {"choices": list(choices)}} | RATE


@pytest.mark.parametrize(
    ("training", "space", "text", "unit"),
    [
        ({}, RATE, "10 epochs", ["epoch"]),
        ({"epochs": 1}, RATE, "1 epoch", ["epoch"]),
        ({"iterations": 200}, RATE, "200 iterations", ["iteration"]),
        ({}, {"iterations": {"choices": [20, 40]}}, "20 to 40 iterations", ["iteration"]),
        ({}, {"epochs": {"low": 5, "high": 50}}, "5 to 50 epochs", ["epoch"]),
        ({}, {"epochs": {"choices": [7]}} | RATE, "7 epochs", ["epoch"]),
        ({}, chosen({"name": "sgd", "epochs": 30}, "adam"), "10 to 30 epochs", ["epoch"]),
        (
            {},
            chosen({"name": "sgd", "iterations": 500}, "adam"),
            "500 iterations or 10 epochs",
            ["iteration", "epoch"],
        ),
    ],
)
def test_the_length_is_that_of_the_trials(training, space, text, unit):
    """A length that is searched or brought along counts, and a stretch says that they differ."""
    spec = StudySpec.model_validate({"name": "a", "training": training, "space": space})
    assert (length_text(spec), units(spec)) == (text, unit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nepochs = 1\n[space]\nl2 = { low = 0, high = 1 }", "l2, 1 epoch each"),
        ("[space]\niterations = { choices = [20, 40] }", "iterations, 20 to 40 iterations each"),
    ],
)
def test_check_says_the_length(tmp_path, text, said):
    """`check` counts what trials train, one epoch as one."""
    file = tmp_path / "a.toml"
    file.write_text(f'name = "a"\n{text}\n')
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0
    first, *_ = done.stdout.splitlines()
    assert first.endswith(f"a: 3 rounds of 100 trials over {said}, on digits.")


def test_the_opening_line_has_the_length():
    """`start` announces what is trained, not what [training] would have been alone."""
    spec = StudySpec.model_validate({"name": "a", "space": {"iterations": {"choices": [20, 40]}}})
    console = Console(file=io.StringIO(), width=400)
    study = SimpleNamespace(name="a", spec=spec, state="running")
    print_opening(console, study, 0, Commands(), resumed=False)
    said = "a: 3 rounds of 100 trials, 20 to 40 iterations each, over iterations.\n"
    assert console.file.getvalue() == said
