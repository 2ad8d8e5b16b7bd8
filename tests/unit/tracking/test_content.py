"""What runs say, computed without MLflow."""

import pytest

from hpsearch.seeds import Purpose
from hpsearch.store.mirroring import MirroredTrial
from hpsearch.store.studies import StoredStudy
from hpsearch.study import StudySpec
from hpsearch.tracking.content import study_content, trial_content
from hpsearch.tracking.overview import note, range_measurements


def _trial(**changes):
    fields = {
        "purpose": Purpose.SEARCH,
        "round": 1,
        "number": 17,
        "seed": 5,
        "state": "complete",
        "values": {"learning_rate": 0.1, "activation": "relu", "hidden": [50, 20]},
        "score": 0.5,
        "scored_at": None,
        "message": None,
        "worker": "host-1",
        "attempts": 1,
        "epochs": ((1, {"training_loss": 2.0}), (2, {"training_loss": None, "other": 1.0})),
        "started": 100.0,
        "finished": 102.0,
    }
    return MirroredTrial(**fields | changes)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("complete", "FINISHED"),
        ("diverged", "KILLED"),
        ("discarded", "KILLED"),
        ("failed", "FAILED"),
    ],
)
def test_only_complete_trials_are_finished(state, status):
    """MLflow's FINISHED means a trial with a score, and nothing else."""
    assert trial_content("s", _trial(state=state), elite=False, test=None).status == status


def test_metrics_that_are_not_finite_are_left_out():
    """A null in SQL was not finite, and is no point in MLflow."""
    content = trial_content("s", _trial(score=None), elite=False, test=None)
    assert {(m.key, m.step) for m in content.metrics} == {("training_loss", 1), ("other", 2)}


def test_a_score_stands_at_its_epoch():
    """The score of a trial that went back to an earlier epoch is a point at that epoch."""
    for scored_at, step in ((None, 2), (1, 1)):
        content = trial_content("s", _trial(scored_at=scored_at), elite=False, test=None)
        assert [(m.value, m.step) for m in content.metrics if m.key == "score"] == [(0.5, step)]


def test_epochs_share_the_time_of_the_trial():
    """Timestamps lie within the trial's own time, the last epoch at its end."""
    content = trial_content("s", _trial(), elite=False, test=None)
    assert (content.start, content.end) == (100_000, 102_000)
    assert [m.timestamp for m in content.metrics] == [101_000, 102_000, 102_000]


def test_a_network_that_was_not_trained_has_its_measurement():
    """A trial of no epochs has one point, number 0, at its start."""
    untrained = _trial(epochs=((0, {"training_loss": 2.0}),))
    content = trial_content("s", untrained, elite=False, test=None)
    points = [(m.key, m.value, m.timestamp, m.step) for m in content.metrics]
    assert points == [("training_loss", 2.0, 100_000, 0), ("score", 0.5, 102_000, 0)]


def test_values_are_params_that_read_back():
    """Strings stand as they are, everything else as JSON."""
    params = trial_content("s", _trial(), elite=False, test=None).params
    assert params == {"learning_rate": "0.1", "activation": "relu", "hidden": "[50, 20]"}


def test_tables_are_params_by_their_label():
    """A choice that is a table is one readable text in MLflow's columns."""
    values = {"optimizer": {"name": "adam", "learning_rate": 0.001}, "initializer": {"normal": 1.0}}
    params = trial_content("s", _trial(values=values), elite=False, test=None).params
    assert params == {"optimizer": "adam, learning_rate=0.001", "initializer": "normal=1.0"}


def test_the_studys_run_says_what_defaults_stand_for():
    """Rounds, trials, split and scaling are params also where the file leaves them out."""
    space = {"learning_rate": {"low": 0.1, "high": 1}}
    spec = StudySpec.model_validate({"name": "s", "space": space})
    study = StoredStudy(1, "s", spec, "", "0" * 64, 10, False, "running", None, 0.0, None)
    params = study_content(study).params
    assert (params["search.rounds"], params["search.trials"]) == ("3", "100")
    assert params["data.split"] == '{"train": 0.6, "validation": 0.2, "test": 0.2}'
    assert params["space.learning_rate"] == '{"low": 0.1, "high": 1.0, "scale": "linear"}'


def test_trial_nobody_ever_held_has_a_time():
    """A failed trial without a start gets its end as its start."""
    content = trial_content("s", _trial(started=None, epochs=()), elite=False, test=None)
    assert content.start == content.end == 102_000


def test_ranges_are_points_over_the_rounds():
    """Log dimensions have log10 beside the plain value, linear ones do not, choices a count."""
    ledger = [
        {"round": 2, "dimension": "a", "low": 0.01, "high": 1.0, "scale": "log"},
        {"round": 2, "dimension": "b", "low": 0.0, "high": 1.0, "scale": "linear"},
        {"round": 3, "dimension": "c", "choices": ["x", "y"]},
    ]
    points = {(m.key, m.step): m.value for m in range_measurements(ledger, {1: 5, 2: 6})}
    assert points == {
        ("range/a/low", 2): 0.01,
        ("range/a/high", 2): 1.0,
        ("range/a/log10_low", 2): -2.0,
        ("range/a/log10_high", 2): 0.0,
        ("range/b/low", 2): 0.0,
        ("range/b/high", 2): 1.0,
        ("range/c/choices", 3): 2.0,
    }


def test_note_fits_into_a_tag():
    """MLflow refuses tags over 8000 characters, however many dimensions a study has."""
    ledger = [
        {"round": r, "dimension": f"dimension_{d}", "low": 0.1, "high": 0.2, "scale": "linear"}
        for r in range(30)
        for d in range(60)
    ]
    study = {"study": "s", "winner": None, "control": None, "test": None, "rounds": []}
    study |= {"complete": 1, "planned": 2}
    assert len(note(study, ledger)) < 8000
