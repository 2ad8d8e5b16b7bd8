"""A study's network as MLflow loads and serves it, which finds this module by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.model import TrainedModel

FILE = "model.npz"


class ServedModel:
    """What MLflow asks for predictions.

    Args:
        model: The network.
    """

    def __init__(self, model: TrainedModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.int64]:
        """Class of every row, (n,) int64; rows are an array or a table of numbers."""
        del params
        return self._model.predict(np.asarray(model_input, np.float64)).astype(np.int64)


def _load_pyfunc(path: str) -> ServedModel:
    """What MLflow calls, with the folder or the file that was kept with the model."""
    found = Path(path)
    file = found / FILE if found.is_dir() else found
    return ServedModel(TrainedModel.from_bytes(file.read_bytes()))
