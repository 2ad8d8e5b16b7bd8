"""Tables of studies and trials."""

import io

from rich.console import Console

from hpsearch.report.tables import print_studies, print_trials

TRIAL = {
    "purpose": "search",
    "number": 0,
    "round": 1,
    "state": "complete",
    "score": 0.9,
    "epochs": [],
    "values": {"hidden": [50]},
    "message": None,
}
STUDY = {
    "study": "a",
    "state": "running",
    "planned": 10,
    "complete": 1,
    "diverged": 2,
    "discarded": 0,
    "failed": 1,
    "winner": None,
    "test": None,
    "has_test_rows": True,
}


def printed(print_table, rows) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_table(console, rows)
    return console.file.getvalue()


def test_messages_have_a_column_where_trials_failed():
    """Why a trial failed stands in its line, brackets and all; without failures nothing does."""
    failed = TRIAL | {"number": 1, "state": "failed", "message": "MemoryError: no [room]"}
    text = printed(print_trials, [TRIAL, failed])
    assert "message" in text
    assert "MemoryError: no [room]" in text
    assert "message" not in printed(print_trials, [TRIAL])


def test_every_finished_trial_counts_in_the_list():
    """Complete, diverged, discarded and failed trials are done; no score is no figure."""
    text = printed(print_studies, [STUDY | {"rounds": [{"best_score": None}]}])
    assert "4/10" in text
    assert "0.0000" not in text
    scores = [{"best_score": 0.5}, {"best_score": 0.75}, {"best_score": None}]
    assert "0.7500" in printed(print_studies, [STUDY | {"rounds": scores}])


def test_a_study_without_test_rows_has_nothing_sealed():
    """Under `test` must stand `sealed` only where there are rows to open."""
    study = STUDY | {"rounds": []}
    assert "sealed" in printed(print_studies, [study])
    assert "sealed" not in printed(print_studies, [study | {"has_test_rows": False}])
