"""What a study will cost: its trainings are counted, and its time comes from a few timed steps."""

import pytest

from hpsearch import forecast as forecasting
from hpsearch.data.prepared import prepare
from hpsearch.forecast import NOTHING, Done, Forecast, forecast
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

    def plan(tests=True, population=None, done=NOTHING, **changes):
        spec = make_spec(**changes)
        prepared = prepare(spec, None, tmp_path)
        return forecast(spec, prepared, 2, population, tests=tests, done=done)

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


@pytest.fixture
def clock(monkeypatch):
    """Training that takes a millisecond for an update of a member, and 20 for a measurement."""
    now = 0.0

    def train(members, _training, _validation):
        nonlocal now
        now += 0.02 + 0.001 * sum(m.settings.training.iterations for m in members)

    monkeypatch.setattr(forecasting, "train", train)
    monkeypatch.setattr(forecasting.time, "perf_counter", lambda: now)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("epochs", [2, 100])
def test_a_trial_takes_its_updates_and_its_measurements(planned, epochs):
    """Both are told apart by timing few and many updates; a population shares a measurement."""
    training = {"epochs": epochs, "batch_size": 8}
    found = planned(population=4, training=training)
    rows = 72  # 60 % of 120
    assert found.trial_seconds == pytest.approx(epochs * (rows / 8 * 0.001 + 0.02 / 4))


def test_what_is_done_is_not_to_come(planned):
    """Of a study that was begun only what is left is counted; of one that is over only the test."""
    done = Done(trials=50, repeats=16, confirmed=0)
    found = planned(done=done)
    assert (found.trials, found.repeats, found.confirmation) == (10, 0, (45, 85))
    found = planned(done=Done(trials=60, repeats=16, confirmed=50))
    assert (found.trials, found.confirmation) == (0, (0, 35))
    arm = planned(done=Done(60, 16, 85), tests=False, search={"trials": 20, "control": "random"})
    assert (arm.confirmation, arm.control, arm.is_empty) == ((0, 0), 60, False)
    over = Done(trials=60, repeats=16, confirmed=50, over=True)
    assert (planned(done=over).final, planned(done=over).is_empty) == (5, False)
    assert planned(done=over, tests=False).is_empty


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
        ((2.0, 9.0), "some seconds with"),
        (None, "nobody knows how long"),
    ],
)
def test_times_are_as_sure_as_they_are(seconds, words):
    """A stretch where it matters, and no figure where there is none."""
    changed = Forecast(**(PLAN.__dict__ | {"seconds": seconds}))
    assert words in plan_line(changed)
