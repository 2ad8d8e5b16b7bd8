"""What to look at when a network does not learn: its layers on one batch, from outside.

Nothing here changes a member: the batch goes through copies, with the batch's own statistics
where it is normalised and without dropout.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.evaluation import Tally
from hpsearch.nn.population import Population, Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpsearch.nn.examples import Examples

# Rows that are looked at: the first ones of the training split, enough for a smooth histogram.
DIAGNOSED_ROWS = 1000
_BINS = 30
# What an activation cannot leave, where its histogram begins and ends.
_BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
# A unit this near to an end of its range passes at most a fifth of the largest gradient on.
_SATURATED_SHARE = 0.05


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer of one member on one batch.

    Attributes:
        layer: Its number, from 1; the last is the output, whose logits are looked at.
        activation: The activation whose outputs these are; None for logits.
        mean: Mean of all outputs.
        std: Their standard deviation.
        histogram: {"low", "high", "counts"}: outputs in 30 bins of equal width; where all are the
            same low is high, and all of them are in the first bin.
        dead: ReLU: share of units that are 0 for every row, and so learn nothing; else None.
        saturated: Sigmoid and tanh: share of outputs within 5 % of the range's ends; else None.
        gradient_norm: Euclidean norm of the loss's gradient with respect to the layer's weights.
    """

    layer: int
    activation: str | None
    mean: float
    std: float
    histogram: dict[str, Any]
    dead: float | None
    saturated: float | None
    gradient_norm: float

    def document(self) -> dict[str, Any]:
        """JSON form; numbers that are not finite are None."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def diagnose(population: Population, examples: Examples) -> list[list[LayerDiagnosis]]:
    """Look at every layer of every member.

    Args:
        population: The members; left as they are.
        examples: The training split; its first `DIAGNOSED_ROWS` rows are looked at.

    Returns:
        One list per member, one entry per layer.
    """
    copy = Population(
        population.architecture, population.parameters.copy(), population.running.copy()
    )
    outputs = _propagated(copy, examples)
    gradients = copy.architecture.layout.weights(copy.gradients)
    names = [*[copy.architecture.activation] * (len(outputs) - 1), None]
    layers = list(zip(range(1, len(outputs) + 1), names, outputs, gradients, strict=True))
    return [
        [_layer(number, name, out[member], slope[member]) for number, name, out, slope in layers]
        for member in range(len(copy))
    ]


def _propagated(population: Population, examples: Examples) -> list[NDArray[Any]]:
    """Outputs (members, rows, out) of every layer; the gradients stand in the population."""
    dtype = population.parameters.dtype
    inputs = np.asarray(examples.x[:DIAGNOSED_ROWS], dtype)[None]
    targets = np.asarray(examples.y[:DIAGNOSED_ROWS])[None]
    members, rows = len(population), inputs.shape[1]
    work = Workspace(members, rows, population.architecture, dtype)
    logits = population.forward_training(inputs, work)
    outputs = [array.copy() for array in (*work.hidden, logits)]
    Tally(members, rows, dtype).note(work, targets)
    work.loss.backward(work.logits)
    population.backward(inputs, work)
    return outputs


def _layer(
    number: int, activation: str | None, outputs: NDArray[Any], gradients: NDArray[Any]
) -> LayerDiagnosis:
    """One layer of one member: outputs (rows, out), gradients of its weights (in, out)."""
    values = outputs.astype(np.float64)
    return LayerDiagnosis(
        layer=number,
        activation=activation,
        mean=float(values.mean()),
        std=float(values.std()),
        histogram=_histogram(values[np.isfinite(values)], activation),
        dead=float((values == 0).all(axis=0).mean()) if activation == "relu" else None,
        saturated=_saturated(values, activation),
        gradient_norm=float(np.linalg.norm(gradients.astype(np.float64))),
    )


def _histogram(values: NDArray[np.float64], activation: str | None) -> dict[str, Any]:
    low, high = _BOUNDS.get(activation or "", (None, None))
    if low is None or high is None:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    edges = np.linspace(low, high, _BINS + 1)
    if (np.diff(edges) > 0).all():
        counts, _ = np.histogram(values, bins=edges)
        return {"low": low, "high": high, "counts": counts.tolist()}
    # One value, or values so near each other (or so far apart) that no number lies between: NumPy
    # would invent a width, which a picture would then show, or refuse.
    return {"low": low, "high": high, "counts": [values.size] + [0] * (_BINS - 1)}


def _saturated(values: NDArray[np.float64], activation: str | None) -> float | None:
    if activation not in _BOUNDS:
        return None
    low, high = _BOUNDS[activation]
    margin = _SATURATED_SHARE * (high - low)
    return float(((values < low + margin) | (values > high - margin)).mean())
