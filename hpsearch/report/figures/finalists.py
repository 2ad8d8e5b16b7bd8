"""The finalists with the interval of each, the winner's own score, and the test figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import COLOURS, folded
from hpsearch.report.figures.labels import same, value_label
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count
from hpsearch.search.selection import seeds_interval

_MEAN: Any = {"fmt": "o", "markersize": 6, "capsize": 3, "linewidth": 1.4}
# Letters in a line of a finalist's name.
_LONGEST = 44
_SEARCHED: Any = {"marker": "x", "color": "#999999", "s": 28, "zorder": 2}


@dataclass(frozen=True)
class Finalist:
    """A finalist and what it scored.

    Attributes:
        values: Of its dimensions.
        scores: Over the seeds of the race, which all finalists share.
        own: Over seeds that had no part in choosing it; none but for the winner.
        searched: The single score that it was chosen for.
    """

    values: dict[str, Any]
    scores: tuple[float, ...]
    own: tuple[float, ...]
    searched: float | None


def finalists(material: Material) -> Figure:
    """One line for each finalist, the best of the race on top.

    Raises:
        CannotDrawError: If nothing was confirmed yet.
    """
    if not material.spec.confirms:
        raise CannotDrawError("finalists = 0: nothing is confirmed")
    found = raced(material)
    if not found:
        raise CannotDrawError("no finalist has a score yet")
    lines = len(found) + 1 + bool(material.tested)
    figure = Figure(figsize=(9.0, 1.7 + 0.42 * lines), layout="constrained")
    figure.suptitle(folded(material.title(f"{count(len(found), 'finalist')} over fresh seeds"), 80))
    ax = figure.add_subplot(xlabel="accuracy, mean and 95 % interval")
    names = [_draw_finalist(ax, place, one, material) for place, one in enumerate(found)]
    names += _draw_winner(ax, len(names), found)
    names += _draw_test(ax, len(names), material)
    ax.set_yticks(range(len(names)), labels=names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=len(once))
    return figure


def raced(material: Material) -> list[Finalist]:
    """The finalists of the newest confirmation, the best of the race first."""
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in _newest(material):
        groups[same(trial.values)].append(trial)
    found = [_finalist(material, trials) for trials in groups.values()]
    scored = [one for one in found if one.scores or one.own]
    return sorted(scored, key=lambda one: -fmean(one.scores or one.own))


def _newest(material: Material) -> list[Trial]:
    """Each confirmation has a stretch of seeds of its own, behind that of the one before."""
    stretch = _seeds(material)
    last = max((t.replicate // stretch for t in material.confirmation), default=0)
    return [trial for trial in material.confirmation if trial.replicate // stretch == last]


def _seeds(material: Material) -> int:
    """How many seeds a confirmation may use: those of the race, then the winner's own."""
    confirmation = material.spec.confirmation
    return confirmation.most + confirmation.winner_seeds


def _finalist(material: Material, trials: Sequence[Trial]) -> Finalist:
    shared: list[float] = []
    own: list[float] = []
    for trial in trials:
        if trial.score is not None:
            is_race = trial.replicate % _seeds(material) < material.spec.confirmation.most
            (shared if is_race else own).append(trial.score)
    values = trials[0].values
    before = [t.score for t in material.trials if t.values == values and t.score is not None]
    return Finalist(values, tuple(shared), tuple(own), max(before, default=None))


def _draw_finalist(ax: Axes, place: int, one: Finalist, material: Material) -> str:
    scores, winner = one.scores or one.own, material.winner
    is_winner = winner is not None and same(one.values) == same(winner["values"])
    colour = COLOURS[2] if is_winner else COLOURS[0]
    label = "the winner" if is_winner else "finalist"
    _bar(ax, place, scores, colour, label)
    if one.searched is not None:
        ax.scatter([one.searched], [place], label="the score it was chosen for", **_SEARCHED)
    return f"{_named(material, one.values)} ({count(len(scores), 'seed')})"


def _named(material: Material, values: dict[str, Any]) -> str:
    """Values on one line, or two where they are long."""
    space = material.spec.space
    labels = [value_label(name, values[name], material.options(name)) for name in space.names]
    return folded(", ".join(labels), _LONGEST, lines=2)


def _draw_winner(ax: Axes, place: int, found: Sequence[Finalist]) -> list[str]:
    own = [one.own for one in found if one.own]  # of nobody else
    if not own:
        return []
    _bar(ax, place, own[0], COLOURS[2], "the winner")
    return [f"the winner over seeds of its own ({len(own[0])} seeds)"]


def _bar(ax: Axes, place: int, scores: Sequence[float], colour: str, label: str) -> None:
    mean = fmean(scores)
    low, high = seeds_interval(scores) or (mean, mean)
    ends = [[mean - low], [high - mean]]
    ax.errorbar([mean], [place], xerr=ends, color=colour, label=label, **_MEAN)


def _draw_test(ax: Axes, place: int, material: Material) -> list[str]:
    test = material.tested
    if test is None:
        return []
    low, high = test["interval"]
    ends = [[test["score"] - low], [high - test["score"]]]
    style = _MEAN | {"fmt": "D"}
    ax.errorbar([test["score"]], [place], xerr=ends, color=COLOURS[1], label="test rows", **style)
    whose = "an earlier winner" if test.get("earlier_winner") else "the winner"
    return [f"{whose} on {test['rows']} sealed test rows"]
