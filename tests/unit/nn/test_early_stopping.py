"""Early stopping: when a member stops, and which of its weights remain."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.nn.early_stopping import EarlyStopping
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, evaluate, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")


def noted(patience, *figures):
    """The watch after measurements (accuracy, loss) at steps 1, 2, ..."""
    stopping = EarlyStopping(patience)
    for step, (accuracy, loss) in enumerate(figures, start=1):
        metrics = {"validation_accuracy": accuracy, "validation_loss": loss}
        stopping.note(step, metrics, lambda step=step: np.array([step]))
    return stopping


def test_patience_counts_measurements_in_a_row():
    """A member must stop after as many measurements in a row without a better one, not sooner."""
    assert not noted(2, (0.5, 1.0), (0.4, 1.0)).stops
    assert noted(2, (0.5, 1.0), (0.4, 1.0), (0.4, 0.9)).stops
    assert not noted(2, (0.5, 1.0), (0.4, 1.0), (0.6, 1.0), (0.5, 1.0)).stops


def test_better_is_what_ranks_trials():
    """A higher accuracy must win, among equal ones the lower loss, among equal losses the first."""
    assert noted(9, (0.5, 1.0), (0.6, 2.0), (0.6, 1.5), (0.6, 1.5)).best_step == 3
    assert noted(9, (0.5, 1.0), (0.6, 2.0), (0.6, 1.5), (0.6, 1.5)).best_numbers.tolist() == [3]


def test_nothing_measured():
    """Asking for the best of nothing must be refused."""
    with pytest.raises(ValueError, match="nothing has been measured"):
        _ = EarlyStopping(1).best_numbers


def overfitting(patience):
    """Few rows with random labels: training improves for ever, validation does not."""
    draw = np.random.default_rng(0)
    training, validation = (
        Examples(draw.normal(size=(rows, 5)).astype(np.float32), draw.integers(0, 2, rows), 2)
        for rows in (30, 200)
    )
    settings = TrialSettings(
        model=ModelSpec(hidden=(20,), batch_norm=True),
        training=TrainingSpec(epochs=60, batch_size=10, learning_rate=0.01, patience=patience),
    )
    (result,) = train([Member(settings, 1)], training, validation)
    return result, evaluate(settings, result.parameters, validation)


@pytest.mark.parametrize("patience", [3, 1000])
def test_the_best_weights_are_restored(patience):
    """The parameters must be those of the best measurement, patience run out or not."""
    result, measured = overfitting(patience)
    ranks = {
        step: (metrics["validation_accuracy"], -metrics["validation_loss"], -step)
        for step, metrics in result.curve.items()
    }
    assert result.scored_at == max(ranks, key=ranks.get) < max(result.curve)
    assert measured["loss"] == result.curve[result.scored_at]["validation_loss"]
    assert measured["accuracy"] == result.curve[result.scored_at]["validation_accuracy"]
    assert max(result.curve) == (60 if patience == 1000 else result.scored_at + 3)


def test_without_validation_rows_nothing_stops_early():
    """A training without validation rows must run to its end, whatever the patience."""
    draw = np.random.default_rng(0)
    rows = Examples(draw.normal(size=(30, 5)).astype(np.float32), draw.integers(0, 2, 30), 2)
    settings = TrialSettings(model=ModelSpec(), training=TrainingSpec(epochs=5, patience=1))
    (result,) = train([Member(settings, 1)], rows, None)
    assert list(result.curve) == [1, 2, 3, 4, 5]
    assert result.scored_at == 5
