"""The course's experiments find what the course says they find.

Most study files in studies/course/ are run twice: shortened, on 600 images of MNIST, with all other
tests; and as they are written, on the whole of MNIST, by `HPSEARCH_DATA=FOLDER pytest -m course`.
Three are run once, as they are written: `moons` and `activations`, which need no images, and
`search`, which takes the first 500 images and some minutes, by `-m course`. `moons` and the short
`batch-norm` take longer than all the others together and are among the slow tests.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import pytest

from hpsearch.catalog import shipped_studies
from hpsearch.data.prepared import prepare
from hpsearch.space import frozen, label
from hpsearch.store.database import open_database
from hpsearch.store.reading import ranges_document, trials_document
from hpsearch.store.studies import create_study, load_study
from hpsearch.study import StudySpec
from hpsearch.study_file import load_study as read_study_file
from hpsearch.worker import WorkerOptions, run_worker
from tests.conftest import sliced_mnist

# Studies that are run once, since both runs would see the same rows; the search takes minutes.
ONLY = {"moons": "short", "activations": "short", "search": "whole"}
# What is changed of a study where there are only 600 images and no time.
SHORTENED = {
    "optimizers": {"training": {"iterations": 200}},
    "initializers": {"training": {"iterations": 200}},
    "batch-norm": {"data": {"limit": {"first": 600}}},
    "weight-decay": {"data": {"limit": {"first": 600}, "split": {"train": 0.3, "validation": 0.7}}},
    "dropout": {"data": {"limit": {"first": 600}, "split": {"train": 0.3, "validation": 0.7}}},
}


class Experiment:
    """A finished study of the course."""

    def __init__(self, spec: StudySpec, folder: Path, data_dir: Path | None) -> None:
        url = f"sqlite:///{folder / 'course.db'}"
        database = open_database(url, create=True)
        try:
            prepared = prepare(spec, data_dir)
            create_study(database, spec, "", prepared.fingerprint, len(prepared.validation()))
            run_worker(WorkerOptions(url, spec.name, data_dir), threading.Event())
            study = load_study(database, spec.name)
            self.trials = trials_document(database, study)
            self.ranges = ranges_document(database, study)
        finally:
            database.close()

    def last(self, metric: str, measurements: int = 1) -> dict[str, float]:
        """Mean of a metric over the last measurements of every complete trial, by its label."""
        return {
            name: sum(e["metrics"][metric] for e in trial["epochs"][-measurements:]) / measurements
            for name, trial in self.by_label.items()
            if trial["state"] == "complete"
        }

    @property
    def by_label(self) -> dict[str, dict]:
        """The trials by the text of their values."""
        return {
            ", ".join(label(frozen(value)) for value in trial["values"].values()): trial
            for trial in self.trials
        }

    def gaps(self) -> dict[str, float]:
        """By how much the held-out loss ends above the training loss."""
        training, held_out = (self.last(f"{s}_loss", 5) for s in ("training", "validation"))
        return {name: held_out[name] - training[name] for name in training}


# In place of the marks of `run` below.
SLOW_EVEN_SHORT = pytest.mark.parametrize(
    "run",
    [
        pytest.param("short", marks=pytest.mark.slow),
        pytest.param("whole", marks=pytest.mark.course),
    ],
    indirect=True,
    scope="module",
)


@pytest.fixture(scope="module", params=["short", pytest.param("whole", marks=pytest.mark.course)])
def run(request, tmp_path_factory):
    """Runs a study of the course once, shortened or as it is."""
    short = request.param == "short"

    @cache
    def experiment(name: str) -> Experiment:
        if ONLY.get(name, request.param) != request.param:
            pytest.skip(f"course/{name} is run once, {ONLY[name]}")
        spec = read_study_file(shipped_studies()[f"course/{name}"])
        if not short:
            return Experiment(spec, tmp_path_factory.mktemp(name), None)
        document = spec.document()
        for table, values in SHORTENED.get(name, {}).items():
            document[table] |= values
        spec = StudySpec.from_document(document)
        with sliced_mnist() as folder:
            return Experiment(spec, tmp_path_factory.mktemp(name), folder)

    return experiment


def test_momentum_adagrad_and_adam_end_below_sgd(run):
    """With the course's rates the three must end with a lower training loss than plain SGD."""
    losses = run("optimizers").last("training_loss", 5)
    (sgd,) = (loss for name, loss in losses.items() if name.startswith("sgd"))
    others = [loss for name, loss in losses.items() if not name.startswith("sgd")]
    assert len(others) == 3
    assert max(others) < sgd


