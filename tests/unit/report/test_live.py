"""Progress as it is told while a search runs."""

import io
import re

from rich.console import Console

from hpsearch.catalog import shipped_studies
from hpsearch.report.live import mirroring, watching
from hpsearch.report.progress import Progress
from hpsearch.study_file import load_study, overridden

SPEC = load_study(shipped_studies()["digits"])


def progress(finished: int, seconds: float, **changes) -> Progress:
    """A search of 300 trials so far, with 45 repeats to come."""
    known = {
        "phase": "search",
        "round": 1,
        "best_score": 0.5,
        "workers": 2,
        "finished": finished,
        "planned": 300,
        "running": 8,
        "repeats": 0,
        "repeated": 0,
        "control": 0,
        "controlled": 0,
        "seconds": seconds,
    }
    known |= changes
    trained = known["finished"] + known["repeated"] + known["controlled"]
    return Progress(**({"trained": trained} | known))


def test_plain_output_has_a_line_per_round_with_the_time_left():
    """Without a terminal: one line when a stage begins, the time left from this run's speed."""
    console = Console(file=io.StringIO(), width=100)
    with watching(console, SPEC) as watch:
        watch(progress(100, 0.0))
        watch(progress(150, 10.0))
        watch(progress(200, 20.0, round=2))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "round 1: 100 of 300 trials done, best 0.5000"
    # 100 trials in 20 s since the first look; 100 are left, 65 repeats and 5 trainings in turn.
    assert lines[1] == "round 2: 200 of 300 trials done, best 0.5000, about 35 s left"
    assert len(lines) == 2


def test_the_repeats_for_the_noise_are_trained_but_no_repeats_of_finalists():
    """What is left never falls below nothing when they are done, nor jumps."""
    console = Console(file=io.StringIO(), width=100)
    noise = {"phase": "repeat", "repeats": 16}
    with watching(console, SPEC) as watch:
        watch(progress(100, 0.0, **noise, repeated=10, trained=110))
        watch(progress(100, 1.0, round=2, trained=116))
        watch(progress(200, 21.0, round=3, trained=216))
    lines = console.file.getvalue().splitlines()
    # 6 trainings a second at first, then 106 in 21 s; 275 and 175 are left.
    assert [line.split(", about ")[-1] for line in lines[1:]] == ["46 s left", "35 s left"]


def test_the_control_arm_is_counted_by_itself():
    """Its trials first, then the repeats of its best; what is left is estimated for both."""
    console = Console(file=io.StringIO(), width=100)
    spec = overridden(SPEC, control="random")
    arm = {"phase": "control", "repeats": 45, "repeated": 45}
    with watching(console, spec) as watch:
        watch(progress(300, 0.0, **arm, control=300, controlled=100))
        watch(progress(300, 10.0, **arm, control=345, controlled=310, round=2))
    assert console.file.getvalue().splitlines() == [
        "control: 100 of 300 trials done",
        "control: 10 of 45 repeats done, about 3 s left",
    ]


def test_the_time_left_counts_the_control_arm():
    """A search of 300 trials has 300 more to come, and about 65 repeats of either's best."""
    console = Console(file=io.StringIO(), width=100)
    with watching(console, overridden(SPEC, control="random")) as watch:
        watch(progress(0, 0.0, control=300))
        watch(progress(100, 10.0, round=2, control=300))
    assert console.file.getvalue().splitlines()[1].endswith("about 1 min 4 s left")


def test_an_outage_is_printed_as_it_was_said():
    """A path may hold brackets, which are no markup."""
    said = "sqlite:////data [/new]/a.db: is locked; trying again"
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
        with watching(console, SPEC) as watch:
            watch(progress(100, 0.0, outage=said))
        assert said in console.file.getvalue()


def test_an_outage_has_one_line_at_its_begin_and_one_at_its_end():
    """Whoever looks for it in a log finds it whole, with the time, and when it was over."""
    console = Console(file=io.StringIO(), width=60)
    said = f"postgresql://{'h' * 60}/night: no server answers there; trying again"
    with watching(console, SPEC) as watch:
        watch(progress(100, 0.0))
        watch(progress(100, 0.0, outage=said))
        watch(progress(101, 30.0))
        watch(progress(102, 31.0))
    _, away, back = console.file.getvalue().splitlines()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {re.escape(said)}", away)
    assert re.fullmatch(r"\d\d:\d\d:\d\d the database answers again, after 0 s", back)


def test_the_live_screen_shows_what_matters():
    """On a terminal: round, done, running, left, best, time left and workers on one screen."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with watching(console, SPEC) as watch:
        watch(progress(0, 0.0))
        watch(progress(200, 20.0, round=2))
    text = console.file.getvalue()
    for words in ("round 2: 200 of 300", "running 8", "left 100", "0.5000", "2 workers", "left"):
        assert words in text


def test_the_mirror_is_mentioned_only_when_it_is_behind():
    """Waiting for MLflow says how much it has; a mirror that is done says nothing."""
    console = Console(file=io.StringIO(), width=100)
    with mirroring(console) as watch:
        watch(326, 326)
    assert not console.file.getvalue()
    with mirroring(console) as watch:
        watch(100, 326)
    assert "100 of 326 trials" in console.file.getvalue()


def test_a_lagging_mirror_says_how_far_it_lags():
    """A hundred trials and more are worth a word, once MLflow has had the time to begin."""
    console = Console(file=io.StringIO(), width=100)
    with watching(console, SPEC) as watch:
        watch(progress(100, 0.0, uncopied=99))
        watch(progress(200, 20.0, round=2, uncopied=140))
        watch(progress(250, 40.0, round=3, uncopied=140))
    *others, second = console.file.getvalue().splitlines()
    assert not any("MLflow" in line for line in others)
    assert second.endswith(", MLflow 140 trials behind")
