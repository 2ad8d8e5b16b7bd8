"""Prepared rows: made once, whole or not at all, the same everywhere."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from hpsearch.data import prepared as module
from hpsearch.data.prepared import Prepared, fingerprint_of, key_of, prepare
from hpsearch.space import Box, Choices, Dimension, frozen

FILES = ["meta.json", "training_x.npy", "training_y.npy", "validation_x.npy", "validation_y.npy"]

PREPARE_IN_A_CHILD = """
import json, sys
from pathlib import Path
from hpsearch.data.prepared import prepare
from hpsearch.study import StudySpec

spec = StudySpec.from_document(json.loads(sys.argv[1]))
print(prepare(spec, None, Path(sys.argv[2])).fingerprint)
heavy = {"sklearn", "scipy", "pooch", "mlflow", "optuna"} & set(sys.modules)
print(" ".join(sorted(heavy)), file=sys.stderr)
"""


def child(spec, cache) -> subprocess.Popen:
    """A process that prepares, prints the fingerprint, and names what it imported."""
    command = [sys.executable, "-c", PREPARE_IN_A_CHILD, json.dumps(spec.document()), str(cache)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def test_rows_are_split_scaled_and_typed(study, tmp_path):
    """Digits: 60 and 20 % of 1,797 rows, float32 between 0 and 1, labels int64."""
    prepared = prepare(study(source="digits"), None, tmp_path)
    training, validation = prepared.training(), prepared.validation()
    assert (prepared.classes, prepared.features) == (10, 64)
    assert (training.x.shape, validation.x.shape) == ((1079, 64), (359, 64))
    assert training.x.dtype == np.float32
    assert training.y.dtype == np.int64
    assert (training.x.min(), training.x.max()) == (0.0, 1.0)
    assert training.x.flags.c_contiguous


def test_mnist_takes_the_first_rows_and_never_looks_for_the_test_files(
    study, mnist_slice, tmp_path
):
    """The course's 500 images: the first ones, 400 + 100, from a folder without t10k files."""
    folder = tmp_path / "training_only"
    folder.mkdir()
    for path in mnist_slice.glob("train-*"):
        shutil.copy(path, folder)
    prepared = prepare(study(source="mnist", limit={"first": 500}), folder, tmp_path)
    training, validation = prepared.training(), prepared.validation()
    assert (len(training), len(validation), training.features) == (400, 100, 784)
    from hpsearch.data import mnist

    original = mnist.read_rows(mnist.TRAINING, mnist_slice).x[:500]
    together = np.concatenate([training.x, validation.x]) * 255
    assert sorted(map(bytes, np.rint(together).astype(np.uint8))) == sorted(map(bytes, original))


def test_statistics_come_from_training_rows_only(study, tmp_path):
    """Standardised training rows have mean 0 exactly as far as float32 goes, others do not."""
    prepared = prepare(study(samples=200), None, tmp_path)
    assert np.abs(prepared.training().x.mean(axis=0, dtype=np.float64)).max() < 1e-7
    assert np.abs(prepared.validation().x.mean(axis=0, dtype=np.float64)).max() > 1e-3


