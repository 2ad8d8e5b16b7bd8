"""Training for epochs or iterations, in float32 or float64, on batches of any size."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.nn.draws import Seed
from hpsearch.nn.examples import Examples
from hpsearch.nn.minibatches import Minibatches
from hpsearch.nn.training import Member, evaluate, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")

DRAW = np.random.default_rng(0)
ROWS = Examples(DRAW.normal(size=(23, 4)).astype(np.float32), DRAW.integers(0, 3, 23), 3)


def trained(validation=ROWS, model=None, **training):
    """One member's result, and its settings."""
    settings = TrialSettings(
        model=ModelSpec(hidden=(6,), **(model or {})),
        training=TrainingSpec(**({"batch_size": 5, "optimizer": "sgd"} | training)),
    )
    (result,) = train([Member(settings, 1)], ROWS, validation)
    return result, settings


def test_iterations_are_updates():
    """Three epochs of five batches and fifteen iterations must be one training, bit for bit."""
    epochs, iterations = trained(epochs=3)[0], trained(iterations=15, measure_every=5)[0]
    assert list(epochs.curve) == [1, 2, 3]
    assert list(iterations.curve) == [5, 10, 15]
    assert list(epochs.curve.values()) == list(iterations.curve.values())
    assert epochs.parameters.tobytes() == iterations.parameters.tobytes()


def test_the_last_iteration_is_measured():
    """An end that is no multiple of measure_every must be measured too, over its own rows."""
    result, settings = trained(iterations=7, measure_every=3, learning_rate=1e-30)
    assert list(result.curve) == [3, 6, 7]
    assert result.scored_at == 7
    # The seventh batch alone: the second of the second epoch, five rows. Nothing moves at this
    # rate, so that they can be measured afterwards.
    batches = Minibatches([Seed(1)], ROWS.y, 5)
    *_, (rows, _) = (batches.next() for _ in range(7))
    seventh = evaluate(settings, result.parameters, Examples(ROWS.x[rows[0]], ROWS.y[rows[0]], 3))
    assert rows.shape == (1, 5)
    assert result.curve[7]["training_loss"] == pytest.approx(seventh["loss"], rel=1e-6)
    assert result.curve[7]["training_accuracy"] == seventh["accuracy"]
    measured = evaluate(settings, result.parameters, ROWS)
    assert result.curve[7]["validation_loss"] == measured["loss"]


def test_no_epochs_measure_the_start():
    """Zero epochs must measure the untrained network on both splits, as step 0."""
    result, settings = trained(epochs=0)
    measured = evaluate(settings, result.parameters, ROWS)
    assert result.curve == {
        0: {
            "training_loss": measured["loss"],
            "training_accuracy": measured["accuracy"],
            "validation_loss": measured["loss"],
            "validation_accuracy": measured["accuracy"],
        }
    }


def test_full_batch_is_all_rows():
    """batch_size = "full" must be a batch of all rows."""
    full, same = trained(epochs=2, batch_size="full")[0], trained(epochs=2, batch_size=23)[0]
    assert full.parameters.tobytes() == same.parameters.tobytes()


@pytest.mark.parametrize("batch_size", [1, 5, "full"])
def test_precisions_agree(batch_size):
    """float64 must start where float32 does, and stay within its rounding over a few steps."""
    single, double = (
        trained(epochs=2, batch_size=batch_size, precision=precision, model={"activation": "tanh"})
        for precision in ("float32", "float64")
    )
    assert single[0].parameters.dtype == np.float32
    assert double[0].parameters.dtype == np.float64
    np.testing.assert_allclose(single[0].parameters, double[0].parameters, rtol=1e-4, atol=1e-6)
    measured = evaluate(double[1], double[0].parameters, ROWS)
    assert measured["loss"] == double[0].curve[2]["validation_loss"]


def test_dropout_is_off_in_evaluation():
    """Validation figures must be those of the whole network, training figures of the thinned."""
    result, settings = trained(epochs=0, model={"dropout": 0.5})
    whole = evaluate(settings, result.parameters, ROWS)
    thinned, _ = trained(epochs=1, learning_rate=1e-30, model={"dropout": 0.5})
    assert thinned.curve[1]["validation_loss"] == whole["loss"]
    assert thinned.curve[1]["training_loss"] != pytest.approx(whole["loss"], rel=1e-3)


def test_batch_norm_evaluates_with_running_statistics():
    """A row's class must not depend on the rows it is evaluated with."""
    result, settings = trained(epochs=5, model={"batch_norm": True})
    whole = evaluate(settings, result.parameters, ROWS)["accuracy"]
    alone = [
        evaluate(settings, result.parameters, Examples(ROWS.x[i : i + 1], ROWS.y[i : i + 1], 3))
        for i in range(len(ROWS))
    ]
    assert np.mean([row["accuracy"] for row in alone]) == pytest.approx(whole)


def test_sigmoid_output_learns_two_classes():
    """One sigmoid must tell two classes apart, and refuse three."""
    rows = Examples(ROWS.x, (ROWS.x[:, 0] > 0).astype(np.int64), 2)
    settings = TrialSettings(
        model=ModelSpec(hidden=(6,), output="sigmoid"),
        training=TrainingSpec(epochs=100, batch_size=5, learning_rate=0.05),
    )
    (result,) = train([Member(settings, 1)], rows, rows)
    assert result.curve[100]["validation_accuracy"] == 1
    with pytest.raises(ValueError, match="two classes"):
        train([Member(settings, 1)], ROWS, ROWS)


def test_training_rows_can_be_measured_as_they_are():
    """With training_metrics = "rows" training figures must be those of the whole network."""
    model = {"dropout": 0.5, "batch_norm": True}
    result, settings = trained(epochs=3, training_metrics="rows", model=model)
    seen, _ = trained(epochs=3, model=model)
    for metrics in result.curve.values():
        assert metrics["training_loss"] == metrics["validation_loss"]
        assert metrics["training_accuracy"] == metrics["validation_accuracy"]
    assert evaluate(settings, result.parameters, ROWS)["loss"] == result.curve[3]["training_loss"]
    assert seen.parameters.tobytes() == result.parameters.tobytes()
    assert seen.curve[3]["training_loss"] != result.curve[3]["training_loss"]


@pytest.mark.parametrize("rows", [7, 32, 33, 100])
@pytest.mark.parametrize("batch_size", [1, 32, 50, "full"])
def test_updates_are_counted_as_they_are_made(rows, batch_size):
    """An epoch has as many updates as minibatches, the last partial one included."""
    size = rows if batch_size == "full" else min(batch_size, rows)
    batches = Minibatches([Seed(1)], np.zeros(rows, np.int64), size)
    assert TrainingSpec(batch_size=batch_size).updates_per_step(rows) == batches.per_epoch
    iterations = TrainingSpec(iterations=9, batch_size=batch_size)
    assert iterations.updates_per_step(rows) == 1
