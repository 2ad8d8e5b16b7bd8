"""Optuna's own views of the search's trials, drawn by Optuna in our colours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import folded
from hpsearch.report.figures.material import Material
from hpsearch.report.numbers import number
from hpsearch.search.outcomes import Outcome
from hpsearch.search.sampling import optuna_study
from hpsearch.space import frozen

if TYPE_CHECKING:
    import optuna

# Fewer tell no importance from luck.
_FEWEST, _LEAST_SPREAD = 10, 1e-6
# Inches.
_SIZE, _OF_A_SLICE = (9.0, 4.2), 3.2


def importance(material: Material) -> Figure:
    """How much of the scores' variance each dimension explains: fANOVA (Hutter et al. 2014).

    Raises:
        CannotDrawError: If there are too few scores, or they do not differ.
    """

    def draw(study: optuna.Study) -> Any:
        from optuna.importance import FanovaImportanceEvaluator
        from optuna.visualization.matplotlib import plot_param_importances

        return plot_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))

    return _drawn(material, "how much each dimension matters, by Optuna's fANOVA", draw)


def parallel_coordinates(material: Material) -> Figure:
    """A line for every trial through its values and its score.

    Raises:
        CannotDrawError: If there are too few scores, or they do not differ.
    """

    def draw(study: optuna.Study) -> Any:
        from optuna.visualization.matplotlib import plot_parallel_coordinate

        return plot_parallel_coordinate(study)

    # Its axes lie on top of each other, which no layout may undo.
    figure = _drawn(material, "every trial as a line", draw, layout="none")
    *axes, bar = sorted(figure.axes, key=lambda ax: ax.get_label() == "<colorbar>")
    for ax in axes:
        ax.set_position((0.08, 0.18, 0.68, 0.7))
    bar.set_position((0.9, 0.18, 0.02, 0.7))
    return figure


def slices(material: Material) -> Figure:
    """The scores over each dimension.

    Raises:
        CannotDrawError: If there are too few scores, or they do not differ.
    """

    def draw(study: optuna.Study) -> Any:
        from optuna.visualization.matplotlib import plot_slice

        return plot_slice(study)

    count = len(material.spec.space.dimensions)
    size = (max(_SIZE[0], _OF_A_SLICE * count), _SIZE[1])
    return _drawn(material, "the scores over each dimension", draw, size=size)


def _drawn(
    material: Material,
    title: str,
    draw: Callable[[optuna.Study], Any],
    *,
    size: tuple[float, float] = _SIZE,
    layout: Literal["constrained", "none"] = "constrained",
) -> Figure:
    """What Optuna draws, taken out of pyplot, which it draws with."""
    scores = [trial.score for trial in material.trials if trial.score is not None]
    if len(scores) < _FEWEST or max(scores) - min(scores) < _LEAST_SPREAD:
        raise CannotDrawError(f"{_FEWEST} trials are needed, with scores that differ")
    with warnings.catch_warnings(), mpl.rc_context({"backend": "agg"}):
        warnings.simplefilter("ignore")  # its views are experimental, and its layout is ours below
        from matplotlib import pyplot as plt

        axes = draw(_study(material))
        figure = _figure_of(axes)
        plt.close(figure)
        figure.set_size_inches(*size)
        figure.set_layout_engine(layout)
    for ax in figure.axes:
        _in_our_style(ax)
    figure.suptitle(folded(material.title(title), 80))
    return figure


def _in_our_style(ax: Axes) -> None:
    """White, without a title of its own, and with numbers as they stand everywhere else."""
    ax.set_facecolor("white")
    for where in ("left", "center", "right"):
        ax.set_title("", loc=where)
    for side in (ax.xaxis, ax.yaxis):
        if side.get_scale() == "log":
            side.set_major_formatter(FuncFormatter(lambda value, _position: number(value)))
            side.set_minor_formatter(NullFormatter())


def _figure_of(axes: Any) -> Figure:
    """Of one axes, or of an array of them."""
    first = axes.flat[0] if hasattr(axes, "flat") else axes
    figure: Figure = first.figure
    return figure


def _study(material: Material) -> optuna.Study:
    """The search's trials, in memory, in the box that holds all of them."""
    outcomes = [
        Outcome(t.number, {n: frozen(v) for n, v in t.values.items()}, t.score, t.loss)
        for t in material.trials
    ]
    box = material.spec.space.holding([outcome.values for outcome in outcomes])
    return optuna_study(box, outcomes)
