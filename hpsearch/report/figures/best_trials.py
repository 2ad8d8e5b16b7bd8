"""The best trials of a search, each in its own axes: accuracy on training and validation rows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import COLOURS, folded, panes
from hpsearch.report.figures.curves import mark_scored, plot, scored_key
from hpsearch.report.figures.labels import options_of, value_label
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count, score

MOST, COLUMNS = 20, 5
# Values stand on lines of their own as long as there are at most so many.
_LINES = 3


def best_trials(material: Material) -> Figure:
    """The best 20 trials; validation accuracy solid, training accuracy dashed.

    Raises:
        CannotDrawError: If no trial has a score yet.
    """
    best = material.best(MOST)
    if not best:
        raise CannotDrawError("no finished trial has a score yet")
    title = material.title(f"best {len(best)} of {count(len(material.trials), 'trial')}")
    rows = 2.1 + 0.16 * min(len(material.spec.space.names), _LINES)
    labels = (material.unit, "accuracy")
    figure, axes = panes(title, len(best), COLUMNS, labels, height=rows)
    for place, (trial, ax) in enumerate(zip(best, axes, strict=True), start=1):
        _draw(ax, trial)
        head = f"Best-{place} (val acc: {score(trial.score)})"
        ax.set_title(f"{head}\n{_values(material, trial.values)}", fontsize=8)
    axes[0].set_ylim(0, 1.02)
    handles = axes[0].get_legend_handles_labels()[0] + scored_key(material, best)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(ax: Axes, trial: Trial) -> None:
    plot(ax, trial, "validation_accuracy", color=COLOURS[0], label="validation")
    plot(ax, trial, "training_accuracy", color=COLOURS[1], linestyle="--", label="training")
    mark_scored(ax, trial, "validation_accuracy", COLOURS[0])
    mark_scored(ax, trial, "training_accuracy", COLOURS[1])


def _values(material: Material, values: Mapping[str, Any]) -> str:
    space = material.spec.space
    labels = [value_label(name, values[name], options_of(space, name)) for name in space.names]
    if len(labels) <= _LINES:
        return "\n".join(textwrap.shorten(label, 36, placeholder=" ...") for label in labels)
    return folded(", ".join(labels), 36)
