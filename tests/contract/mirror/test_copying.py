"""What a copy in MLflow holds, and that doing it again, or dying in the middle, adds nothing."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from hpsearch.final import open_sealed_test
from hpsearch.model import TrainedModel
from hpsearch.report.figures.drawing import draw
from hpsearch.report.figures.material import Material
from hpsearch.store import tables
from hpsearch.store.openings import final_model
from hpsearch.store.reading import elite_numbers, open_work
from hpsearch.store.studies import load_study
from hpsearch.tracking import copying
from hpsearch.tracking.client import connect
from hpsearch.tracking.content import NOTE_TAG, PARENT_TAG
from hpsearch.tracking.mirror import sync
from hpsearch.tracking.study_run import final_figures
from hpsearch.worker import WorkerOptions, run_worker
from tests.contract.mirror.conftest import (
    PICTURED,
    SLOW_OVER_HTTP,
    TOML,
    begun,
    by_key,
    check_whole,
    content_of,
    documents,
    runs_in,
    train,
    until,
)

WRITES = {
    "create_experiment",
    "create_model_version",
    "create_registered_model",
    "create_run",
    "delete_run",
    "log_artifact",
    "log_artifacts",
    "log_batch",
    "log_text",
    "restore_experiment",
    "set_experiment_tag",
    "set_terminated",
    "update_run",
}

# ------------------------------------------------------------------- what is copied


def check_values(database, tracking):
    """Every finite metric of every epoch, and every value, is in MLflow as it is in SQL."""
    runs = by_key(check_whole(database, tracking))
    client = connect(tracking)
    for trial in documents(database)[0]:
        run = runs[f"small/{trial['purpose']}/{trial['number']}"]
        values = trial["values"]
        assert run.data.params == {
            k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()
        }
        told = {(e["epoch"], k): v for e in trial["epochs"] for k, v in e["metrics"].items()}
        names = {name for _, name in told}
        read = [m for name in names for m in client.get_metric_history(run.info.run_id, name)]
        assert {(m.step, m.key): m.value for m in read} == {
            k: v for k, v in told.items() if v is not None
        }
        assert len(read) == len(told)
        assert all(run.info.start_time <= m.timestamp <= run.info.end_time for m in read)
        assert run.data.tags["state"] == trial["state"]
        assert run.data.tags["worker"] == trial["worker"]


def test_every_epoch_reads_back_equal(searched, tracking):
    """A copy into an empty MLflow has every number that SQL has, and no other."""
    sync(searched.url, "small", tracking)
    check_values(searched, tracking)


def test_runs_are_nested_and_elites_marked(searched, tracking):
    """Trials hang below their round, rounds below the study, and elites are known."""
    sync(searched.url, "small", tracking)
    runs = by_key(runs_in(tracking))
    study = load_study(searched, "small")
    for trial in documents(searched)[0]:
        run = runs[f"small/{trial['purpose']}/{trial['number']}"]
        above = f"round/{trial['round']}" if trial["purpose"] == "search" else trial["purpose"]
        above = runs[f"small/{above}"]
        assert run.data.tags["mlflow.parentRunId"] == above.info.run_id
        assert above.data.tags["mlflow.parentRunId"] == runs["small"].info.run_id
        if trial["purpose"] == "search":
            elite = trial["number"] in elite_numbers(searched, study, trial["round"])
            assert run.data.tags["elite"] == str(elite).lower()


def test_study_run_tells_ranges_winner_and_test(searched, tracking):
    """Ranges over the rounds, best scores, winner, test figure, note and files are there."""
    report = sync(searched.url, "small", tracking)
    client, (_, ledger, document) = connect(tracking), documents(searched)
    run = client.get_run(report.run_id)
    for row in (row for row in ledger if "low" in row):
        for end in ("low", "high"):
            history = client.get_metric_history(run.info.run_id, f"range/{row['dimension']}/{end}")
            assert {m.step: m.value for m in history}[row["round"]] == row[end]
            assert sorted(m.step for m in history) == [1, 2, 3]
    assert "range/learning_rate/log10_low" in run.data.metrics
    assert "range/beta1/log10_low" not in run.data.metrics
    best = client.get_metric_history(run.info.run_id, "best_validation_accuracy")
    assert {m.step: m.value for m in best} == {
        r["round"]: r["best_score"] for r in document["rounds"]
    }
    assert run.data.metrics["winner_score"] == document["winner"]["score"]
    assert run.data.metrics["test_accuracy"] == document["test"]["score"]
    assert run.data.tags["test_openings"] == "1"
    assert "**Winner**" in run.data.tags["mlflow.note.content"]
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
        "study.toml",
        "ledger.json",
        "ledger.md",
        "ledger_table.json",
        "model",
        "figures",
    }
    experiment = client.get_experiment(report.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


@SLOW_OVER_HTTP
def test_the_tested_network_is_registered_once(searched, tracking, tmp_path):
    """A version under the study's name, with its figures; it predicts as the network does."""
    from mlflow import pyfunc

    runs = {sync(searched.url, "small", tracking).run_id for _ in range(2)}
    known = connect(tracking).search_model_versions("name='small'")
    (version,) = [version for version in known if version.run_id in runs]
    trials, _, document = documents(searched)
    assert json.loads(version.tags["test_accuracy"]) == document["test"]["score"]
    assert json.loads(version.tags["winner_score"]) == document["winner"]["score"]
    _, content = final_model(searched, load_study(searched, "small").id)
    own = TrainedModel.from_bytes(content)
    files = version.source.removeprefix(f"runs:/{version.run_id}/")
    loaded = pyfunc.load_model(
        connect(tracking).download_artifacts(version.run_id, files, str(tmp_path))
    )
    rows = np.random.default_rng(0).normal(size=(100, own.features))
    assert loaded.predict(rows).tolist() == own.predict(rows).tolist()
    (final,) = [trial for trial in trials if trial["purpose"] == "final"]
    assert own.settings.training.learning_rate == final["values"]["learning_rate"]


