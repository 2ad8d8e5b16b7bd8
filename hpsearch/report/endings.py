"""In words: how many trials did not end as trials should, where they lie, and how far they came."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from hpsearch.report.figures.labels import words
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count, number
from hpsearch.space import Dimension, Interval
from hpsearch.states import TrialState

# A group says something about a dimension if it keeps to such a part of all that was tried.
_TELLING = 0.5
_SAID = {
    TrialState.DIVERGED: "diverged: a loss or a weight was no longer finite",
    TrialState.DISCARDED: "stopped early: below the band that good trials keep to",
    TrialState.FAILED: "failed",
}


def endings(material: Material) -> list[str]:
    """A sentence for every way in which trials of the search ended without a score."""
    sentences = []
    for state, said in _SAID.items():
        group = [trial for trial in material.trials if trial.state == state]
        if group:
            parts = [f"{count(len(group), 'trial')} {said}", *_lengths(material, group)]
            parts += _places(material, group)
            sentences.append("; ".join(parts) + ".")
    return sentences or ["Every trial was trained to its end and has a score."]


def _lengths(material: Material, group: Sequence[Trial]) -> list[str]:
    """How far the trials came."""
    lengths = [trial.epochs[-1][0] if trial.epochs else 0 for trial in group]
    least, most = min(lengths), max(lengths)
    if most == 0:
        return ["before anything was measured"]
    if least == most:
        return [f"after {count(most, material.unit)}"]
    return [f"after {least} to {count(most, material.unit)}, half of them by {median(lengths):g}"]


def _places(material: Material, group: Sequence[Trial]) -> list[str]:
    """Ranges that the group keeps to, of dimensions of which that says something."""
    found = [
        said
        for dimension in material.spec.space.dimensions
        if isinstance(dimension.range, Interval)
        and (said := _place(dimension, dimension.range, material, group))
    ]
    return [f"all of them at {' and '.join(found)}"] if found else []


def _place(
    dimension: Dimension, interval: Interval, material: Material, group: Sequence[Trial]
) -> str | None:
    tried = [float(trial.values[dimension.name]) for trial in material.trials]
    mine = [float(trial.values[dimension.name]) for trial in group]
    low, high = interval.position(min(tried)), interval.position(max(tried))
    part = interval.position(max(mine)) - interval.position(min(mine))
    if high <= low or part / (high - low) > _TELLING:
        return None
    name = words(dimension.name)
    if min(mine) == max(mine):
        return f"{name} {number(min(mine))}"
    return f"{name} {number(min(mine))} .. {number(max(mine))}"
