"""A trained network with all it takes to use it."""

import io
import zipfile

import numpy as np
import pytest

from hpsearch.data.scaling import Scaling
from hpsearch.errors import DataError
from hpsearch.model import TrainedModel
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, predict, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

SETTINGS = TrialSettings(
    model=ModelSpec(hidden=(4,), batch_norm=True), training=TrainingSpec(epochs=3)
)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(3.0, 2.0, size=(60, 3))


@pytest.fixture
def model(rows):
    """A network trained on scaled rows."""
    scaling = Scaling("standard", (3.0, 3.0, 3.0), (2.0, 2.0, 2.0))
    labels = (rows[:, 0] > 3).astype(np.int64)
    examples = Examples(scaling.apply(rows), labels, 2)
    (member,) = train([Member(SETTINGS, 1)], examples, None)
    return TrainedModel(SETTINGS, member.parameters, scaling, 3, 2, rows[:2])


def test_it_predicts_rows_as_they_come_from_their_source(model, rows):
    """Scaled as the training rows were, then classified as the network does."""
    scaled = model.scaling.apply(rows)
    assert model.predict(rows).tolist() == predict(SETTINGS, model.parameters, scaled).tolist()


def test_it_reads_back_from_its_bytes(model, rows):
    """Settings, scaling and every parameter; equal models give equal bytes."""
    again = TrainedModel.from_bytes(model.to_bytes())
    assert (again.settings, again.scaling) == (model.settings, model.scaling)
    np.testing.assert_array_equal(again.parameters, model.parameters)
    assert again.predict(rows).tolist() == model.predict(rows).tolist()
    assert again.to_bytes() == model.to_bytes()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([[0.0] * 4] * 2, "rows of 3 numbers"),
        ([0.0] * 3, "rows of 3 numbers"),
        ([[0.0, 0.0, float("nan")]], "finite"),
        ([["a", "b", "c"]], "finite"),
    ],
)
def test_rows_that_are_none_are_refused(model, wrong, words):
    """One line instead of a prediction."""
    with pytest.raises(DataError, match=words):
        model.predict(wrong)


def with_a_pickle():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.json", "{}")
        content = io.BytesIO()
        np.save(content, np.array([{}], dtype=object), allow_pickle=True)
        archive.writestr("parameters.npy", content.getvalue())
        archive.writestr("example.npy", content.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK", with_a_pickle()], ids=["empty", "cut", "pickle"])
def test_what_is_no_model_is_refused(content):
    """Whatever lies there, nothing of it is run."""
    with pytest.raises(DataError, match="no model"):
        TrainedModel.from_bytes(content)
