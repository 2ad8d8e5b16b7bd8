"""Studies, trials and ledgers as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpsearch.report.bars import bars
from hpsearch.report.discarding import below_text
from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.figures.table import OutcomeTable
from hpsearch.report.numbers import number, score, shown_range

# What the other columns of the table of rounds take of a line.
_BESIDE_RANGES = 36
# The line of the table of rounds that no round was run for.
NEXT = "next"


def new_table(*columns: str, title: str | None = None) -> Table:
    """A table in the house style: a line under the header, nothing else."""
    table = Table(*columns, box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    return table


def print_studies(console: Console, documents: Sequence[JSON]) -> None:
    """One line per study."""
    if not documents:
        console.print("No studies yet; `hpsearch start` runs one.")
        return
    table = new_table("study", "state", "trials", "best", "winner", "test")
    for d in documents:
        scores = [r["best_score"] for r in d["rounds"] if r["best_score"] is not None]
        winner = score(d["winner"]["score"]) if d["winner"] else "-"
        sealed = "sealed" if d["has_test_rows"] else "-"
        test = _test_figure(d["test"]) if d["test"] else sealed
        trials = f"{finished_trials(d)}/{d['planned']}"
        best = score(max(scores, default=None))
        table.add_row(d["study"], d["state"], trials, best, winner, test)
    console.print(table)


def _test_figure(test: JSON) -> str:
    """The figure, which may be of a winner of before the study was extended."""
    return score(test["score"]) + (" (earlier winner)" if test.get("earlier_winner") else "")


def print_ledger(console: Console, rows: Sequence[JSON], rounds: int) -> None:
    """Every range of every round, with its reason."""
    table = new_table("round", "dimension", "range", "decision", "edge", "reason")
    for row in rows:
        when = str(row["round"]) if row["round"] <= rounds else NEXT
        table.add_row(
            when,
            row["dimension"],
            shown_range(row),
            row["decision"],
            row["edge"] or "",
            row["reason"],
        )
    console.print(table)


def print_trials(console: Console, trials: Sequence[JSON]) -> None:
    """One line per trial; why trials failed or were stopped, where any were."""
    names = list(dict.fromkeys(name for trial in trials for name in trial["values"]))
    fields = ["purpose", "number", "round", "state", "score"]
    # Where it is searched, `epochs` is what a trial was to have.
    fields += [] if "epochs" in names else ["epochs"]
    with_messages = any(trial["message"] for trial in trials)
    with_stops = any(below_text(trial) for trial in trials)
    further = {"below": with_stops, "message": with_messages}
    table = new_table(*fields, *names, *(name for name, there in further.items() if there))
    for column in table.columns[: len(fields)]:
        column.no_wrap = True
    for trial in trials:
        cells = [
            trial["purpose"],
            str(trial["number"]),
            str(trial["round"]),
            trial["state"],
            score(trial["score"]),
            *([str(len(trial["epochs"]))] if "epochs" in fields else []),
            *(number(trial["values"][n]) if n in trial["values"] else "-" for n in names),
        ]
        below = [below_text(trial)] if with_stops else []
        message = [escape(trial["message"] or "")] if with_messages else []
        table.add_row(*cells, *below, *message)
    console.print(table)


def print_outcomes(console: Console, outcomes: OutcomeTable) -> None:
    """How every trial ended, with the sentences that belong to it."""
    table = new_table(*outcomes.head, title=outcomes.title)
    for row in outcomes.rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    for note in outcomes.notes:
        console.print(note, markup=False)


def rounds_table(rounds: Sequence[JSON], following: Sequence[JSON], width: int) -> Table:
    """A line per round with its ranges; the last line says where to look next.

    Args:
        rounds: The rounds of the study's document.
        following: Ledger rows decided after the last round, empty before that.
        width: Letters in a line; where there is room each range is drawn as a bar, too.
    """
    head, rows = rounds_cells(rounds, following, _beside_bars)
    if any(sum(map(len, row[1:-2])) > width - _BESIDE_RANGES for row in rows):
        head, rows = rounds_cells(rounds, following)
    table = new_table(*head)
    for row in rows:
        table.add_row(*row, style="dim" if row[0] == NEXT else None)
    return table


def rounds_cells(
    rounds: Sequence[JSON],
    following: Sequence[JSON],
    shown: Callable[[Sequence[JSON]], list[str]] = lambda ranges: list(map(shown_range, ranges)),
) -> tuple[list[str], list[list[str]]]:
    """The head of the table of rounds, and its lines.

    Args:
        rounds: The rounds of the study's document.
        following: Ledger rows decided after the last round, empty before that.
        shown: A column of ranges as cells.
    """
    names = list(rounds[0]["ranges"]) if rounds else []
    next_ = {row["dimension"]: row for row in following}
    columns = [
        shown([*(r["ranges"][name] for r in rounds), *([next_[name]] if name in next_ else [])])
        for name in names
    ]
    ends = [
        (str(r["round"]), f"{r['finished']}/{r['planned']}", score(r["best_score"])) for r in rounds
    ]
    rows = [
        [number_, *(column[place] for column in columns), trials, best]
        for place, (number_, trials, best) in enumerate(ends)
    ]
    if following:
        pairs = zip(names, columns, strict=True)
        cells = [column[-1] if name in next_ else "" for name, column in pairs]
        rows.append([NEXT, *cells, "", ""])
    return ["round", *names, "trials", "best"], rows


def _beside_bars(ranges: Sequence[JSON]) -> list[str]:
    """Each range in words, and behind it, one below the other, as a bar."""
    words = [shown_range(range_) for range_ in ranges]
    longest = max(map(len, words))
    pairs = zip(words, bars(ranges), strict=True)
    return [f"{text:<{longest}}  {bar}".rstrip() for text, bar in pairs]
