"""How long the trials of a study train: in [training], searched, or brought along by a choice."""

from __future__ import annotations

from hpsearch.report.numbers import count
from hpsearch.settings import Length
from hpsearch.space import Box
from hpsearch.study import StudySpec


def lengths(spec: StudySpec) -> list[Length]:
    """The different lengths at the ends of the space: of a range its shortest and longest."""
    first = {dimension.name: dimension.range.ends()[0] for dimension in spec.space.dimensions}
    deciding = tuple(d for d in spec.space.dimensions if d.sets("epochs", "iterations"))
    points = [first | values for values in Box(deciding).corners()] if deciding else [first]
    return list(dict.fromkeys(spec.settings(values).training.length for values in points))


def rounds_text(spec: StudySpec) -> str:
    """`3 rounds of 100 trials`; `at most` where the search may be over before."""
    rounds = f"{count(spec.rounds, 'round')} of {count(spec.trials, 'trial')}"
    return f"at most {rounds}" if spec.search.until == "converged" else rounds


def length_text(spec: StudySpec) -> str:
    """`10 epochs`, `20 to 40 iterations` where they differ, `10 epochs or 500 iterations`."""
    counts: dict[str, list[int]] = {}
    for length in lengths(spec):
        counts.setdefault(length.unit, []).append(length.count)
    return " or ".join(_stretch(min(found), max(found), unit) for unit, found in counts.items())


def units(spec: StudySpec) -> list[str]:
    """What the trials' curves are numbered in: "epoch", "iteration", or both."""
    return list(dict.fromkeys(length.unit for length in lengths(spec)))


def _stretch(shortest: int, longest: int, unit: str) -> str:
    return ("" if shortest == longest else f"{shortest} to ") + count(longest, unit)