def test_every_opening_has_a_version_with_files_of_its_own(mlflow_copy, tmp_path):
    """What was registered first stays what it was."""
    url = f"sqlite:///{tmp_path}/opened.db"
    database = begun(url, TOML)
    train(url)
    for _ in range(2):
        open_sealed_test(url, "small", None, again=True)
        sync(url, "small", mlflow_copy)
    versions = connect(mlflow_copy).search_model_versions("name='small'")
    assert {v.tags["hpsearch.opening"] for v in versions} == {"1", "2"}
    assert len({v.source for v in versions}) == 2
    database.close()


@SLOW_OVER_HTTP
def test_a_complete_study_has_its_figures(searched, pictured, tracking, tmp_path):
    """The figures that `report` draws are artifacts of the study's run, once, byte for byte."""
    client = connect(tracking)
    trials, ledger, document = documents(searched)
    material = Material.of(pictured.spec, trials, document, ledger)
    drawn = draw(material, pictured.spec.figures).files
    assert len(drawn) > 3
    for _ in range(2):
        report = sync(searched.url, "small", tracking)
        paths = [f.path for f in client.list_artifacts(report.run_id, "figures")]
        assert paths == sorted(f"figures/{name}" for name in drawn)
    for name, content in drawn.items():
        stored = client.download_artifacts(report.run_id, f"figures/{name}", str(tmp_path))
        assert Path(stored).read_bytes() == content


