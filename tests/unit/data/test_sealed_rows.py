"""The test rows are in no prepared file, and one function alone gives them away."""

import ast
from pathlib import Path

import numpy as np
import pytest

import hpsearch
from hpsearch.data import mnist
from hpsearch.data.prepared import prepare
from hpsearch.data.sealed import open_test_rows

PACKAGE = Path(hpsearch.__file__).parent


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ({"source": "digits"}, 359),
        ({"source": "digits", "limit": 200}, 359),
        ({"source": "moons"}, 200),
        ({"source": "mnist"}, 100),
    ],
)
def test_no_test_row_is_in_a_prepared_file(study, mnist_slice, tmp_path, data, rows):
    """Compared byte by byte with every row workers can read."""
    spec = study(**data)
    prepared = prepare(spec, mnist_slice, tmp_path)
    test = open_test_rows(spec, mnist_slice, prepared)
    assert len(test) == rows
    assert test.x.dtype == np.float32
    assert test.y.dtype == np.int64
    files = b"".join(path.read_bytes() for path in prepared.folder.iterdir())
    assert not [row for row in test.x if row.tobytes() in files]
    assert prepared.training().x[0].tobytes() in files  # the comparison can find a row


def test_all_rows_of_a_source_are_given_out_exactly_once(study, tmp_path):
    """Training, validation and test together are the source's rows."""
    from sklearn.datasets import load_digits

    spec = study(source="digits", scaling="none")
    prepared = prepare(spec, None, tmp_path)
    parts = prepared.training(), prepared.validation(), open_test_rows(spec, None, prepared)
    given = np.concatenate([part.x for part in parts])
    x, _ = load_digits(return_X_y=True)
    assert sorted(map(bytes, given)) == sorted(map(bytes, x.astype(np.float32)))


def test_mnists_test_images_stay_sealed_where_nothing_is_held_out(
    comparison, refused, mnist_slice, tmp_path
):
    """With split = "all" mnist's training images are all used, its test images by nobody."""
    spec = comparison(source="mnist", limit={"first": 500})
    prepared = prepare(spec, mnist_slice, tmp_path)
    training, validation = prepared.training(), prepared.validation()
    original = mnist.read_rows(mnist.TRAINING, mnist_slice)
    assert np.array_equal(np.rint(training.x * 255), original.x[:500])
    assert np.array_equal(training.y, original.y[:500])
    assert np.array_equal(training.x, validation.x)
    assert "there is no test split" in refused(open_test_rows, spec, mnist_slice, prepared)


def test_test_rows_are_scaled_with_statistics_of_training_rows(study, tmp_path):
    """Undoing the training rows' mean and deviation gives the source's test rows back."""
    plain, scaled = study(scaling="none"), study(scaling="standard")
    one, two = prepare(plain, None, tmp_path), prepare(scaled, None, tmp_path)
    training = one.training().x.astype(np.float64)
    test = open_test_rows(plain, None, one).x
    expected = (test - training.mean(axis=0)) / training.std(axis=0)
    assert np.allclose(open_test_rows(scaled, None, two).x, expected, atol=1e-6)


def test_the_same_rows_are_opened_every_time(study, tmp_path):
    """A resumed study finishes the same opening."""
    prepared = prepare(study(), None, tmp_path)
    one, two = (open_test_rows(study(), None, prepared) for _ in range(2))
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.y, two.y)


def test_rows_prepared_for_another_seed_do_not_open_the_seal(study, tmp_path, refused):
    """Another seed's training rows could be among this seed's test rows."""
    prepared = prepare(study(seed=1), None, tmp_path)
    assert "prepare the study again" in refused(open_test_rows, study(seed=2), None, prepared)


def test_missing_test_files_are_one_line(study, mnist_slice, tmp_path, refused):
    """MNIST's test files are asked for only when the seal is opened."""
    spec = study(source="mnist")
    prepared = prepare(spec, mnist_slice, tmp_path)
    line = refused(open_test_rows, spec, tmp_path, prepared)
    assert "t10k-images-idx3-ubyte.gz is not in this folder" in line


def test_only_the_sealed_module_asks_a_source_for_test_rows():
    """In the whole package `sealed_rows` is called in one place."""
    callers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sealed_rows"
    }
    assert callers == {"data/sealed.py"}
