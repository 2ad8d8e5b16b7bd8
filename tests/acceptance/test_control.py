"""What a sceptic sees: a study with a control arm, from the option to the figure."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import GRID_STUDY, SMALL_STUDY, Command

LOCAL = ("--tracking", "none")
RANDOM = ("--control", "random")


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A folder with a study that was run to its end with a control arm; its words are in a file."""
    hpsearch = Command(tmp_path_factory.mktemp("controlled"))
    file = hpsearch.write("small.toml", SMALL_STUDY)
    done = hpsearch("start", file, *RANDOM, "--no-test", *LOCAL)
    assert done.returncode == 0, done.stderr
    hpsearch.write("said.txt", done.stdout)
    return hpsearch


def test_start_says_what_narrowing_gave(controlled: Command):
    """The plan counts the control's trials, the progress too, and the summary has its line."""
    words = " ".join((controlled.folder / "said.txt").read_text().split())
    assert "learning_rate, batch_size, activation; then 16 control trials (random)." in words
    assert "Control random, 16 trials: " in words
    assert "placing trials (no range moved) gave" in words  # 16 trials are too few to narrow on
    assert "Control" in controlled("show", "small").stdout


def test_documents_and_figures_have_it(controlled: Command):
    """`show --json`, `trials --json` and `report` show both arms."""
    document = controlled.json("show", "small")
    assert document["planned"] == 16
    assert (document["control"]["sampler"], document["control"]["planned"]) == ("random", 16)
    assert document["control"]["difference"]["seeds"] == 2
    control = [t for t in controlled.json("trials", "small") if t["purpose"] == "control"]
    assert [t["round"] for t in control] == [1] * 16 + [2] * 4
    drawn = controlled.json("report", "small")
    assert [f["figure"] for f in drawn["figures"]][-1] == "control"
    assert drawn["missing"] == []
    assert (controlled.folder / "report/small/control.png").stat().st_size > 0
    verified = controlled("verify", "small", "--purpose", "control", *LOCAL)
    assert verified.returncode == 0, verified.stdout


def test_it_is_part_of_the_study(controlled: Command, small: Command):
    """A study goes on only with the control it was begun with."""
    file = ("start", "small.toml", *LOCAL)
    assert '[search] control: null here, "random" there' in controlled.refusal(*file)
    assert '[search] control: "tpe" here' in controlled.refusal(*file, "--control", "tpe")
    assert controlled(*file, *RANDOM).returncode == 0
    refusal = small.refusal("start", "small", *RANDOM, *LOCAL)
    assert '[search] control: "random" here, null there' in refusal
    assert "--name small-2" in refusal


def test_where_it_says_nothing_it_is_refused(hpsearch: Command):
    """A grid narrows nothing, and without finalists there are no winners to compare."""
    unconfirmed = SMALL_STUDY.replace("finalists = 2", "finalists = 0")
    for text, words in ((GRID_STUDY, "a grid narrows nothing"), (unconfirmed, "finalists = 5")):
        line = hpsearch.refusal("start", hpsearch.write("a.toml", text), *RANDOM, *LOCAL)
        assert line.startswith('hpsearch: options: [search] control = "random": ')
        assert words in line
    assert "--control" in hpsearch("start", "digits", "--control", "gp", *LOCAL).stderr
    assert not (hpsearch.folder / "hpsearch.db").exists()
