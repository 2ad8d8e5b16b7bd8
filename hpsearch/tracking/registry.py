"""The tested network as a model of MLflow's, registered under the study's name."""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.model import TrainedModel
from hpsearch.report.numbers import score, shown_values
from hpsearch.tracking.content import ORIGIN_TAG, text
from hpsearch.tracking.served_model import FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

JSON = dict[str, Any]
# The folder of the models among the run's artifacts, one for each opening.
_FOLDER = "model"
_OPENING_TAG = "hpsearch.opening"
_LOADER = "hpsearch.tracking.served_model"


def register(
    client: MlflowClient, run_id: str, origin: str, study: JSON, opening: int, content: bytes
) -> None:
    """Make a version of the model, unless there is one of this opening.

    Args:
        client: MLflow's client.
        run_id: The study's own run, whose artifact the model is.
        origin: Tells this study from others of the same name.
        study: The document of `show --json`.
        opening: Which opening of the test split tested the network.
        content: The network, as `TrainedModel.to_bytes()`.
    """
    name = study["study"]
    _ensure(client, name)
    mine = {ORIGIN_TAG: origin, _OPENING_TAG: str(opening)}
    known = client.search_model_versions(f"name='{name}'")
    if any(v.run_id == run_id and mine.items() <= v.tags.items() for v in known):
        return
    where = f"{_FOLDER}/{opening}"
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as home:
        folder = Path(home) / _FOLDER
        _save(content, Path(home) / FILE, folder)
        client.log_artifacts(run_id, str(folder), where)
    client.create_model_version(
        name,
        f"runs:/{run_id}/{where}",
        run_id,
        tags=mine | _figures(study),
        description=_description(study),
    )


def _ensure(client: MlflowClient, name: str) -> None:
    """The registered model of this name, made if there is none."""
    if not client.search_registered_models(f"name='{name}'"):
        said = f"Networks that `hpsearch start {name}` has found, trained and tested."
        client.create_registered_model(name, description=said)


def _save(content: bytes, file: Path, folder: Path) -> None:
    """A model in MLflow's form: loaded by our code, not unpickled."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    file.write_bytes(content)
    trained = TrainedModel.from_bytes(content)
    rows = TensorSpec(np.dtype("float64"), (-1, trained.features))
    classes = TensorSpec(np.dtype("int64"), (-1,))
    pyfunc.save_model(
        folder,
        loader_module=_LOADER,
        data_path=str(file),
        signature=ModelSignature(Schema([rows]), Schema([classes])),
        input_example=trained.example,
        pip_requirements=[f"{p}=={metadata.version(p)}" for p in ("hpsearch", "numpy")],
    )


def _figures(study: JSON) -> dict[str, str]:
    """What a version's tags say of it."""
    test, winner = study["test"], study["winner"]
    tags = {"test_accuracy": text(test["score"]), "test_interval": text(test["interval"])}
    if winner and not test.get("earlier_winner"):
        tags |= {"winner_score": text(winner["score"]), "winner_seeds": text(winner["seeds"])}
    return tags


def _description(study: JSON) -> str:
    test, winner = study["test"], study["winner"]
    low, high = test["interval"]
    parts = [f"{shown_values(test['values'])}."]
    if winner and not test.get("earlier_winner"):
        parts.append(f"Validation accuracy {score(winner['score'])} over fresh seeds.")
    parts.append(
        f"Test accuracy {score(test['score'])} [{score(low)}, {score(high)}]; this network is the "
        f"first of {test.get('trainings', 1)} trainings."
    )
    return " ".join(parts)
