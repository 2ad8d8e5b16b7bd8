"""What a study will cost: its trainings are counted, and its time comes from a few timed steps."""

import pytest

from hpsearch.data.prepared import prepare
from hpsearch.forecast import Forecast, forecast
from hpsearch.report.plan import plan_line
from hpsearch.study import StudySpec


def make_spec(**changes):
    document = {
        "name": "planned",
        "data": {"source": "moons", "samples": 120},
        "model": {"hidden": [4]},
        "training": {"epochs": 2},
        "space": {"learning_rate": {"low": 1e-3, "high": 1e-1, "scale": "log"}},
        "search": {"rounds": 3, "trials": 20},
    }
    return StudySpec.model_validate(document | changes)


@pytest.fixture
def planned(tmp_path):
    """Builds the forecast of a study with two workers."""

    def plan(tests=True, **changes):
        spec = make_spec(**changes)
        return forecast(spec, prepare(spec, None, tmp_path), 2, None, tests=tests)

    return plan


def test_every_training_is_counted(planned):
    """Search, repeats for the noise, the race among finalists, and the test."""
    found = planned()
    assert (found.trials, found.repeats, found.control, found.final) == (60, 16, 0, 5)
    assert found.confirmation == (45, 85)


def test_the_time_is_that_of_all_trainings(planned):
    """A trial takes some time, all of them more; the longest race takes longest."""
    found = planned(search={"rounds": 3, "trials": 20, "sampler": "sobol"})
    least, most = found.seconds
    assert found.trial_seconds > 0
    assert least == pytest.approx(found.trial_seconds * ((60 + 16 + 45) / 2 + 5))
    assert most == pytest.approx(found.trial_seconds * ((60 + 16 + 85) / 2 + 5))


def test_a_control_arm_and_a_sealed_test_are_counted_as_they_are(planned):
    """The arm is as large as the search; a test that is not opened takes nothing."""
    found = planned(tests=False, search={"rounds": 1, "trials": 20, "control": "random"})
    assert (found.repeats, found.control, found.final) == (0, 20, 0)


def test_longer_training_takes_longer(planned):
    """Fifty times the epochs take at least ten times as long."""
    short, long = planned(), planned(training={"epochs": 100})
    assert long.trial_seconds > 10 * short.trial_seconds


def test_a_forecast_reads_back_from_its_document(planned):
    """It comes from another process as JSON."""
    found = planned()
    assert Forecast.from_document(found.document()) == found


PLAN = Forecast(300, 16, (45, 85), 0, 5, 0.1, (60.0, 63.0), 2)


def test_the_plan_is_one_line():
    """Counts first, then the time."""
    assert plan_line(PLAN) == (
        "Plan: 300 trials, 16 repeats for the noise, 45 to 85 to confirm, 5 for the test: "
        "about 1 min 3 s with 2 workers."
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ((60.0, 90.0), "about 1 min 0 s to 1 min 30 s with"),
        ((0.2, 0.4), "less than 2 s with"),
        (None, "nobody knows how long"),
    ],
)
def test_times_are_as_sure_as_they_are(seconds, words):
    """A stretch where it matters, and no figure where there is none."""
    changed = Forecast(**(PLAN.__dict__ | {"seconds": seconds}))
    assert words in plan_line(changed)
