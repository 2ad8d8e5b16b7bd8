"""How every trial ended, as a table, beside what others have published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.labels import options_of
from hpsearch.report.figures.material import Material, Trial
from hpsearch.report.numbers import count
from hpsearch.states import TrialState
from hpsearch.study import Published

# As many lines as a terminal shows at once, and as many trials as the other figures draw.
PRINTED = 20


@dataclass(frozen=True)
class OutcomeTable:
    """A head, rows of cells, and sentences that belong below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"# {self.title}", "", _line(self.head), "|--" * len(self.head) + "|"]
        lines += [_line(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def outcome_table(material: Material, most: int | None = PRINTED) -> OutcomeTable:
    """Final accuracies and losses of every trial, the best first if there is a range to search.

    With early stopping they are those of the measurement that gave the score, not of the last.

    Args:
        material: The study.
        most: Of more trials than this only so many, the best; None for all, as the file has them.

    Raises:
        CannotDrawError: If no trial is finished.
    """
    if not material.trials:
        raise CannotDrawError("no trial is finished yet")
    columns = _columns(material)
    trials = _ordered(material)
    notes = _notes(material)
    if most is not None and len(trials) > most:
        notes.append(f"The best {most}; {count(len(trials) - most, 'more trial')} in the file.")
        trials = _best_first(material)[:most]
    rows = tuple((t.label, *(cell(t) for cell in columns.values())) for t in trials)
    title = material.title("how the trials ended")
    return OutcomeTable(title, ("trial", *columns), rows, tuple(notes))


def _ordered(material: Material) -> list[Trial]:
    space = material.spec.space
    if all(options_of(space, name) for name in space.names):
        return list(material.trials)
    return _best_first(material)


def _best_first(material: Material) -> list[Trial]:
    """All trials; those without a score are last."""
    best = material.best(len(material.trials))
    return best + [trial for trial in material.trials if trial not in best]


Cell = Callable[[Trial], str]


def _columns(material: Material) -> dict[str, Cell]:
    """The cells of a row, by the head of their column."""
    columns: dict[str, Cell] = {}
    if any(trial.state != TrialState.COMPLETE for trial in material.trials):
        columns["state"] = lambda trial: trial.state
    if any(trial.scored_at is not None for trial in material.trials):
        columns[f"scored at {material.unit}"] = _scored_at
    columns["training accuracy"] = lambda trial: _figure(trial.final("training_accuracy"), 4)
    scored = "validation accuracy" if material.spec.holds_out else "accuracy, all rows"
    columns[scored] = lambda trial: _figure(trial.final("validation_accuracy"), 4)
    columns["training loss"] = lambda trial: _figure(trial.final("training_loss"), 6)
    step = material.report.cost_at
    if step is not None:
        head = f"training loss of {material.unit} {step}"
        columns[head] = lambda trial: _figure(trial.at(step, "training_loss"), 6)
    return columns | _published_columns(material)


def _scored_at(trial: Trial) -> str:
    last = trial.epochs[-1][0] if trial.epochs else None
    step = last if trial.scored_at is None else trial.scored_at
    return "-" if step is None or trial.score is None else str(step)


def _published_columns(material: Material) -> dict[str, Cell]:
    published = material.report.published
    columns: dict[str, Cell] = {}
    if any(one.accuracy is not None for one in published.values()):
        columns["published accuracy"] = lambda t: _figure(_of(published, t).accuracy, None)
    if any(one.cost is not None for one in published.values()):
        columns["published cost"] = lambda t: _figure(_of(published, t).cost, None)
    return columns


def _of(published: dict[str, Published], trial: Trial) -> Published:
    return published.get(trial.label, Published())


def _notes(material: Material) -> list[str]:
    """What the study file says of published figures, and those that belong to no trial."""
    known = {trial.label for trial in material.trials}
    published = material.report.published
    notes = [f"{label}: {one.note}" for label, one in published.items() if one.note]
    whole = len(known) >= material.spec.planned_trials
    lost = [label for label in published if label not in known] if whole else []
    if lost:
        notes.append(f"published, but no trial of this study: {', '.join(lost)}")
    return notes


def _figure(value: float | None, digits: int | None) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if digits is None else f"{value:.{digits}f}"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
