"""Studies that compare what was written down: nothing confirmed, and perhaps nothing held out."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import GRID_STUDY, Command

LOCAL = ("--tracking", "none")
COMPARISON = GRID_STUDY.partition("[confirmation]")[0] + "[confirmation]\nfinalists = 0\n"
REPRODUCTION = COMPARISON.replace("limit = 300", 'limit = 300\nsplit = "all"')


@pytest.mark.slow
def test_a_comparison_ends_after_its_round(hpsearch: Command):
    """Without finalists nothing is repeated and `start` tests nothing; `test` still may."""
    done = hpsearch("start", hpsearch.write("grid.toml", COMPARISON), *LOCAL)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "nothing was confirmed" in words
    assert "sealed: finalists = 0, and `start` does not test what was not confirmed" in words
    document = hpsearch.json("show", "grid")
    assert (document["state"], document["complete"]) == ("complete", 4)
    assert (document["confirmation"], document["test"]) == (None, None)
    trials = hpsearch.json("trials", "grid")
    assert [trial["purpose"] for trial in trials] == ["search"] * 4
    best = max(trials, key=lambda trial: (trial["score"], -trial["loss"]))
    winner = document["winner"]
    assert (winner["values"], winner["score"]) == (best["values"], best["score"])
    assert (winner["seeds"], winner["standard_error"], winner["ties"]) == (1, 0.0, [])
    assert "already finished" in hpsearch("start", "grid.toml", *LOCAL).stdout
    assert hpsearch.json("show", "grid")["test"] is None
    assert hpsearch.json("test", "grid")["openings"] == 1


def test_a_reproduction_scores_on_the_training_rows(hpsearch: Command):
    """With split = "all" the figures are those of the training rows, and there is no test."""
    file = hpsearch.write("grid.toml", REPRODUCTION)
    done = hpsearch("start", file, *LOCAL)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "accuracy on the training rows" in words
    assert "opens the sealed test split" not in words
    assert {t["state"] for t in hpsearch.json("trials", "grid")} == {"complete"}
    tested = hpsearch("test", "grid")
    assert tested.returncode == 2
    (line,) = tested.stderr.splitlines()
    assert line.startswith('hpsearch: grid: [data] split = "all" holds no rows out')
    assert "there is no test split" in line


@pytest.mark.parametrize(
    ("old", "new"),
    [("finalists = 0", "finalists = 1"), ('sampler = "grid"', 'sampler = "sobol"\ntrials = 4')],
)
def test_a_search_must_hold_rows_out(hpsearch: Command, old, new):
    """Whatever searches or confirms cannot be scored on its training rows; one line says why."""
    file = hpsearch.write("bad.toml", REPRODUCTION.replace(old, new))
    done = hpsearch("start", file)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'hpsearch: {file}: [data] split = "all": nothing is held out')
    assert [p.name for p in hpsearch.folder.iterdir()] == [file]
