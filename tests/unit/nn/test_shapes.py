"""Members that cannot be stacked: what the refusal says."""

import numpy as np
import pytest

from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

ROWS = Examples(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1]), 2)
CASES = {
    "hidden": ({"hidden": (4,)}, {"hidden": (5, 3)}, r"hidden = \(4,\) and \(5, 3\)"),
    "activation": ({"activation": "relu"}, {"activation": "tanh"}, "activation = relu and tanh"),
    "batch_norm": ({}, {"batch_norm": True}, "batch_norm = False and True"),
    "dropout": ({}, {"dropout": 0.5}, "dropout above 0 = False and True"),
    "output": ({}, {"output": "sigmoid"}, "output = softmax and sigmoid"),
    "length": ({"epochs": 3}, {"epochs": 4}, "length = 3 epochs and 4 epochs"),
    "batch_size": ({"batch_size": 2}, {"batch_size": "full"}, "batch_size = 2 and full"),
    "precision": ({}, {"precision": "float64"}, "precision = float32 and float64"),
    "metrics": ({}, {"training_metrics": "rows"}, "training_metrics = .* and rows"),
    "diagnose": ({}, {"diagnose": (1,)}, r"diagnose = \(\) and \(1,\)"),
}


def member(written):
    """A member with these settings."""
    model = {key: value for key, value in written.items() if key in ModelSpec.model_fields}
    rest = {key: value for key, value in written.items() if key not in model}
    return Member(TrialSettings(model=ModelSpec(**model), training=TrainingSpec(**rest)), 0)


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_named(case):
    """The refusal must name the setting that differs, its values, and nothing else."""
    one, other, named = CASES[case]
    with pytest.raises(ValueError, match=f"need one shape, got {named}$"):
        train([member(one), member(other)], ROWS, None)
