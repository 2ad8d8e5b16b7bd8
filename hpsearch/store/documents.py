"""How values, ranges and winners stand in JSON columns."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hpsearch.errors import DatabaseError
from hpsearch.search.control import Control
from hpsearch.search.discarding import Band
from hpsearch.search.narrowing import Model
from hpsearch.search.selection import Candidate, Difference, Winner
from hpsearch.space import Box, Range, Value, frozen, plain, range_from_document

# As much of an error as a person reads on one line.
_WORDS = 160


@contextmanager
def legible(study: str) -> Iterator[None]:
    """Turn what rows raise that no hpsearch has written into one line that names their study."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        said = textwrap.shorten(f"{type(error).__name__}: {error}", _WORDS)
        raise DatabaseError(
            f"{study}: one of its rows cannot be read ({said}); restore a copy of the database, or "
            "run the study again under another --name"
        ) from error


def values_text(values: Mapping[str, Value]) -> str:
    """Values in the order of the box."""
    return json.dumps({name: plain(value) for name, value in values.items()})


def values_from(text: str) -> dict[str, Value]:
    """The values whose text this is."""
    return {name: frozen(value) for name, value in json.loads(text).items()}


def box_text(box: Box) -> str:
    """All ranges of a round."""
    return json.dumps(box.document())


def box_from(text: str) -> Box:
    """The box whose text this is."""
    return Box.from_document(json.loads(text))


def model_text(model: Model) -> str:
    """The model of a round; floats read back as they were."""
    return json.dumps({"noise": model.noise, "parameters": list(model.parameters)})


def model_from(text: str) -> Model:
    """The model whose text this is."""
    document = json.loads(text)
    return Model(document["noise"], tuple(document["parameters"]))


def bands_text(bands: Sequence[Band]) -> str | None:
    """The bands of a round; NULL where there are none."""
    documents = [{"first": band.first, "points": band.points} for band in bands]
    return json.dumps(documents) if documents else None


def bands_from(text: str | None) -> tuple[Band, ...]:
    """The bands whose text this is."""
    documents = json.loads(text) if text else []
    return tuple(
        Band(d["first"], tuple((at, threshold) for at, threshold in d["points"])) for d in documents
    )


def range_text(range_: Range) -> str:
    """One range."""
    return json.dumps(range_.document())


def range_from(text: str) -> Range:
    """The range whose text this is."""
    return range_from_document(json.loads(text))


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Metrics of one epoch; JSON has no NaN, so what is not finite becomes null."""
    return json.dumps({k: v if math.isfinite(v) else None for k, v in metrics.items()})


def layers_text(layers: Sequence[Mapping[str, Any]]) -> str:
    """What was found in each layer; what is not finite becomes null, at any depth."""
    return json.dumps([_finite(layer) for layer in layers])


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def winner_text(winner: Winner, control: Control | None = None) -> str:
    """The winner and its ties, as `show --json` prints them, and what the control arm came to."""
    document = _winner(winner)
    return json.dumps(document if control is None else document | {"control": _control(control)})


def _winner(winner: Winner) -> dict[str, Any]:
    ties = {"ties": [_candidate(tie) for tie in winner.ties]}
    raced = {} if winner.raced is None else {"raced": _figures(winner.raced)}
    return _candidate(winner.candidate) | raced | ties


def _control(control: Control) -> dict[str, Any]:
    return {
        "winner": None if control.winner is None else _winner(control.winner),
        "difference": None if control.difference is None else _difference(control.difference),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    interval = None if difference.interval is None else list(difference.interval)
    return {"mean": difference.mean, "interval": interval, "seeds": difference.seeds}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "values": {name: plain(value) for name, value in candidate.values.items()},
        **_figures(candidate),
    }


def _figures(candidate: Candidate) -> dict[str, Any]:
    return {
        "score": candidate.score,
        "standard_error": candidate.standard_error,
        "seeds": candidate.seeds,
    }
