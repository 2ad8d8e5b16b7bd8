"""A study that is amended from the command line while it lives."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import Command

# Its learning rates are all too low.
LOW_STUDY = """
name = "low"
[data]
source = "digits"
limit = 600
[training]
epochs = 3
[space]
learning_rate = { low = 1e-6, high = 1e-3, scale = "log" }
weight_decay = { low = 1e-8, high = 1e-4, scale = "log" }
[search]
rounds = 2
trials = 32
sampler = "auto"
narrowing = "posterior"
[confirmation]
finalists = 2
seeds = 2
"""


@pytest.fixture(scope="module")
def _finished_low(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study searched to its end, and its file."""
    hpsearch = Command(tmp_path_factory.mktemp("low"))
    file = hpsearch.write("low.toml", LOW_STUDY)
    done = hpsearch("start", file, "--tracking", "none")
    assert done.returncode == 0, done.stderr
    return hpsearch.folder


@pytest.fixture
def low(_finished_low: Path, hpsearch: Command) -> Command:
    """The command in a folder with a finished study whose best values lie beyond an edge."""
    shutil.copytree(_finished_low, hpsearch.folder, dirs_exist_ok=True)
    return hpsearch


@pytest.mark.slow
def test_the_command_that_the_summary_offers_looks_beyond_the_edge(low: Command) -> None:
    """Typed as it stands there, it goes on with the study, all its trials and a better winner."""
    before = low.json("show", "low")
    words = " ".join(low("show", "low").stdout.split())
    found = re.search(r"`hpsearch (start low --rounds 3 --limits [^`]+)` looks beyond", words)
    assert found, words
    offered = shlex.split(found[1])
    offered += ["--tracking", "none"]
    after = low.json(*offered)
    assert (after["state"], after["complete"]) == ("complete", before["complete"] + 32)
    assert after["rounds"][2]["ranges"]["learning_rate"]["high"] > 1e-3
    assert after["winner"]["score"] > before["winner"]["score"]
    assert after["amendments"][0]["after_round"] == 2
    said = " ".join(low(*offered).stdout.split())  # the same once more amends nothing
    assert "already finished" in said
    assert "of the earlier winner" in said
    assert low.json("show", "low")["test"]["openings"] == 1
    assert low.json("test", "low")["openings"] == 2
    assert low.json("show", "low")["test"]["earlier_winner"] is False
    assert low("verify", "low", "--tracking", "none").returncode == 0


@pytest.mark.slow
def test_a_narrowing_is_taken_back(low: Command) -> None:
    """Of a finished study it is said which command gives it the round that begins from there."""
    said = " ".join(low("ranges", "low", "--undo", "2").stdout.split())
    command = "hpsearch start low --rounds 3"
    assert said == (
        f"low: round 3 begins from the ranges of round 1; `{command}` gives it that round."
    )
    low("start", "low", "--rounds", "3", "--tracking", "none")
    rounds = low.json("show", "low")["rounds"]
    assert rounds[2]["ranges"] == rounds[0]["ranges"] != rounds[1]["ranges"]
    undone = [row for row in low.json("ranges", "low") if row["decision"] == "undone"]
    assert {row["round"] for row in undone} == {3}
    assert low("verify", "low", "--tracking", "none").returncode == 0


def test_a_wish_that_no_round_has_begun_with_is_shown(low: Command) -> None:
    """The ledger says so below its rows, and a second wish says that the first one is off."""
    low("ranges", "low", "--undo", "2")
    again = " ".join(low("ranges", "low", "--undo", "3").stdout.split())
    assert again.endswith("Taking back what opened round 2, as asked before, is off.")
    ledger = " ".join(low("ranges", "low").stdout.split())
    assert "low: round 3 begins from the ranges of round 2; `hpsearch start low" in ledger


MISTAKES = {
    "limits twice": (
        "start low --limits learning_rate=1e-6..1 --limits learning_rate=1e-7..1",
        "--limits learning_rate=1e-7..1: learning_rate has limits already",
    ),
    "an undo of round 1": ("ranges low --undo 1", "low: round 1 has the declared ranges"),
    "an undo of no round": ("ranges low --undo 9", "never decided; give 2 to 3"),
    "limits without a round": (
        "start low --limits learning_rate=1e-6..1 --tracking none",
        "add --rounds 3",
    ),
    "limits that are none": (
        "start low --limits learning_rate=1 --tracking none",
        "--limits learning_rate=1: write NAME=LOWEST..HIGHEST",
    ),
    "limits of nothing": (
        "start low --limits rate=1e-6..1 --tracking none",
        "rate: no such dimension; there are learning_rate, weight_decay",
    ),
    "limits that a key cannot have": (
        "start low --limits learning_rate=-1..1 --tracking none",
        "a log range must start above 0, got low=-1.0",
    ),
    "limits inside the range": (
        "start low --limits learning_rate=1e-5..1 --tracking none",
        "must hold the whole range",
    ),
    "fewer rounds": (
        "start low --rounds 1 --tracking none",
        "[search] rounds: 1 here, 2 there",
    ),
}


def test_what_cannot_be_amended_is_one_line(low: Command) -> None:
    """The option or the round is named, and what to do; nothing is changed."""
    before = low.json("show", "low")
    for typed, said in MISTAKES.values():
        assert said in low.refusal(*typed.split())
    after = low.json("show", "low")
    assert (after["amendments"], after["state"]) == ([], before["state"])


def test_a_study_with_a_control_arm_is_compared_as_it_is(small: Command) -> None:
    """What would change the search that its control arm was compared with is refused in a line."""
    control = ("--name", "compared", "--control", "random", "--tracking", "none")
    assert small("start", "small.toml", *control).returncode == 0
    line = small.refusal("start", "compared", "--rounds", "9", "--tracking", "none")
    assert "compared: its control arm has begun" in line
    assert "`hpsearch new compared-2 --from compared`" in line