def test_small_weights_do_not_learn(run):
    """From a deviation of 0.01 the loss must stay at log(10) = 2.30; He's weights must learn."""
    losses = run("initializers").last("training_loss", 5)
    assert losses["normal=0.01"] == pytest.approx(2.30, abs=0.02)
    assert losses["he"] < losses["normal=0.01"] - 0.3
    assert losses["xavier"] < losses["normal=0.01"]


def test_activations_tell_why(run):
    """Sigmoids must saturate at 1 and agree at 0.01; ReLUs must fade, but not with He's weights."""
    layers = {
        name: trial["diagnoses"][0]["layers"] for name, trial in run("activations").by_label.items()
    }
    last = {name: stack[4] for name, stack in layers.items()}
    assert last["sigmoid, initializer={normal=1.0}"]["saturated"] > 0.5
    assert last["sigmoid, initializer={normal=0.01}"]["std"] < 0.02
    assert 0.05 < last["sigmoid, initializer=xavier"]["std"] < 0.2
    fading = {
        name: stack[4]["std"] / stack[0]["std"]
        for name, stack in layers.items()
        if name.startswith("relu")
    }
    assert fading["relu, initializer={normal=0.01}"] < 1e-3
    assert fading["relu, initializer=xavier"] < 0.5
    assert fading["relu, initializer=he"] > 0.5


@SLOW_EVEN_SHORT
def test_batch_norm_learns_where_the_plain_network_does_not(run):
    """At many scales the network must learn with batch normalisation and not without."""
    accuracies = run("batch-norm").last("training_accuracy")
    scales = {name.rsplit(", ", 1)[0] for name in run("batch-norm").by_label}
    assert len(scales) == 16
    only_with = [
        scale
        for scale in scales
        if accuracies.get(f"{scale}, true", 0) > 0.5 and accuracies.get(f"{scale}, false", 0) < 0.2
    ]
    assert len(only_with) >= 4


@pytest.mark.parametrize(
    ("name", "without", "with_it"), [("weight-decay", "0.0", "0.1"), ("dropout", "0.0", "0.2")]
)
def test_the_gap_closes(run, name, without, with_it):
    """Between training and held-out loss decay and dropout must leave less than without them."""
    gaps = run(name).gaps()
    assert run(name).last("training_accuracy")[without] > 0.98
    assert gaps[without] > 0.5
    assert gaps[with_it] < 0.8 * gaps[without]


@SLOW_EVEN_SHORT
def test_published_costs_of_moons_come_out_digit_for_digit(run):
    """SGD and momentum must give the six published digits, and Adam what a correct one gives."""
    trials = run("moons").by_label
    seen = {
        name.split(",")[0]: (
            round(trial["epochs"][4000]["metrics"]["training_loss"], 6),
            round(trial["epochs"][-1]["metrics"]["validation_accuracy"], 3),
        )
        for name, trial in trials.items()
    }
    assert seen["sgd"] == (0.573367, 0.717)
    assert seen["momentum"] == (0.573444, 0.717)
    assert seen["adam"] == (0.136066, 0.943)


@pytest.mark.course
def test_the_search_says_both(run):
    """The search must find the rates at the upper edge, and nothing to narrow in weight decay."""
    ranges = run("search").ranges
    rates = [row for row in ranges if row["dimension"] == "learning_rate"]
    assert rates[1]["edge"] == "upper"
    assert "crowd the upper edge 0.01: the optimum may lie beyond" in rates[1]["reason"]
    assert {row["high"] for row in rates} == {1e-2}
    first, *later = (row for row in ranges if row["dimension"] == "weight_decay")
    assert {(row["low"], row["high"]) for row in (first, *later)} == {(1e-8, 1e-4)}
    assert {row["decision"] for row in later} == {"kept"}
    assert all("no evidence that it matters" in row["reason"] for row in later)
