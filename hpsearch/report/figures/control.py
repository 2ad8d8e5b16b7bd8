"""What the search and its control arm had found after so many trials, in one axes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.canvas import BORDER, line_style, single
from hpsearch.report.figures.material import Material, Trial

# Most of what the first trials gain is found by any search; the axis shows the rest of the way.
_SHOWN_FROM = 0.1


def control(material: Material) -> Figure:
    """The best score so far over the number of trials: the search solid, its control dashed.

    Raises:
        CannotDrawError: If there is no control arm, or one of the two has no score yet.
    """
    arm = material.spec.search.control
    if arm is None:
        command = "`hpsearch start FILE --control random --name NAME`"
        raise CannotDrawError(f"the study has no control arm; {command} begins one that has")
    arms = {"search": material.trials, _label(material, arm): material.control}
    for what, trials in (("search", material.trials), ("control arm", material.control)):
        if all(trial.score is None for trial in trials):
            raise CannotDrawError(f"no trial of the {what} has a score")
    labels = ("trials", "best single validation accuracy so far")
    figure, ax = single(material.title("best so far, beside the control arm"), labels)
    for position, (label, trials) in enumerate(arms.items()):
        steps, best = best_so_far(trials)
        ax.step(steps, best, where="post", label=label, **line_style(position))
    _borders(ax, material)
    _limit(ax, list(arms.values()))
    ax.legend(loc="lower right")
    return figure


def best_so_far(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    """Numbers of trials, and the best score of so many; from the first one that has a score on."""
    steps: list[int] = []
    best: list[float] = []
    for number, trial in enumerate(trials, start=1):
        known = best[-1:] + ([] if trial.score is None else [trial.score])
        if known:
            steps.append(number)
            best.append(max(known))
    return steps, best


def _label(material: Material, arm: str) -> str:
    done, planned = len(material.control), material.spec.control_trials
    so_far = f" ({done} of {planned} trials so far)" if done < planned else ""
    return f"control: {arm}, without narrowing{so_far}"


def _borders(ax: Axes, material: Material) -> None:
    spec = material.spec
    for number in range(1, spec.rounds):
        label = "next round of the search" if number == 1 else None
        ax.axvline(number * spec.trials, label=label, **BORDER)


def _limit(ax: Axes, arms: Sequence[Sequence[Trial]]) -> None:
    """Both curves from where the slower one is after a tenth of its trials."""
    found = [best_so_far(trials)[1] for trials in arms]
    low = min(best[min(int(_SHOWN_FROM * len(best)), len(best) - 1)] for best in found)
    high = max(best[-1] for best in found)
    margin = 0.06 * (high - low) or 0.01
    ax.set_ylim(low - margin, high + margin)
