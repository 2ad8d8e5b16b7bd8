"""The registered model as MLflow's own commands use it, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpsearch.model import TrainedModel
from hpsearch.store.database import open_database
from hpsearch.store.openings import final_model
from hpsearch.store.studies import load_study
from tests.acceptance.conftest import Command


@pytest.fixture
def model(small: Command) -> TrainedModel:
    """The network that the small study has tested."""
    database = open_database(f"sqlite:///{small.folder}/hpsearch.db")
    found = final_model(database, load_study(database, "small").id)
    database.close()
    assert found is not None
    return TrainedModel.from_bytes(found[1])


def test_mlflow_predicts_what_the_network_does(small: Command, model: TrainedModel) -> None:
    """`mlflow models predict --env-manager local` gives the same classes for 100 rows."""
    # MLflow remembers a registry by its address, which is the same in every test's folder.
    assert small.apart("sync", "small").returncode == 0
    rows = np.random.default_rng(1).normal(size=(100, model.features))
    asked, answered = small.folder / "in.json", small.folder / "out.json"
    asked.write_text(json.dumps({"inputs": rows.tolist()}))
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "predict"]
    command += ["--env-manager", "local", "--model-uri", "models:/small/1"]
    command += ["--content-type", "json", "-i", str(asked), "-o", str(answered)]
    done = subprocess.run(
        command,
        cwd=small.folder,
        env=os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(answered.read_text())["predictions"] == model.predict(rows).tolist()
