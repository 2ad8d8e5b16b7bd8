"""The JSON documents have the fields that programs rely on, at every depth, and no others.

The study is finished: it has a winner, repeats, curves and an opening of the test split.
"""

import pytest

from hpsearch.final import open_sealed_test
from hpsearch.store.reading import ranges_document, study_document, trials_document

NUMBER = int | float
RANGES = {
    "learning_rate": {"low": NUMBER, "high": NUMBER, "scale": str},
    "l2": {"low": NUMBER, "high": NUMBER, "scale": str},
    "batch_size": {"low": NUMBER, "high": NUMBER, "scale": str, "integer": bool},
    "activation": {"choices": [str]},
}
VALUES = {"learning_rate": float, "l2": float, "batch_size": int, "activation": str}
CANDIDATE = {"values": VALUES, "score": float, "standard_error": float, "seeds": int}
STUDY = {
    "study": str,
    "state": str,
    "metric": str,
    "direction": str,
    "planned": int,
    "complete": int,
    "diverged": int,
    "discarded": int,
    "failed": int,
    "running": int,
    "workers": int,
    "rounds": [
        {
            "round": int,
            "state": str,
            "planned": int,
            "complete": int,
            "finished": int,
            "best_score": float,
            "ranges": RANGES,
        }
    ],
    "confirmation": {"planned": int, "finished": int},
    "control": None,
    "discarding": None,
    "winner": CANDIDATE | {"ties": [CANDIDATE]},
    "test": {
        "metric": str,
        "score": float,
        "interval": (float, float),
        "rows": int,
        "opening": int,
        "openings": int,
        "trainings": int,
        "scores": [float],
        "values": VALUES,
        "earlier_winner": bool,
    },
    "failures": [],
    "amendments": [],
    "has_test_rows": bool,
    "seconds": float,
}
MEASURED = {"training_loss": float, "training_accuracy": float}
VALIDATED = MEASURED | {"validation_loss": float, "validation_accuracy": float}
TRIAL = {
    "number": int,
    "purpose": str,
    "round": int,
    "state": str,
    "values": VALUES,
    "score": float,
    "loss": float | None,
    "seed": int,
    "replicate": int,
    "message": None,
    "worker": str,
    "attempts": int,
    "epochs": [{"epoch": int, "metrics": VALIDATED}],
    "started": str,
    "finished": str,
}
SEARCHED = TRIAL | {"elite": bool}
FINAL = TRIAL | {"epochs": [{"epoch": int, "metrics": MEASURED}]}
RANGE = {
    "round": int,
    "dimension": str,
    "elites": int,
    "rule": str,
    "decision": str,
    "edge": str | None,
    "reason": str,
}


def differences(value, shape, where="document"):
    """What in a document is not as described: missing and unknown fields, other types."""
    if isinstance(shape, dict):
        if not isinstance(value, dict) or set(value) != set(shape):
            yield f"{where}: {value!r} has not the fields {sorted(shape)}"
            return
        for key, inner in shape.items():
            yield from differences(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, (list, tuple)):
        inner = shape if isinstance(shape, tuple) else shape * len(value)
        if not isinstance(value, list) or len(value) != len(inner):
            yield f"{where}: {value!r} is no list as {shape}"
            return
        for i, (item, kind) in enumerate(zip(value, inner, strict=True)):
            yield from differences(item, kind, f"{where}[{i}]")
    elif shape is None:
        if value is not None:
            yield f"{where}: {value!r} is not None"
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        yield f"{where}: {value!r} is no {shape}"


@pytest.fixture
def searched(database_url, make_real_study, work):
    """A finished study whose test split has been opened."""
    study = work(make_real_study())
    open_sealed_test(database_url, study.name, None)
    return study


def test_the_study_document_has_its_documented_fields(database, searched):
    """`show --json` has the documented fields to the last depth, and its counts add up."""
    document = study_document(database, searched)
    assert list(differences(document, STUDY)) == []
    assert (document["study"], document["state"]) == ("small", "complete")
    assert (document["metric"], document["direction"]) == ("validation_accuracy", "maximize")
    ended = ("complete", "diverged", "discarded", "failed")
    assert document["planned"] == sum(document[state] for state in ended) == 24
    assert [(r["round"], r["state"], r["finished"]) for r in document["rounds"]] == [
        (1, "closed", 12),
        (2, "closed", 12),
    ]
    first = document["rounds"][0]["ranges"]
    assert first["learning_rate"] == {"low": 1e-3, "high": 1.0, "scale": "log"}
    assert first["activation"] == {"choices": ["relu", "tanh"]}
    assert document["confirmation"] == {"planned": 4, "finished": 4}
    assert (document["winner"]["seeds"], document["test"]["openings"]) == (2, 1)
    low, high = document["test"]["interval"]
    assert low <= document["test"]["score"] <= high
    assert document["test"]["metric"] == "test_accuracy"


def test_the_study_document_is_of_one_moment(database, study, work):
    """Whoever asks with a study as it was before is told how it is now, winner and all."""
    assert study_document(database, study)["state"] == "interrupted"
    after = work(study)
    document = study_document(database, study)
    assert document == study_document(database, after)
    assert (document["state"], document["winner"]) == ("complete", after.winner)


def test_the_trials_document_has_its_documented_fields(database, searched):
    """`trials --json` has the documented fields, curves included, by purpose and number."""
    document = trials_document(database, searched)
    shapes = {"search": SEARCHED, "final": FINAL}
    wrong = [list(differences(t, shapes.get(t["purpose"], TRIAL))) for t in document]
    assert not any(wrong)
    order = [(trial["purpose"], trial["number"]) for trial in document]
    counts = {"confirmation": 4, "final": 1, "repeat": 4, "search": 24}
    assert order == [(purpose, n) for purpose, count in counts.items() for n in range(count)]
    assert {trial["state"] for trial in document} == {"complete"}
    assert {tuple(e["epoch"] for e in trial["epochs"]) for trial in document} == {(1, 2)}
    best = [t for t in document if t["score"] is not None and t["purpose"] == "search"]
    assert all(t["score"] == t["epochs"][-1]["metrics"]["validation_accuracy"] for t in best)


def test_the_ranges_document_has_its_documented_fields(database, searched):
    """`ranges --json` has a row per round and dimension, the box after the last round included."""
    document = ranges_document(database, searched)
    assert [row["round"] for row in document] == [1] * 4 + [2] * 4 + [3] * 4
    for row in document:
        before = [str] if row["dimension"] == "activation" else (NUMBER, NUMBER)
        previous = None if row["round"] == 1 else before
        shape = RANGE | RANGES[row["dimension"]] | {"previous": previous}
        assert list(differences(row, shape)) == []
        assert row["decision"] in {"declared", "narrowed", "kept", "moved", "widened", "undone"}
        assert row["edge"] in {None, "lower", "upper", "both"}
