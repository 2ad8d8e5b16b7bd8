"""Training as the worker sees it: results, divergence, stopping, mistakes."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from hpsearch.errors import TrainingStoppedError
from hpsearch.nn.examples import Examples
from hpsearch.nn.layers import Layout
from hpsearch.nn.training import (
    Member,
    evaluate,
    population_size,
    predict,
    train,
)
from hpsearch.nn.warm_up import load_kernels
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")


def trial(hidden=(8,), model=None, **training):
    """Settings with a few values changed."""
    return TrialSettings(
        model=ModelSpec(hidden=hidden, **(model or {})),
        training=TrainingSpec(**({"epochs": 3, "batch_size": 10} | training)),
    )


def blobs(rows, seed=0, features=4, classes=3):
    """Rows around one centre per class."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, rows)
    x = draw.normal(size=(rows, features)) + 2 * np.eye(classes, features)[y]
    return Examples(x.astype(np.float32), y, classes)


@pytest.fixture(scope="module")
def digits():
    """The digits of scikit-learn, scaled to 0..1: training and validation rows."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    return Examples(x[:1300], y[:1300], 10), Examples(x[1300:], y[1300:], 10)


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "activation"),
    [
        ("sgd", 0.3, "relu"),
        ("momentum", 0.05, "leaky_relu"),
        ("nesterov", 0.05, "sigmoid"),
        ("adagrad", 0.05, "tanh"),
        ("rmsprop", 3e-3, "tanh"),
        ("adadelta", 1.0, "sigmoid"),
        ("adam", 3e-3, "leaky_relu"),
        ("adamw", 3e-3, "relu"),
    ],
)
def test_digits_are_learnt(digits, optimizer, learning_rate, activation):
    """Every optimizer, and every activation, must recognise nine digits in ten."""
    settings = trial(
        (50,),
        {"activation": activation, "initializer": "xavier"},
        optimizer=optimizer,
        learning_rate=learning_rate,
        epochs=15,
        batch_size=32,
    )
    (result,) = train([Member(settings, 1)], *digits)
    assert not result.diverged
    assert result.curve[max(result.curve)]["validation_accuracy"] > 0.9
    assert result.curve[max(result.curve)]["training_loss"] < result.curve[1]["training_loss"]


def test_curve_and_parameters():
    """A curve must have one entry of four plain floats per epoch, parameters must be a copy."""
    settings = trial()
    (result,) = train([Member(settings, 1)], blobs(35), blobs(20, 1))
    assert [list(entry) for entry in result.curve.values()] == [
        ["training_loss", "training_accuracy", "validation_loss", "validation_accuracy"]
    ] * 3
    assert all(
        type(number) is float for entry in result.curve.values() for number in entry.values()
    )
    assert result.parameters.shape == (Layout((4, 8, 3)).parameter_count,)
    assert result.parameters.dtype == np.float32
    assert result.parameters.base is None


def test_no_validation_rows():
    """Without validation rows a curve must hold training figures alone, the same ones."""
    training, member = blobs(35), Member(trial(), 1)
    (without,), (with_rows,) = train([member], training, None), train([member], training, blobs(9))
    assert [list(entry) for entry in without.curve.values()] == [
        ["training_loss", "training_accuracy"]
    ] * 3
    assert without.parameters.tobytes() == with_rows.parameters.tobytes()
    assert without.curve[3]["training_loss"] == with_rows.curve[3]["training_loss"]


def test_training_figures_are_means_over_rows():
    """Training loss and accuracy must weigh a partial batch by its rows, before its update."""
    training = blobs(23)
    settings = trial(optimizer="sgd", learning_rate=1e-30, epochs=1)
    (result,) = train([Member(settings, 1)], training, None)
    measured = evaluate(settings, result.parameters, training)
    assert result.curve[1]["training_loss"] == pytest.approx(measured["loss"], rel=1e-6)
    assert result.curve[1]["training_accuracy"] == pytest.approx(measured["accuracy"], rel=1e-12)


def test_l2_is_no_part_of_the_reported_loss():
    """The reported loss must be cross-entropy alone, however strong l2 is."""
    frozen = {"optimizer": "sgd", "learning_rate": 1e-30, "epochs": 1}
    plain, decayed = train(
        [Member(trial(**frozen), 1), Member(trial(l2=10.0, **frozen), 1)], blobs(30), None
    )
    assert plain.curve == decayed.curve


def test_last_partial_batch_is_used():
    """Two rows beyond the last full batch must be learnt from too."""
    rows = 12
    x = np.zeros((rows, rows), dtype=np.float32)
    np.fill_diagonal(x, 1)
    training = Examples(x, np.zeros(rows, dtype=np.int64), 2)
    settings = trial((), optimizer="sgd", learning_rate=0.1, epochs=1, batch_size=10)
    (before,) = train(
        [Member(trial((), optimizer="sgd", learning_rate=1e-30, epochs=1), 3)], training, None
    )
    (after,) = train([Member(settings, 3)], training, None)
    # Row i alone reaches weight row i: every one of them must have moved.
    moved = (after.parameters - before.parameters)[: rows * 2].reshape(rows, 2)
    assert (moved != 0).all()


def test_batch_larger_than_the_rows():
    """A batch size beyond the rows must mean all rows at once."""
    training = blobs(7)
    all_at_once = train([Member(trial(batch_size=7), 1)], training, None)
    beyond = train([Member(trial(batch_size=500), 1)], training, None)
    assert all_at_once[0].parameters.tobytes() == beyond[0].parameters.tobytes()


@pytest.mark.filterwarnings("error")
def test_diverging_member_leaves_alone():
    """A member that explodes must stop at that epoch with its loss as it was, without a word."""
    calm, wild = (
        trial(optimizer="sgd", learning_rate=0.1),
        trial(optimizer="sgd", learning_rate=1e6),
    )
    members = [Member(wild, 1), Member(calm, 1), Member(wild, 2), Member(calm, 2)]
    results = train(members, blobs(35), blobs(20, 1))
    assert [result.diverged for result in results] == [True, False, True, False]
    for result in results[::2]:
        assert len(result.curve) < 3
        *earlier, last = result.curve.values()
        assert not all(map(math.isfinite, last.values()))
        assert all(math.isfinite(number) for entry in earlier for number in entry.values())
    assert [len(result.curve) for result in results[1::2]] == [3, 3]
    (alone,) = train([members[3]], blobs(35), blobs(20, 1))
    assert alone.parameters.tobytes() == results[3].parameters.tobytes()


def test_everybody_diverges():
    """A population of which nobody is left must end, every member reported."""
    wild = trial(optimizer="sgd", learning_rate=1e6, epochs=1000)
    results = train([Member(wild, seed) for seed in range(3)], blobs(35), None)
    assert [result.diverged for result in results] == [True] * 3


def test_validation_loss_can_diverge():
    """A validation loss that is not finite must count as divergence."""
    x = np.full((2, 4), np.inf, dtype=np.float32)
    validation = Examples(x, np.zeros(2, dtype=np.int64), 3)
    (result,) = train([Member(trial(), 1)], blobs(20), validation)
    assert result.diverged
    assert len(result.curve) == 1
    assert math.isfinite(result.curve[1]["training_loss"])


def test_stop_at_an_epoch():
    """A stop must be asked for before every epoch, and raise."""
    answers = iter([False, False, True])
    with pytest.raises(TrainingStoppedError):
        train([Member(trial(epochs=100), 1)], blobs(20), None, lambda: next(answers))


def test_stop_within_a_long_epoch():
    """A stop must be noticed within two seconds, even in an epoch that takes much longer."""
    load_kernels()  # compiling them, the first time on a machine, is no part of an epoch
    training = blobs(400_000, features=3)
    asked_at = time.monotonic() + 0.2
    with pytest.raises(TrainingStoppedError):
        train(
            [Member(trial(batch_size=1, epochs=1), 1)],
            training,
            None,
            lambda: time.monotonic() > asked_at,
        )
    assert time.monotonic() - asked_at < 2


def test_read_only_rows(tmp_path):
    """Rows in a read-only memory map must train like rows in memory."""
    training = blobs(35)
    np.save(tmp_path / "x.npy", training.x)
    mapped = Examples(np.load(tmp_path / "x.npy", mmap_mode="r"), training.y, 3)
    (here,), (there,) = (train([Member(trial(), 1)], rows, rows) for rows in (training, mapped))
    assert here.parameters.tobytes() == there.parameters.tobytes()
    assert here.curve == there.curve


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"learning_rate": 0.5}, True),
        ({"l2": 0.5, "weight_decay": 0.1, "momentum": 0.2, "beta1": 0.3}, True),
        ({"model": {"initializer": "xavier"}}, True),
        ({"hidden": (8, 8)}, False),
        ({"model": {"activation": "tanh"}}, False),
        ({"optimizer": "sgd", "schedule": "cosine", "patience": 3}, True),
        ({"model": {"dropout": 0.1}}, False),
        ({"model": {"batch_norm": True}}, False),
        ({"precision": "float64"}, False),
        ({"epochs": 4}, False),
        ({"batch_size": 11}, False),
    ],
    ids=str,
)
def test_shape(change, same):
    """Sizes must separate populations; optimizers, rates, decays and scales must not."""
    assert (trial().shape == trial(**change).shape) is same


def test_different_shapes_are_refused():
    """Members that cannot be stacked must be refused before anything is trained."""
    with pytest.raises(ValueError, match="one shape"):
        train([Member(trial(), 1), Member(trial(epochs=9), 1)], blobs(20), None)


@pytest.mark.parametrize(
    ("members", "training", "validation", "complaint"),
    [
        (0, 20, 20, "members"),
        (1, 0, 20, "training"),
        (1, 20, 0, "validation"),
    ],
)
def test_nothing_to_train_is_refused(members, training, validation, complaint):
    """No members or no rows must be refused by name."""
    with pytest.raises(ValueError, match=complaint):
        train([Member(trial(), 1)] * members, blobs(training), blobs(validation))


def test_foreign_validation_rows_are_refused():
    """Validation rows of another shape or other classes must be refused."""
    for other in (blobs(20, features=5), blobs(20, classes=4)):
        with pytest.raises(ValueError, match="validation"):
            train([Member(trial(), 1)], blobs(20), other)


def test_foreign_parameters_are_refused():
    """Parameters must be refused with settings or rows they do not belong to."""
    settings, rows = trial(), blobs(20)
    (result,) = train([Member(settings, 1)], rows, None)
    with pytest.raises(ValueError, match="do not fit"):
        predict(settings, result.parameters[:-1], rows.x)
    with pytest.raises(ValueError, match="classes"):
        evaluate(settings, result.parameters, blobs(20, classes=4))
    with pytest.raises(ValueError, match="no rows"):
        evaluate(settings, result.parameters, blobs(0))


@pytest.mark.parametrize(
    ("hidden", "features", "classes", "training", "expected"),
    [
        ((5, 2), 2, 2, {"optimizer": "adam", "batch_size": 64}, 16),
        ((50,), 64, 10, {"optimizer": "adam", "batch_size": 32}, 16),
        ((), 784, 10, {"optimizer": "sgd", "batch_size": 100}, 16),
        ((100,) * 6, 784, 10, {"optimizer": "sgd", "batch_size": 100}, 1),
        ((100, 100), 784, 10, {"optimizer": "adam", "batch_size": 128}, 1),
        ((2000, 2000), 784, 10, {"optimizer": "adam", "batch_size": 128}, 1),
    ],
    ids=str,
)
def test_population_size(hidden, features, classes, training, expected):
    """Small networks must be stacked, networks that fill the cache alone must not."""
    assert population_size(trial(hidden, **training), features, classes) == expected


def test_population_size_follows_the_cache():
    """A larger cache must hold more members, within 1 and 16."""
    sizes = [population_size(trial((50,)), 64, 10, 2**power) for power in range(10, 30)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == 16
