"""What `start` leaves behind when a study cannot begin."""

from __future__ import annotations

import shutil

import pytest

from hpsearch.errors import DataError
from hpsearch.service import Search, StartOptions
from hpsearch.study_file import parse_study

MNIST = """
name = "images"
[data]
source = "mnist"
limit = 50
[space]
learning_rate = { low = 1e-4, high = 1e-2, scale = "log" }
"""


def test_missing_test_rows_leave_no_database(mnist_slice, tmp_path):
    """Where only the test files are missing, that is said before a database is made."""
    images = tmp_path / "images"
    shutil.copytree(mnist_slice, images)
    for file in images.glob("t10k-*"):
        file.unlink()
    options = StartOptions(
        f"sqlite:///{tmp_path}/hpsearch.db", "none", data_dir=images, launcher="inline"
    )
    with pytest.raises(DataError, match="t10k"):
        Search(parse_study(MNIST, "images.toml"), MNIST, options).open()
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
