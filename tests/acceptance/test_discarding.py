"""What a person sees who lets hopeless trials be stopped, from the study file to the receipts."""

from __future__ import annotations

from tests.acceptance.conftest import Command

# Learning rates so low that most trials learn nothing in a second.
STUDY = """
name = "stopping"
[data]
source = "digits"
limit = 500
[model]
hidden = [10]
[training]
epochs = 10
[space]
learning_rate = { low = 1e-7, high = 1e-2, scale = "log" }
[search]
rounds = 2
trials = 24
sampler = "auto"
discard = "auto"
[confirmation]
finalists = 2
seeds = 2
"""
LOCAL = ("--tracking", "none")


def test_a_study_says_what_it_has_stopped(hpsearch: Command):
    """`start` and `show` sum it up, `trials` has each stop, and `verify` agrees with all of it."""
    done = hpsearch("start", hpsearch.write("stopping.toml", STUDY), "--no-test", *LOCAL)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    document = hpsearch.json("show", "stopping")
    assert document["discarded"] > 0
    assert document["complete"] + document["discarded"] == 48
    saved = document["discarding"]["updates_saved"]
    assert f"{document['discarded']} of 48 trials early, {saved:.0%} of the updates saved" in words
    trials = hpsearch.json("trials", "stopping")
    stopped = [t["below"] for t in trials if t["state"] == "discarded"]
    assert len(stopped) == document["discarded"]
    assert f"<{stopped[0]['threshold']:.4f}" in hpsearch("trials", "stopping").stdout
    verified = hpsearch("verify", "stopping", *LOCAL)
    assert verified.returncode == 0, verified.stdout
    assert "discarded: bands and stops, decided again" in verified.stdout
