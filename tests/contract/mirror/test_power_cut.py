"""After a power cut MLflow may know more than SQL; then it is MLflow that must forget."""

import shutil

import pytest

from hpsearch.states import TrialState
from hpsearch.store.claims import claim
from hpsearch.store.database import open_database
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.studies import load_study
from hpsearch.store.workers import register_worker
from hpsearch.tracking.mirror import sync
from tests.contract.mirror.conftest import SLOW_OVER_HTTP, begun, by_key, content_of, runs_in


class Disk:
    """A study on a disk from which the last commits may be lost."""

    def __init__(self, folder):
        self._file = folder / "hpsearch.db"
        self._kept = folder / "kept"
        self.url = f"sqlite:///{self._file}"
        begun(self.url).close()
        self._kept.mkdir()
        shutil.copy(self._file, self._kept)

    def train(self, score):
        """Commit the first round, each trial with this score."""
        database = open_database(self.url)
        study = load_study(database, "small")
        worker, _ = register_worker(database, study.id, {})
        result = TrialResult(TrialState.COMPLETE, {1: {"validation_accuracy": score}})
        while (taken := claim(database, study.id, worker, 8)) is not None:
            commit(database, taken, {trial.id: result for trial in taken.trials})
        database.close()

    def cut_power(self):
        """What was committed since the study began was not on the disk yet."""
        shutil.copy(self._kept / self._file.name, self._file)


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


@SLOW_OVER_HTTP
def test_runs_of_lost_trials_are_removed(disk, tracking):
    """Trials that SQL has lost leave MLflow, too, and come back when they are trained again."""
    before = sync(disk.url, "small", tracking).trials
    disk.train(score=0.25)
    copied = sync(disk.url, "small", tracking)
    disk.cut_power()
    after = sync(disk.url, "small", tracking)
    assert (before, copied.added, after.removed, after.trials) == (0, 8, 8, 0)
    disk.train(score=0.25)
    assert sync(disk.url, "small", tracking).added == 8


def test_a_run_is_of_the_attempt_that_counts(disk, tracking, mlflow_tables, tmp_path):
    """A trial that was lost and trained again before the mirror looked is copied anew, whole."""
    disk.train(score=0.25)
    sync(disk.url, "small", tracking)
    disk.cut_power()
    disk.train(score=0.75)
    again = sync(disk.url, "small", tracking)
    assert (again.added, again.removed) == (8, 8)
    runs = runs_in(tracking)
    assert by_key(runs)["small/search/3"].data.metrics["score"] == 0.75
    afresh = f"sqlite:///{shutil.copy(mlflow_tables, tmp_path / 'afresh.db')}"
    sync(disk.url, "small", afresh)
    assert content_of(runs) == content_of(runs_in(afresh))
