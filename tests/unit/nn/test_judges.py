"""Judges: a member may be stopped after a measurement, and nothing else changes by it."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")

EPOCHS = 6


def rows(count=40):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(count, 5)).astype(np.float32)
    return Examples(x, (x[:, 0] > 0).astype(np.int64), 2)


def settings(rate=0.01, optimizer="adam", **training):
    return TrialSettings(
        model=ModelSpec(hidden=(6,)),
        training=TrainingSpec(
            epochs=EPOCHS, batch_size=8, learning_rate=rate, optimizer=optimizer, **training
        ),
    )


def after(last):
    """A judge that stops a member after this measurement."""
    return lambda step, _metrics: step >= last


def trained(*members):
    return train(members, rows(), rows(30))


def test_a_stopped_member_keeps_what_was_measured():
    """Its curve must be the beginning of what it would have been, and the rest untouched."""
    whole, other = trained(Member(settings(), 1), Member(settings(0.1), 1))
    stopped, beside = trained(Member(settings(), 1, after(2)), Member(settings(0.1), 1))
    assert stopped.stopped
    assert not beside.stopped
    assert stopped.curve == {step: whole.curve[step] for step in (1, 2)}
    assert stopped.scored_at == 2
    assert beside.curve == other.curve
    assert beside.parameters.tobytes() == other.parameters.tobytes()


def test_the_bits_do_not_depend_on_the_population():
    """Members that leave at different times must be what each is alone, whatever its optimizer."""
    members = [
        Member(settings(10.0 ** -(index % 3 + 1), ("adam", "sgd")[index % 2]), 1, after(1 + index))
        for index in range(8)
    ]
    together = trained(*members)
    for member, result in zip(members, together, strict=True):
        (alone,) = trained(member)
        assert (alone.stopped, alone.curve) == (result.stopped, result.curve)
        assert alone.parameters.tobytes() == result.parameters.tobytes()


def test_the_last_measurement_is_never_judged():
    """A member that has come to its end is complete: there is nothing to be saved."""
    asked = []
    judge = lambda step, _metrics: bool(asked.append(step))  # noqa: E731
    (result,) = trained(Member(settings(), 1, judge))
    assert asked == [1, 2, 3, 4, 5]
    (at_the_end,) = trained(Member(settings(), 1, after(EPOCHS)))
    assert not result.stopped
    assert not at_the_end.stopped


def test_a_diverged_member_is_not_judged():
    """Divergence is a result of its own."""
    (result,) = trained(Member(settings(1e30, "sgd"), 1, after(1)))
    assert result.diverged
    assert not result.stopped


def test_patience_that_runs_out_comes_first():
    """A member that stops by itself has a score, whatever its judge would have said."""
    (by_itself,) = trained(Member(settings(1e-30, patience=1), 1, after(2)))
    (judged,) = trained(Member(settings(1e-30, patience=3), 1, after(2)))
    assert (by_itself.stopped, max(by_itself.curve)) == (False, 2)
    assert (judged.stopped, max(judged.curve)) == (True, 2)


def test_early_stopping_does_not_restore_a_stopped_member():
    """What is left of it are its last numbers: it has no score that others would belong to."""
    (result,) = trained(Member(settings(0.5, "sgd", patience=5), 1, after(3)))
    assert result.stopped
    assert result.scored_at == 3
