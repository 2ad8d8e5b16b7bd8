"""One axes for each value of a dimension, in it one curve for each value of the others."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hpsearch.report.figures.canvas import OTHERS, folded, key_below, line_style, panes
from hpsearch.report.figures.curves import plot
from hpsearch.report.figures.groups import (
    by_value,
    labels_besides,
    named,
    others_line,
    widest_dimension,
)
from hpsearch.report.figures.labels import words
from hpsearch.report.figures.material import Material, Trial

METRIC = "training_accuracy"
_MOST_COLUMNS = 5


def panels(material: Material) -> Figure:
    """Training accuracy by the values of `panel`, or of the dimension with the most choices.

    Of more than 12 values of the others the best five have a name and the rest is grey.

    Raises:
        CannotDrawError: If the dimension has no choices, or no trial a training accuracy.
    """
    dimension = material.report.panel or widest_dimension(material)
    material.with_metric(METRIC)
    groups = by_value(material, dimension)
    labels = labels_besides(material, dimension)
    styles = {label: line_style(at) for at, label in enumerate(named(material, labels))}
    columns = min(math.ceil(math.sqrt(len(groups))), _MOST_COLUMNS)
    names = (material.unit, "training accuracy")
    title = material.title(f"training accuracy by {words(dimension)}")
    figure, axes = panes(title, len(groups), columns, names)
    for (value, trials), ax in zip(groups.items(), axes, strict=True):
        for trial in trials:
            label = labels[trial.number]
            plot(ax, trial, METRIC, label=label, **styles.get(label, OTHERS))
        ax.set_title(folded(value + _diverged(trials), 30), fontsize=9)
    axes[0].set_ylim(0, 1.02)
    handles = [Line2D([], [], label=folded(text, 60), **style) for text, style in styles.items()]
    handles += others_line(sum(label not in styles for label in labels.values()))
    if any(styles):
        key_below(figure, handles, 3)
    return figure


def _diverged(trials: list[Trial]) -> str:
    number = sum(trial.diverged for trial in trials)
    if not number:
        return ""
    return " (diverged)" if len(trials) == 1 else f" ({number} diverged)"