def test_a_running_study_has_no_figures_yet(mlflow_copy, tmp_path):
    """Nothing is drawn before the search is over, and matplotlib is not even imported."""
    database = begun(f"sqlite:///{tmp_path}/begun.db", PICTURED)
    code = (
        "import sys; from hpsearch.tracking.mirror import sync; "
        f"print(sync({database.url!r}, 'small', {mlflow_copy!r}).run_id, "
        "'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    run_id, imported = done.stdout.split()[-2:]
    assert imported == "False"
    assert [f.path for f in connect(mlflow_copy).list_artifacts(run_id, "figures")] == []
    database.close()


def test_figures_are_there_before_the_confirmation_is_over(mlflow_copy, tmp_path):
    """Those that show the search alone: nobody need wait for them once the winner is known."""
    url = f"sqlite:///{tmp_path}/confirming.db"
    database = begun(url, PICTURED)
    study = load_study(database, "small")

    class SearchIsOver(threading.Event):
        def is_set(self):
            return bool(final_figures(database, study))

    run_worker(WorkerOptions(url, "small"), SearchIsOver())
    assert load_study(database, "small").completed is None
    report = sync(url, "small", mlflow_copy)
    paths = [f.path for f in connect(mlflow_copy).list_artifacts(report.run_id, "figures")]
    assert paths == ["figures/best-trials.png", "figures/funnel.png"]
    database.close()


# ------------------------------------------------------------------------ control arm

CONTROLLED = PICTURED.replace("trials = 8", 'trials = 4\ncontrol = "random"')


def test_the_control_arm_has_a_run_of_its_own(mlflow_copy, tmp_path):
    """Its trials and repeats lie below it, and the study's best score is the search's."""
    url = f"sqlite:///{tmp_path}/controlled.db"
    database = begun(url, f'{CONTROLLED}[report]\nfigures = ["table"]\n')
    train(url)
    sync(url, "small", mlflow_copy)
    runs = by_key(runs_in(mlflow_copy))
    above = runs["small/control"]
    assert (above.info.run_name, above.info.status) == ("control", "FINISHED")
    mine = [k for k, r in runs.items() if r.data.tags.get(PARENT_TAG) == above.info.run_id]
    assert sorted(mine) == sorted(f"small/control/{number}" for number in range(8 + 4))
    root, document = runs["small"].data, documents(database)[2]
    assert root.metrics["best_validation_accuracy"] == document["rounds"][-1]["best_score"]
    assert root.metrics["winner_score"] == document["winner"]["score"]
    control = document["control"]
    assert root.metrics["control_winner_score"] == control["winner"]["score"]
    assert root.metrics["narrowing_gave"] == control["difference"]["mean"]
    assert "**Control**: random, 8 trials" in root.tags[NOTE_TAG]
    database.close()


def test_each_figure_is_drawn_when_it_is_as_it_will_stay(tmp_path):
    """Those of the search once that is over, the control's with its trials, the winner's last."""
    url = f"sqlite:///{tmp_path}/drawn.db"
    database = begun(url, CONTROLLED)
    study = load_study(database, "small")
    seen = []

    class Look(threading.Event):
        def is_set(self):
            seen.append((open_work(database, study)["purpose"], *final_figures(database, study)))
            return False

    run_worker(WorkerOptions(url, "small"), Look())
    of_the_search = ("funnel", "best-trials")
    assert list(dict.fromkeys(seen)) == [
        ("search",),
        ("confirmation", *of_the_search),
        ("control", *of_the_search),
        ("control", *of_the_search, "control"),
        (None, *of_the_search, "control"),
    ]
    open_sealed_test(url, "small", None)
    assert final_figures(database, load_study(database, "small")) == list(study.spec.figures)
    database.close()


def test_repeats_for_the_noise_end_no_search(tmp_path):
    """What is trained again after round 1 has no figure drawn: more rounds are to come."""
    database = begun(f"sqlite:///{tmp_path}/noise.db", PICTURED)
    with database.writing() as connection:
        connection.execute(update(tables.round_).values(purpose="repeat"))
    assert final_figures(database, load_study(database, "small")) == []
    database.close()


# ----------------------------------------------------------------------- idempotence


@SLOW_OVER_HTTP
def test_sync_twice_adds_nothing(searched, tracking):
    """A second sync makes no run, removes none and changes none."""
    sync(searched.url, "small", tracking)
    before = content_of(runs_in(tracking))
    again = sync(searched.url, "small", tracking)
    assert (again.added, again.removed) == (0, 0)
    assert content_of(runs_in(tracking)) == before


class Killed(BaseException):
    """Ends a mirror as SIGKILL does: nothing catches it."""


class DyingClient:
    """MLflow's client, which dies with its nth write; that write has still happened."""

    def __init__(self, client, writes):
        self._client = client
        self._left = writes

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if name not in WRITES:
            return method

        def write(*args, **kwargs):
            result = method(*args, **kwargs)
            self._left -= 1
            if self._left == 0:
                raise Killed
            return result

        return write


def test_dying_after_any_write_leaves_nothing_twice(searched, tracking, monkeypatch):
    """Killed after its 1st, then 2nd, then 3rd ... write, a mirror still makes every run once."""
    deaths = 0
    for writes in range(1, 100):
        monkeypatch.setattr(copying, "connect", lambda uri, n=writes: DyingClient(connect(uri), n))
        try:
            sync(searched.url, "small", tracking)
            break
        except Killed:
            deaths += 1
    assert deaths > 5
    runs = by_key(check_whole(searched, tracking))
    client = connect(tracking)
    for run in runs.values():
        for name in run.data.metrics:
            steps = Counter(m.step for m in client.get_metric_history(run.info.run_id, name))
            assert set(steps.values()) == {1}, (run.info.run_name, name, steps)


@pytest.mark.slow
@SLOW_OVER_HTTP
def test_a_mirror_killed_five_times_at_random_loses_nothing(searched, tracking, mirror_process):
    """Each is killed with SIGKILL wherever it is; the last one leaves MLflow as SQL is."""
    client = connect(tracking)

    def runs():
        found = client.get_experiment_by_name("small")
        return len(client.search_runs([found.experiment_id])) if found is not None else 0

    whole = len(documents(searched)[0])
    for most in np.sort(np.random.default_rng(5).integers(1, whole, 5)):
        process = mirror_process(searched, tracking, stdin=subprocess.PIPE)
        until(lambda most=most: runs() >= most)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    sync(searched.url, "small", tracking)
    check_values(searched, tracking)


@pytest.mark.slow
def test_deleted_tracking_file_is_rebuilt(searched, mlflow_copy, tmp_path, mirror_process):
    """Where no mlflow.db is, a mirror of a finished study makes one with the same runs."""
    sync(searched.url, "small", mlflow_copy)
    before = content_of(runs_in(mlflow_copy))
    again = f"sqlite:///{tmp_path}/second.db"
    assert mirror_process(searched, again, stdin=subprocess.DEVNULL).wait(60) == 0
    assert content_of(runs_in(again)) == before


@SLOW_OVER_HTTP
def test_runs_the_study_does_not_have_are_removed(searched, tracking):
    """A run whose trial is not in SQL goes; a run deleted by hand comes back."""
    report = sync(searched.url, "small", tracking)
    client, runs = connect(tracking), by_key(runs_in(tracking))
    origin = runs["small"].data.tags["hpsearch.origin"]
    tags = {"hpsearch.key": "small/search/99", "hpsearch.origin": origin}
    client.create_run(report.experiment_id, tags=tags)
    client.delete_run(runs["small/search/3"].info.run_id)
    client.delete_run(runs["small/round/2"].info.run_id)
    report = sync(searched.url, "small", tracking)
    assert (report.added, report.removed) == (1, 1)
    runs = by_key(check_whole(searched, tracking))
    parent = runs["small/search/12"].data.tags["mlflow.parentRunId"]
    assert parent == runs["small/round/2"].info.run_id


@SLOW_OVER_HTTP
def test_deleted_experiment_is_restored(searched, tracking):
    """A study whose experiment lies in MLflow's bin is taken out of it, with its runs."""
    report = sync(searched.url, "small", tracking)
    connect(tracking).delete_experiment(report.experiment_id)
    again = sync(searched.url, "small", tracking)
    assert (again.experiment_id, again.added) == (report.experiment_id, 0)
    check_whole(searched, tracking)


@SLOW_OVER_HTTP
def test_another_study_of_the_same_name_is_left_alone(searched, tracking, tmp_path):
    """Two databases may copy a study of one name to one place; neither removes the other's."""
    sync(searched.url, "small", tracking)
    mine = len(runs_in(tracking))
    other = begun(f"sqlite:///{tmp_path}/other.db")
    sync(other.url, "small", tracking)
    assert len(runs_in(tracking)) == mine + 2  # its study run and its first round
    other.close()
