"""What `hpsearch test` says to a study that it cannot test."""

import pytest

from hpsearch.errors import DatabaseUnavailableError, UserError
from hpsearch.final import open_sealed_test
from hpsearch.store.database import open_database
from hpsearch.store.studies import create_study
from hpsearch.study import DataSpec, StudySpec


@pytest.mark.parametrize(
    ("source", "split"),
    [
        ("digits", "{ train = ..., validation = ..., test = ... }"),
        ("mnist", "{ train = ..., validation = ... }"),
    ],
)
def test_without_a_test_split_the_advice_suits_the_source(tmp_path, source, split):
    """Where nothing is held out the message writes a split that the source takes."""
    url = f"sqlite:///{tmp_path}/a.db"
    spec = StudySpec(
        name="a",
        data=DataSpec(source=source, split="all"),
        space={"activation": {"choices": ["relu"]}},
        search={"sampler": "grid"},
        confirmation={"finalists": 0},
    )
    database = open_database(url, create=True)
    create_study(database, spec, "", "0" * 64, 1)
    database.close()
    with pytest.raises(UserError) as caught:
        open_sealed_test(url, "a", None)
    assert str(caught.value).endswith(f"under a new name with split = {split}")


def test_nobody_waits_for_a_database_for_whom_nobody_waits(tmp_path, monkeypatch):
    """Once its `start` is gone, an opening that finds the database away ends at once."""

    def away(*_args, **_options):
        raise DatabaseUnavailableError("nobody there")

    url = f"sqlite:///{tmp_path}/a.db"
    open_database(url, create=True).close()
    monkeypatch.setattr("hpsearch.store.database._check_tables", away)
    with pytest.raises(DatabaseUnavailableError, match=r"^nobody there$"):
        open_sealed_test(url, "a", None, forsaken=lambda: True)
