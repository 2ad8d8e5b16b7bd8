"""What a worker writes down about its machine, and what it knows of its database."""

from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import hpsearch.worker as worker_module
from hpsearch.worker import Contact, machine_fingerprint

SITE = Path(np.__file__).parents[1]


def library(path, version):
    return {
        "user_api": "blas",
        "internal_api": "openblas",
        "filepath": str(path),
        "version": version,
        "architecture": "Haswell",
    }


NUMPYS = library(SITE / "numpy.libs" / "libscipy_openblas64_-1.so", "0.3.31")
SCIPYS = library(SITE / "scipy.libs" / "libscipy_openblas-2.so", "0.3.30")
SYSTEMS = library("/usr/lib/libopenblas.so.0", "0.3.21")


@pytest.mark.parametrize(
    ("loaded", "version"),
    [
        ([NUMPYS, SCIPYS], "0.3.31"),
        ([SCIPYS, NUMPYS], "0.3.31"),
        ([SYSTEMS], "0.3.21"),
    ],
)
def test_the_fingerprint_names_numpys_blas(monkeypatch, loaded, version):
    """SciPy's own BLAS trains nothing, whichever of the two is listed first."""
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: loaded)
    assert machine_fingerprint()["blas"] == f"openblas {version} Haswell"


def test_a_machine_without_a_known_blas_has_a_fingerprint(monkeypatch):
    """What is not known is written down as that."""
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    assert machine_fingerprint()["blas"] == "None None None"


def test_nobody_is_taken_for_lost_right_after_a_gap(monkeypatch):
    """A beat must pass after an outage, or a sleep of the machine, before leases are judged."""
    now = [1000.0]
    monkeypatch.setattr(worker_module.time, "time", lambda: now[0])
    contact = Contact(beat_seconds=15.0)

    def steady_after(seconds):
        now[0] += seconds
        return contact.is_steady()

    assert [steady_after(s) for s in (1, 13, 1, 30)] == [False, False, True, True]
    assert [steady_after(s) for s in (600, 1, 13, 1)] == [False, False, False, True]
