"""How many trials a worker trains side by side."""

import numpy as np
import pytest

from hpsearch.nn.examples import Examples
from hpsearch.objective import PopulationObjective
from hpsearch.study import StudySpec


class FakePrepared:
    """Prepared data of 100 blank images."""

    def training(self):
        return Examples(np.zeros((100, 784), np.float32), np.zeros(100, np.int64), 10)

    def validation(self):
        return None


@pytest.mark.parametrize(("seeds", "members"), [("common", 16), ("fresh", 4)])
def test_rows_of_their_own_make_smaller_populations(seeds, members):
    """Trials with fresh seeds see rows of their own, which must count towards the cache."""
    document = {
        "name": "sized",
        "model": {"hidden": []},
        "training": {"optimizer": "adam", "batch_size": 100},
        "space": {"learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"}},
        "search": {"seeds": seeds},
    }
    objective = PopulationObjective(StudySpec.model_validate(document), FakePrepared())
    assert objective.population == members
