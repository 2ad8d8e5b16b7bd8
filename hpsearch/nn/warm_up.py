"""Compiling ahead: so that processes forked from this one find the kernels ready."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.examples import Examples
from hpsearch.nn.kernels import kernels_name
from hpsearch.nn.losses import LOSSES
from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.training import Member, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings


def load_kernels() -> None:
    """Train a few tiny networks that use every float32 kernel; nothing to do for NumPy's.

    The first time on a machine that compiles them (10 s of processor time, measured in 2026-11 on
    an AMD EPYC); afterwards they come from numba's cache (0.7 s, most of it numba's own import).

    Raises:
        UserError: If the kernels that are asked for are none, or not installed.
    """
    if kernels_name() == "numpy":
        return
    examples = Examples(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1]), 2)
    names = zip_longest(OPTIMIZERS, ACTIVATIONS, LOSSES)
    for optimizer, activation, output in names:
        settings = TrialSettings(
            model=ModelSpec(
                hidden=(2,), activation=activation or "relu", output=output or "softmax"
            ),
            training=TrainingSpec(optimizer=optimizer, epochs=1),
        )
        train([Member(settings, seed=0)], examples, examples)
