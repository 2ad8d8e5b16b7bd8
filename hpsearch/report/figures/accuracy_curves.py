"""Training and validation accuracy in one axes: the gap between them is overfitting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hpsearch.report.figures.canvas import COLOURS, OTHERS, folded, key_below, panes
from hpsearch.report.figures.curves import mark_scored, plot, scored_key
from hpsearch.report.figures.groups import by_value, labels_besides, named, others_line
from hpsearch.report.figures.material import Material, Trial

_TRAINING, _VALIDATION = "training_accuracy", "validation_accuracy"
# More axes than this cannot be read; the best trials are shown then.
MOST, COLUMNS = 20, 4
# So many axes beside each other may be wide.
_FEW = 3


def accuracy_curves(material: Material) -> Figure:
    """One axes for each trial, or with `panel` for each value of that dimension.

    Of more values of the others than there are colours the best five have one and the rest is grey.

    Raises:
        CannotDrawError: If no trial has a training accuracy, or `panel` no choices.
    """
    found, panel = material.with_metric(_TRAINING), material.report.panel
    groups = by_value(material, panel) if panel else _by_trial(material, found)
    names = labels_besides(material, panel) if panel else {}
    told_apart = [name for name in named(material, names, len(COLOURS)) if name]
    colours = dict(zip(told_apart, COLOURS, strict=False))
    width = 4.2 if len(groups) <= _FEW else 3.2
    title = material.title(f"accuracy on training and validation rows{_which(material, groups)}")
    labels, height = (material.unit, "accuracy"), 0.75 * width
    figure, axes = panes(title, len(groups), COLUMNS, labels, width=width, height=height)
    for (label, trials), ax in zip(groups.items(), axes, strict=True):
        for trial in trials:
            _draw(ax, trial, _style(names.get(trial.number, ""), colours))
        lines = [label, *_ends(trials, material.unit_of(trials[0]))]
        ax.set_title("\n".join(folded(line, round(width * 12)) for line in lines))
    axes[0].set_ylim(0, 1.02)
    key = _key(colours) + others_line(sum(bool(n) and n not in colours for n in names.values()))
    key += scored_key(material, [trial for trials in groups.values() for trial in trials])
    key_below(figure, key, 4)
    return figure


def _by_trial(material: Material, found: list[Trial]) -> dict[str, list[Trial]]:
    if len(found) > MOST:
        found = material.best(MOST) or found[:MOST]
    return {trial.label: [trial] for trial in found}


def _which(material: Material, groups: Mapping[str, list[Trial]]) -> str:
    shown = sum(len(trials) for trials in groups.values())
    return "" if shown == len(material.trials) else f", {shown} of {len(material.trials)} trials"


def _style(name: str, colours: Mapping[str, str]) -> dict[str, Any]:
    """Of both curves: the colour in the legend, else grey; nothing for a trial without a name."""
    if not name:
        return {}
    return {"color": colours[name]} if name in colours else OTHERS


def _draw(ax: Axes, trial: Trial, style: dict[str, Any]) -> None:
    """Both curves, in the trial's style or, where it is alone, in a colour of their own each."""
    solid, dashed = {"color": COLOURS[0]} | style, {"color": COLOURS[1]} | style
    plot(ax, trial, _VALIDATION, label=f"validation, {trial.label}", **solid)
    plot(ax, trial, _TRAINING, linestyle="--", label=f"training, {trial.label}", **dashed)
    if style != OTHERS:
        mark_scored(ax, trial, _VALIDATION, solid["color"])
        mark_scored(ax, trial, _TRAINING, dashed["color"])


def _ends(trials: list[Trial], unit: str) -> list[str]:
    """Under a title: how far apart a lone trial's final accuracies are, or how many diverged."""
    diverged = sum(trial.diverged for trial in trials)
    if diverged:
        return ["diverged" if len(trials) == 1 else f"{diverged} diverged"]
    training, validation = trials[0].final(_TRAINING), trials[0].final(_VALIDATION)
    if len(trials) > 1 or training is None or validation is None:
        return []
    both, gap = f"{training:.2f} and {validation:.2f}", f"gap {training - validation:z.2f}"
    scored_at = trials[0].scored_at
    if scored_at is None:
        return [f"ends at {both}: {gap}"]
    return [f"at {unit} {scored_at}: {both}, {gap}"]


def _key(colours: Mapping[str, str]) -> list[Line2D]:
    solid, dashed = ("black", "black") if colours else COLOURS[:2]
    lines = [
        Line2D([], [], color=dashed, linestyle="--", label="training"),
        Line2D([], [], color=solid, label="validation"),
    ]
    return lines + [Line2D([], [], color=c, label=folded(name, 60)) for name, c in colours.items()]