def test_the_same_study_gives_the_same_bytes_in_another_cache(study, tmp_path):
    """The fingerprint is stable, and it is that of the arrays in the folder."""
    spec = study(samples=300, limit=100)
    one, two = prepare(spec, None, tmp_path / "one"), prepare(spec, None, tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    assert one.folder != two.folder
    arrays = {name[:-4]: np.load(one.folder / name) for name in FILES[1:]}
    assert fingerprint_of(arrays) == one.fingerprint


def test_the_fingerprint_sees_bytes_types_and_shapes():
    """Arrays that differ in any of the three have different fingerprints."""
    array = np.zeros((2, 3), dtype=np.float32)
    others = [array.reshape(3, 2), array.view(np.int32), array + 1, array[:1]]
    prints = [fingerprint_of({"x": each}) for each in [array, *others]]
    assert len(set(prints)) == 5


@pytest.mark.parametrize(
    "data",
    [
        {"seed": 1},
        {"samples": 999},
        {"noise": 0.3},
        {"random_state": 3},
        {"limit": 100},
        {"limit": {"first": 100}},
        {"scaling": "none"},
        {"split": {"train": 0.5, "validation": 0.3, "test": 0.2}},
        {"source": "digits"},
    ],
)
def test_whatever_changes_the_rows_changes_the_key(study, data):
    """Rows of one study are never taken for those of another."""
    assert key_of(study(**data)) != key_of(study())


def published_moons():
    """The points as anybody gets them from scikit-learn with these numbers."""
    from sklearn.datasets import make_moons

    return make_moons(120, noise=0.25, random_state=3)


def test_moons_can_be_the_published_ones(comparison, tmp_path):
    """With random_state rows and order are scikit-learn's own, in float64 to the last bit."""
    data = {"samples": 120, "noise": 0.25, "random_state": 3, "scaling": "none"}
    spec = comparison(training={"precision": "float64"}, **data)
    training = prepare(spec, None, tmp_path).training()
    x, y = published_moons()
    assert training.x.dtype == np.float64
    assert np.array_equal(training.x, x)
    assert np.array_equal(training.y, y)
    coarse = prepare(comparison(**data), None, tmp_path).training()
    assert np.array_equal(coarse.x, x.astype(np.float32))
    again = prepare(comparison(seed=9, **data), None, tmp_path).training()
    assert np.array_equal(again.x, coarse.x)


def test_published_moons_are_split_like_others(study, tmp_path):
    """With shares the published points are sealed and split by the study's own seed."""
    spec = study(samples=120, noise=0.25, random_state=3, scaling="none")
    prepared = prepare(spec, None, tmp_path)
    given = [*prepared.training().x, *prepared.validation().x]
    published = {row.tobytes() for row in published_moons()[0].astype(np.float32)}
    assert len(given) == 96
    assert {row.tobytes() for row in given} <= published


def test_noise_is_normal_and_teaches_nothing(comparison, tmp_path):
    """Means and deviations of 100,000 numbers are those of a standard normal; labels are even.

    A mean is off by 0.013 (4 standard errors) in 1 of 16,000 seeds, a class share likewise.
    """
    spec = comparison(source="normal", samples=1000)
    prepared = prepare(spec, None, tmp_path)
    rows = prepared.training()
    assert (rows.x.shape, prepared.features, prepared.classes) == ((1000, 100), 100, 10)
    assert rows.x.dtype == np.float32
    assert abs(rows.x.mean()) < 0.013
    assert abs(rows.x.std() - 1) < 0.01
    assert np.abs(np.bincount(rows.y, minlength=10) / 1000 - 0.1).max() < 0.04
    other = prepare(comparison(source="normal", seed=1), None, tmp_path).training()
    assert not np.array_equal(other.x, rows.x)
    small = prepare(comparison(source="normal", features=3, classes=2), None, tmp_path)
    assert (small.features, small.classes, set(small.training().y)) == (3, 2, {0, 1})


def test_noise_has_a_sealed_share_like_any_source(study, tmp_path):
    """A search on noise has validation rows, and a test split by the same rule as moons."""
    prepared = prepare(study(source="normal"), None, tmp_path)
    assert (len(prepared.training()), len(prepared.validation())) == (600, 200)


@pytest.mark.parametrize("data", [{"samples": 10**12}, {"features": 2**31 - 1, "samples": 10**9}])
def test_more_noise_than_memory_is_one_line(comparison, refused, tmp_path, data):
    """Rows that cannot be held are named with both their numbers."""
    line = refused(prepare, comparison(source="normal", **data), None, tmp_path)
    assert "samples = " in line
    assert "features = " in line


def test_rows_are_as_fine_as_the_finest_trial(study, comparison, tmp_path):
    """A dimension or a table that trains in float64 gets rows in float64."""
    box = Box((Dimension("precision", Choices(("float32", "float64"))),))
    fine = study().model_copy(update={"space": box})
    table = frozen({"name": "adam", "precision": "float64"})
    brought = study().model_copy(
        update={"space": Box((Dimension("optimizer", Choices((table,))),))}
    )
    assert (study().precision, fine.precision, brought.precision) == (
        "float32",
        "float64",
        "float64",
    )
    assert prepare(fine, None, tmp_path).validation().x.dtype == np.float64
    assert key_of(comparison()) != key_of(comparison(training={"precision": "float64"}))


def test_holding_nothing_out_changes_the_key(study, comparison):
    """The rows of split = "all" are never taken for those of a split."""
    assert key_of(comparison()) != key_of(study())


def test_what_does_not_change_the_rows_does_not_change_the_key(study):
    """A default written out, or a key of another source, is the same data."""
    split = {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert key_of(study(split=split, scaling="standard")) == key_of(study())
    assert key_of(study(source="digits", noise=0.7)) == key_of(study(source="digits"))


def test_versions_that_draw_the_rows_are_in_the_key(study, monkeypatch):
    """Another NumPy may draw another split."""
    before = key_of(study())
    monkeypatch.setattr(np, "__version__", "99.0")
    assert key_of(study()) != before


def test_prepared_rows_are_mapped_and_cannot_be_written(study, tmp_path):
    """Workers share one read-only copy in memory."""
    training = prepare(study(), None, tmp_path).training()
    assert isinstance(training.x, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        training.x[0, 0] = 1


def test_a_worker_can_be_sent_the_description(study, tmp_path):
    """It pickles small, and reads the same rows on the other side."""
    prepared = prepare(study(), None, tmp_path)
    sent = pickle.dumps(prepared)
    assert len(sent) < 2000
    assert pickle.loads(sent) == prepared  # noqa: S301 - our own bytes


def test_a_relative_cache_is_found_from_another_folder(study, tmp_path, monkeypatch):
    """What a worker is sent does not depend on where it runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPSEARCH_CACHE", "cache")
    prepared = prepare(study())
    monkeypatch.chdir("/")
    assert len(prepared.training()) == 600


def test_reuse_imports_nothing_heavy(study, tmp_path):
    """A worker that finds the rows ready loads neither scikit-learn nor SciPy."""
    spec = study(source="digits")
    fingerprint = prepare(spec, None, tmp_path).fingerprint
    out, imported = child(spec, tmp_path).communicate(timeout=60)
    assert out.strip() == fingerprint
    assert imported.strip() == ""


def test_two_processes_may_prepare_at_once(study, tmp_path):
    """Both end well with the same rows, and nothing half-made stays behind."""
    children = [child(study(samples=5000), tmp_path) for _ in range(2)]
    outputs = [each.communicate(timeout=60)[0] for each in children]
    assert [each.returncode for each in children] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    (folder,) = (tmp_path / "prepared").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_who_comes_second_takes_what_the_first_one_made(study, tmp_path, monkeypatch):
    """If somebody else finishes while we write, their folder stays and ours goes."""
    spec = study()
    first = prepare(spec, None, tmp_path)
    inode = first.folder.stat().st_ino
    looks = iter([None])
    found = Prepared.found
    monkeypatch.setattr(
        Prepared, "found", classmethod(lambda _, folder: next(looks, found(folder)))
    )
    assert prepare(spec, None, tmp_path) == first
    assert first.folder.stat().st_ino == inode
    assert len(list(first.folder.parent.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "missing", "meta", "not a table"])
def test_a_damaged_folder_is_made_anew(study, tmp_path, damage):
    """Rows that are not whole are never used."""
    spec = study()
    before = prepare(spec, None, tmp_path)
    path = before.folder / ("training_x.npy" if damage in {"cut", "missing"} else "meta.json")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": path.read_bytes()[:100], "meta": b"{"}.get(damage, b"[]"))
    assert prepare(spec, None, tmp_path) == before
    assert len(before.training()) == 600
    assert len(list(before.folder.parent.iterdir())) == 1


def test_a_crash_while_writing_leaves_nothing_that_is_used(study, tmp_path, monkeypatch):
    """The half-made folder has another name, is no one's rows, and is swept away a day later."""
    spec = study()
    monkeypatch.setattr(module, "_publish", _crash)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        prepare(spec, None, tmp_path)
    monkeypatch.undo()
    (left,) = (tmp_path / "prepared").iterdir()
    assert Prepared.found(tmp_path / "prepared" / key_of(spec)) is None
    assert len(prepare(spec, None, tmp_path).training()) == 600
    assert left.exists()  # it could be somebody's who is still writing
    old = time.time() - 2 * 24 * 3600
    os.utime(left, (old, old))
    prepare(study(seed=1), None, tmp_path)
    assert not left.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(study, tmp_path, monkeypatch, refused):
    """The line names the folder and what can be done."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    line = refused(prepare, study(), None, tmp_path)
    assert line.startswith(
        f"{tmp_path / 'prepared'}: the prepared rows cannot be written: No space"
    )
    assert "HPSEARCH_CACHE" in line
    assert not list((tmp_path / "prepared").iterdir())


def test_a_cache_that_is_a_file_is_one_line(study, tmp_path, refused):
    """A wrong HPSEARCH_CACHE is named."""
    cache = tmp_path / "cache"
    cache.write_text("")
    assert str(cache) in refused(prepare, study(), None, cache)


def test_rows_that_vanish_are_named(study, tmp_path, refused):
    """A cache emptied under a running worker ends in one line with the folder."""
    prepared = prepare(study(), None, tmp_path)
    (prepared.folder / "validation_y.npy").unlink()
    line = refused(prepared.validation)
    assert str(prepared.folder) in line
    assert "start again" in line


def test_a_pickled_array_is_never_loaded(study, tmp_path, refused):
    """Whoever can write to the cache cannot make a worker run their code."""
    prepared = prepare(study(), None, tmp_path)
    path = prepared.folder / "training_y.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert str(prepared.folder) in refused(prepared.training)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"limit": 801}, "at most 800"),
        ({"limit": 2}, "no validation row"),
        ({"samples": 2}, "no test row"),
        ({"samples": 10**18}, "write fewer"),
        ({"noise": 1e300}, "less noise"),
    ],
)
def test_data_that_cannot_be_had_is_one_line_and_leaves_nothing(
    study, tmp_path, refused, data, said
):
    """Mistakes of the study file end before anything is written."""
    assert said in refused(prepare, study(**data), None, tmp_path)
    assert not list(tmp_path.iterdir())


def _crash(*_):
    raise KeyboardInterrupt
