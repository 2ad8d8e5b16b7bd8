"""Trials by the value of one dimension, in the order the study file declares the values."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.lines import Line2D

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import OTHERS
from hpsearch.report.figures.labels import label_of, options_of, same, value_label
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count

# More curves than this cannot be told apart: then the best few have a colour, the others none.
MOST_NAMED, BEST_NAMED = 12, 5


def by_value(material: Material, dimension: str) -> dict[str, list[Trial]]:
    """Trials by the label of their value; a value without a finished trial is left out.

    Raises:
        CannotDrawError: If the dimension has no choices, or no trial is finished.
    """
    options = options_of(material.spec.space, dimension)
    if not options:
        raise CannotDrawError(f"{dimension} is a range; `panel` takes a dimension with choices")
    groups: dict[str, list[Trial]] = {}
    for option in options:
        mine = [t for t in material.trials if same(t.values.get(dimension)) == same(option)]
        if mine:
            groups[value_label(dimension, option, options)] = mine
    if not groups:
        raise CannotDrawError("no trial is finished yet")
    return groups


def widest_dimension(material: Material) -> str:
    """The dimension with the most choices.

    Raises:
        CannotDrawError: If no dimension has choices.
    """
    space = material.spec.space
    sizes = {name: len(options_of(space, name)) for name in space.names}
    name = max(sizes, key=lambda key: sizes[key])
    if not sizes[name]:
        raise CannotDrawError("no dimension has choices, so there are no values to compare")
    return name


def labels_besides(material: Material, dimension: str) -> dict[int, str]:
    """What trials are called among those of one value of a dimension, by number."""
    space = material.spec.space
    others = [name for name in space.names if name != dimension]
    return {trial.number: label_of(space, trial.values, others) for trial in material.trials}


def named(material: Material, labels: Mapping[int, str], most: int = MOST_NAMED) -> list[str]:
    """Labels that stand in the legend: all of them, or of too many those of the best trials.

    Args:
        material: The study.
        labels: What its trials are called, by number.
        most: More different labels than this are too many.
    """
    every = list(dict.fromkeys(labels.values()))
    if len(every) <= most:
        return every
    best = [labels[trial.number] for trial in material.best(len(material.trials))]
    return list(dict.fromkeys([*best, *every]))[:BEST_NAMED]


def others_line(number_of: int) -> list[Line2D]:
    """The legend's entry for so many trials that are drawn in grey; none for none."""
    return [Line2D([], [], label=count(number_of, "other trial"), **OTHERS)] if number_of else []
