"""The settings of a network: what one trial trains with, [model] and [training] of the study file.

All of `nn` goes by these alone; which of them are searched is the study's business.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hpsearch.keys import BatchSize, Count, CountFromZero, Number, Table, a_number

# How often a training given in iterations is measured where the file does not say.
_MEASUREMENTS = 50


class Normal(Table):
    """`initializer = { normal = STD }`: weights from a normal distribution."""

    normal: Annotated[Number, Field(gt=0)]


class Constant(Table):
    """`initializer = { constant = VALUE }`: every weight the same, to show why that fails."""

    constant: Number


Initializer = Literal["he", "xavier", "glorot"] | Normal | Constant


class ModelSpec(Table):
    """[model]: the network between the inputs and the classes."""

    hidden: tuple[Count, ...] = (50,)
    activation: Literal["relu", "leaky_relu", "sigmoid", "tanh"] = "relu"
    initializer: Initializer = "he"
    batch_norm: bool = False
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    output: Literal["softmax", "sigmoid"] = "softmax"


_OWN_VALUES: Mapping[str, Mapping[str, float]] = {
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-7},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-8},
    "adadelta": {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6},
    "adam": {"epsilon": 1e-8},
    "adamw": {"weight_decay": 1e-2, "epsilon": 1e-8},
}


# Keys that only some values of another key make use of.
READ_BY: Mapping[str, tuple[str, frozenset[str]]] = {
    "momentum": ("optimizer", frozenset({"momentum", "nesterov"})),
    "dampening": ("optimizer", frozenset({"momentum"})),
    "beta1": ("optimizer", frozenset({"adam", "adamw"})),
    "beta2": ("optimizer", frozenset({"adam", "adamw"})),
    "rho": ("optimizer", frozenset({"rmsprop", "adadelta"})),
    "epsilon": ("optimizer", frozenset({"adagrad", "rmsprop", "adadelta", "adam", "adamw"})),
    "schedule_end": ("schedule", frozenset({"linear", "cosine"})),
    "step_every": ("schedule", frozenset({"step"})),
    "step_factor": ("schedule", frozenset({"step"})),
}


def own_values(optimizer: str) -> dict[str, float]:
    """What stands for the values of [training] that a file leaves open, by optimizer."""
    return {"learning_rate": 1e-3, "weight_decay": 0.0, **_OWN_VALUES.get(optimizer, {})}


class Draws(Table):
    """`draws = { weights = S, batches = S }`: as published code draws with NumPy's RandomState.

    Initial weights come from RandomState(weights), the order of epoch e = 0, 1, ... from
    RandomState(batches + e); the trial's own seed is then of no consequence.
    """

    weights: Annotated[int, BeforeValidator(a_number), Field(ge=0, lt=2**31)]
    batches: Annotated[int, BeforeValidator(a_number), Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class Length:
    """How long a network trains, and how often it is measured.

    Attributes:
        count: Epochs or iterations; 0 measures the untrained network.
        unit: What is counted; curves are numbered in it, from 1 (0 for the untrained network).
        every: Units between two measurements; the last unit is always measured.
    """

    count: int
    unit: Literal["epoch", "iteration"]
    every: int = 1

    @property
    def steps(self) -> list[int]:
        """Numbers of the measurements: every, 2 every, ..., count; [0] when nothing is trained."""
        return sorted({*range(self.every, self.count + 1, self.every), self.count})

    def __str__(self) -> str:
        often = f", measured every {self.every}" if self.every > 1 else ""
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}{often}"


class TrainingSpec(Table):
    """[training]: how a network is trained. Rates are per update, decay is decoupled.

    What is None stands for what the optimizer's paper or its common use says.
    """

    optimizer: Literal[
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw"
    ] = "adam"
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    weight_decay: Annotated[Number, Field(ge=0)] | None = None
    l2: Annotated[Number, Field(ge=0)] = 0.0
    l1: Annotated[Number, Field(ge=0)] = 0.0
    linf: Annotated[Number, Field(ge=0)] = 0.0
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    dampening: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    rho: Annotated[Number, Field(ge=0, lt=1)] | None = None
    epsilon: Annotated[Number, Field(gt=0)] | None = None
    schedule: Literal["constant", "linear", "step", "cosine"] = "constant"
    schedule_end: Annotated[Number, Field(ge=0, le=1)] = 0.01
    step_every: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    step_factor: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    epochs: CountFromZero | None = None
    iterations: CountFromZero | None = None
    measure_every: Count | None = None
    batch_size: BatchSize = 32
    training_metrics: Literal["batches", "rows"] = "batches"
    patience: Count | None = None
    precision: Literal["float32", "float64"] = "float32"
    draws: Draws | None = None
    diagnose: tuple[CountFromZero, ...] = ()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("write epochs or iterations, not both")
        if self.measure_every is not None and self.iterations is None:
            raise ValueError("measure_every counts iterations: write iterations instead of epochs")
        return self

    def updates_per_step(self, rows: int) -> int:
        """Updates of an epoch on so many training rows; of an iteration, one."""
        if self.length.unit == "iteration":
            return 1
        return 1 if self.batch_size == "full" else math.ceil(rows / self.batch_size)

    @property
    def length(self) -> Length:
        """How long to train: what the file says, or 10 epochs."""
        if self.iterations is not None:
            every = self.measure_every or max(1, self.iterations // _MEASUREMENTS)
            return Length(self.iterations, "iteration", every)
        return Length(10 if self.epochs is None else self.epochs, "epoch")


class TrialSettings(Table):
    """Everything one trial trains with: the file's values with its own put in."""

    model: ModelSpec
    training: TrainingSpec

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        if self.model.batch_norm and self.training.batch_size == 1:
            raise ValueError("batch_norm needs batches of 2 rows or more, got batch_size = 1")
        return self

    @property
    def shape(self) -> tuple[Hashable, ...]:
        """Trials of equal shapes can be stacked: their arrays are as large and as many.

        Optimizers, rates, decays, scales and patience may differ.
        """
        return tuple(self.shaping.values())

    @property
    def shaping(self) -> dict[str, Hashable]:
        """What the shape is made of, by name; stored digests depend on values and order."""
        model, training = self.model, self.training
        return {
            "hidden": model.hidden,
            "activation": model.activation,
            "batch_norm": model.batch_norm,
            "dropout above 0": model.dropout > 0,
            "output": model.output,
            "length": training.length,
            "batch_size": training.batch_size,
            "precision": training.precision,
            "training_metrics": training.training_metrics,
            "diagnose": training.diagnose,
        }

    @property
    def shape_digest(self) -> str:
        """16 characters that stand for the shape, where it is stored."""
        return hashlib.sha256(repr(self.shape).encode()).hexdigest()[:16]
