"""Documents of studies as `trials --json` gives them, made up so that every number is known."""

import pytest

from hpsearch.report.figures.material import Material
from hpsearch.study import StudySpec

SEARCH = {
    "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
    "weight_decay": {"low": 1e-8, "high": 1e-4, "scale": "log"},
}


@pytest.fixture
def make_spec():
    """Builds a study; keyword arguments replace whole tables."""

    def make(**changes):
        document = {"name": "a", "space": SEARCH, "search": {"rounds": 1, "trials": 4}}
        return StudySpec.model_validate(document | changes)

    return make


@pytest.fixture
def make_trial():
    """Builds the document of a complete trial that was measured three times."""

    def make(number, values, **changes):
        epochs = [
            {
                "epoch": epoch,
                "metrics": {
                    "training_loss": 2.0 / epoch + number,
                    "training_accuracy": min(1.0, 0.3 * epoch),
                    "validation_loss": 2.5 / epoch,
                    "validation_accuracy": 0.2 * epoch,
                },
            }
            for epoch in (1, 2, 3)
        ]
        document = {
            "number": number,
            "purpose": "search",
            "round": 1,
            "state": "complete",
            "values": values,
            "score": 0.6,
            "loss": 0.8,
            "epochs": epochs,
        }
        return document | changes

    return make


@pytest.fixture
def make_search(make_spec, make_trial):
    """Builds the material of a search with so many trials; later ones score better."""

    def make(count, **changes):
        trials = [
            make_trial(n, {"learning_rate": 1e-3 + n * 1e-5, "weight_decay": 1e-6}, score=n / 1000)
            for n in range(count)
        ]
        tables = {"search": {"rounds": 1, "trials": count}} | changes
        return Material.of(make_spec(**tables), trials)

    return make


@pytest.fixture
def make_mixed(make_spec, make_trial):
    """Builds the material of a search over a choice and a range; later trials score better."""

    def make(count, **changes):
        space = {
            "activation": {"choices": ["relu", "tanh"]},
            "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
        }
        trials = [
            make_trial(
                n,
                {"activation": ("relu", "tanh")[n % 2], "learning_rate": 1e-3 + n * 1e-5},
                score=n / 1000,
            )
            for n in range(count)
        ]
        search = {"rounds": 1, "trials": count}
        return Material.of(make_spec(space=space, search=search, **changes), trials)

    return make


@pytest.fixture
def make_grid(make_spec, make_trial):
    """Builds the material of a study that tried every combination of two dimensions once."""

    def make(space=None, changed=None, **tables):
        space = space or {
            "learning_rate": {"choices": [0.1, 0.2, 0.3]},
            "batch_norm": {"choices": [True, False]},
        }
        (one, two), options = space, [table["choices"] for table in space.values()]
        pairs = [{one: first, two: second} for first in options[0] for second in options[1]]
        trials = [make_trial(n, v, **(changed or {}).get(n, {})) for n, v in enumerate(pairs)]
        spec = make_spec(space=space, search={"rounds": 1, "trials": len(pairs)}, **tables)
        return Material.of(spec, trials)

    return make


@pytest.fixture
def layer():
    """Builds one layer of a diagnosis."""

    def make(number, counts=(1, 2, 1), **changes):
        measured = {
            "layer": number,
            "activation": "sigmoid",
            "mean": 0.5,
            "std": 0.25,
            "histogram": {"low": 0.0, "high": 1.0, "counts": list(counts)},
            "dead": None,
            "saturated": 0.125,
            "gradient_norm": 0.1,
        }
        return measured | changes

    return make
