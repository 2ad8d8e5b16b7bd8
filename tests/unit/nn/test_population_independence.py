"""A member's result has the same bits in any population, beside any neighbours, in any order."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.examples import Examples
from hpsearch.nn.layers import Layout
from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.population import Architecture, Population
from hpsearch.nn.training import Member, evaluate, predict, train
from hpsearch.settings import ModelSpec, Normal, TrainingSpec, TrialSettings

pytestmark = pytest.mark.usefixtures("each_kernels")

# Random populations a run tries with either kernels. CONTRIBUTING.md says when to try more.
EXAMPLES = int(os.environ.get("HPSEARCH_EXAMPLES", "60"))

WIDTHS = st.sampled_from([1, 2, 3, 8, 17, 33])
SIZES = st.sampled_from([1, 2, 3, 8])


def bits(result):
    """Everything a result says, byte by byte; JSON writes floats so that they read back equal."""
    diagnoses = {
        step: [layer.document() for layer in layers] for step, layers in result.diagnoses.items()
    }
    texts = json.dumps([result.diverged, result.curve, result.scored_at, diagnoses])
    return texts, result.parameters.tobytes()


def examples(draw, rows, features, classes):
    """Random rows of random classes."""
    x = draw.normal(size=(rows, features)).astype(np.float32)
    return Examples(x, draw.integers(0, classes, rows), classes)


@st.composite
def populations(draw):
    """Members of one random shape with their own rates and decays, and rows to train on."""
    hidden = tuple(draw(st.lists(WIDTHS, max_size=3)))
    activation = draw(st.sampled_from(list(ACTIVATIONS)))
    batch_norm = draw(st.booleans())
    dropping = draw(st.booleans())
    batch_size = draw(st.sampled_from([*([] if batch_norm else [1]), 2, 5, 16, 32, 100, "full"]))
    length = draw(
        st.sampled_from([{"epochs": 3, "diagnose": (0, 2)}, {"iterations": 7, "measure_every": 3}])
    )
    precision = draw(st.sampled_from(["float32", "float32", "float64"]))
    size = draw(SIZES)
    common = draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def member():
        # One in six explodes: with plain SGD, soon to infinity and beyond.
        rate = 1e6 if random.random() < 1 / 6 else 10 ** random.uniform(-4, -0.5)
        return Member(
            TrialSettings(
                model=ModelSpec(
                    hidden=hidden,
                    activation=activation,
                    initializer=("he", "glorot", Normal(normal=0.3))[random.integers(3)],
                    batch_norm=batch_norm,
                    dropout=random.uniform(0.01, 0.9) if dropping else 0.0,
                ),
                training=TrainingSpec(
                    optimizer=random.choice(list(OPTIMIZERS)),
                    batch_size=batch_size,
                    precision=precision,
                    learning_rate=rate,
                    l2=random.choice([0.0, 0.01]),
                    l1=random.choice([0.0, 0.01]),
                    linf=random.choice([0.0, 0.01]),
                    weight_decay=random.choice([0.0, 0.01]),
                    momentum=random.uniform(0, 0.99),
                    beta1=random.uniform(0, 0.99),
                    schedule=random.choice(["constant", "linear", "step", "cosine"]),
                    warmup=random.choice([0.0, 0.5]),
                    patience=random.choice([None, 1, 2]),
                    **length,
                ),
            ),
            seed=7 if common else int(random.integers(0, 3)),
        )

    features, classes = draw(st.sampled_from([1, 2, 5, 64])), draw(st.sampled_from([2, 3, 10]))
    rows = draw(st.sampled_from([7, 32, 70]))
    training = examples(random, rows, features, classes)
    validation = examples(random, 11, features, classes) if draw(st.booleans()) else None
    return [member() for _ in range(size)], training, validation, random.permutation(size)


@given(populations())
@settings(deadline=None, max_examples=EXAMPLES)
def test_members_train_as_if_alone(population):
    """Curves, divergence and parameters must be those of the member trained alone."""
    members, training, validation, permutation = population
    together = [bits(result) for result in train(members, training, validation)]
    alone = [bits(train([member], training, validation)[0]) for member in members]
    assert together == alone
    shuffled = train([members[index] for index in permutation], training, validation)
    assert [bits(result) for result in shuffled] == [together[index] for index in permutation]


@pytest.mark.parametrize(
    ("hidden", "optimizer"),
    [*[((50,), name) for name in OPTIMIZERS], ((), "adam"), ((100, 100), "adam")],
    ids=str,
)
def test_real_widths_train_as_if_alone(hidden, optimizer):
    """The same must hold at the widths of images, where matrix products take other paths."""
    draw = np.random.default_rng(0)
    training, validation = examples(draw, 300, 784, 10), examples(draw, 300, 784, 10)

    def member(rate, seed):
        spec = TrainingSpec(optimizer=optimizer, learning_rate=rate, epochs=2, batch_size=128)
        return Member(TrialSettings(model=ModelSpec(hidden=hidden), training=spec), seed)

    members = [member(1e-3, 1), member(1e6, 1), member(1e-2, 2)]
    together = [bits(result) for result in train(members, training, validation)]
    assert together == [bits(train([one], training, validation)[0]) for one in members]
    common = [member(1e-3, 1), member(1e-2, 1)]
    assert bits(train(common, training, validation)[0]) == together[0]


@given(populations())
@settings(deadline=None, max_examples=20)
def test_evaluation_agrees_with_training(population):
    """Evaluating stored parameters must repeat the scored validation figures bit for bit."""
    members, training, validation, _ = population
    validation = validation or training
    for member, result in zip(members, train(members, training, validation), strict=True):
        measured = evaluate(member.settings, result.parameters, validation)
        last = result.curve[result.scored_at]
        assert json.dumps(measured["loss"]) == json.dumps(last["validation_loss"])
        assert measured["accuracy"] == last["validation_accuracy"]
        classes = predict(member.settings, result.parameters, validation.x)
        assert np.mean(classes == validation.y) == pytest.approx(measured["accuracy"])


def test_selection_keeps_bits():
    """Dropping members must leave the parameters of the others as they are."""
    layout = Layout((4, 3, 2), batch_norm=True)
    draw = np.random.default_rng(0)
    parameters = draw.normal(size=(5, layout.parameter_count)).astype(np.float32)
    running = draw.normal(size=(5, layout.running_count)).astype(np.float32)
    population = Population(Architecture(layout), parameters.copy(), running.copy())
    population.select([3, 0])
    assert population.parameters.tobytes() == parameters[[3, 0]].tobytes()
    assert population.running.tobytes() == running[[3, 0]].tobytes()
    assert len(population) == 2
