"""Fixtures for all tests: a cache of their own, a piece of real MNIST, tables of MLflow's."""

import gzip
import hashlib
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hpsearch.data import mnist
from hpsearch.nn.warm_up import load_kernels

SLICE = Path(__file__).parent / "data" / "mnist_slice"


def pytest_configure(config):
    """Compile the kernels once, before test processes and their commands all do it at a time.

    And once only: commands that tests start use the code that the tests themselves import, also
    where another copy is installed.
    """
    if not hasattr(config, "workerinput"):
        paths = (str(config.rootpath), os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        load_kernels()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_run(tmp_path_factory):
    """No test reads or fills the user's own cache; child processes inherit this one."""
    before = os.environ.get("HPSEARCH_CACHE")
    os.environ["HPSEARCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["HPSEARCH_CACHE"]
    else:
        os.environ["HPSEARCH_CACHE"] = before


@contextmanager
def sliced_mnist():
    """Folder with 600 + 100 real MNIST images, accepted in this process as the originals."""
    with pytest.MonkeyPatch.context() as patch:
        for name in mnist.DIGESTS:
            unpacked = gzip.decompress((SLICE / f"{name}.gz").read_bytes())
            patch.setitem(mnist.DIGESTS, name, hashlib.sha256(unpacked).hexdigest())
        yield SLICE


@pytest.fixture
def mnist_slice():
    """As `sliced_mnist`, for one test."""
    with sliced_mnist() as folder:
        yield folder


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory):
    """An SQLite file with MLflow's tables and nothing in them; MLflow needs 2 s to make one."""
    from hpsearch.tracking.client import connect

    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    connect(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file
