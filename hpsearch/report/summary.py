"""What `start` and `show` print: the plan before, the result after, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from hpsearch.report.numbers import count, duration, score, values_text
from hpsearch.report.tables import rounds_table
from hpsearch.store.studies import StoredStudy

JSON = dict[str, Any]


def print_opening(console: Console, study: StoredStudy, document: JSON, *, resumed: bool) -> None:
    """One line before the work begins."""
    spec = study.spec
    rounds = count(spec.search.rounds, "round")
    plan = f"{rounds} of {count(spec.search.trials, 'trial')}"
    if document["state"] == "complete":
        console.print(f"[bold]{study.name}[/]: already finished; nothing is trained again.")
    elif resumed:
        done = _finished(document)
        console.print(
            f"[bold]{study.name}[/]: going on with {plan}; {done} of {document['planned']} done."
        )
    else:
        epochs = count(spec.training.epochs, "epoch")
        console.print(
            f"[bold]{study.name}[/]: {plan}, {epochs} each, over {', '.join(spec.space.names)}."
        )


def print_result(
    console: Console, study: StoredStudy, document: JSON, ledger: Sequence[JSON]
) -> None:
    """Rounds and ranges, what the ledger found, the winner, the test figure, what to do next."""
    following = [row for row in ledger if row["round"] > study.spec.search.rounds]
    console.print(rounds_table(document["rounds"], following))
    _print_counts(console, document)
    _print_findings(console, ledger)
    _print_winner(console, document)
    print_test(console, study.name, document["test"])
    _print_next(console, study, document)


def print_test(console: Console, name: str, test: JSON | None) -> None:
    """The test figure with its interval and how often the split was opened."""
    if test is None:
        return
    if test["score"] is None:
        console.print("[bold]Test[/]     the winner diverged when trained on all rows: no figure.")
        return
    low, high = test["interval"]
    console.print(
        f"[bold]Test[/]     accuracy [bold]{score(test['score'])}[/], 95 % interval "
        f"{score(low)} to {score(high)}, on {test['rows']} sealed rows."
    )
    if test["openings"] > 1:
        console.print(
            f"         The test split of {name} has been opened {test['openings']} times: "
            "only the first figure is untouched by what was seen."
        )


def print_interrupted(console: Console, study: StoredStudy, document: JSON) -> None:
    """What is safe, and how to go on."""
    console.print(
        f"[bold]{study.name}[/]: stopped with {_finished(document)} of {document['planned']} "
        "trials done; nothing is lost. The same command goes on."
    )


def _finished(document: JSON) -> int:
    states = ("complete", "diverged", "discarded", "failed")
    return sum(int(document[state]) for state in states)


def _print_counts(console: Console, document: JSON) -> None:
    parts = [f"{document['complete']} complete"]
    parts += [f"{document[s]} {s}" for s in ("diverged", "discarded", "failed") if document[s]]
    waiting = document["planned"] - _finished(document)
    parts += [f"{waiting} to go"] if waiting else []
    seconds = duration(document["seconds"])
    console.print(f"[bold]Trials[/]   {', '.join(parts)}; {document['state']}, {seconds}.")


def _print_findings(console: Console, ledger: Sequence[JSON]) -> None:
    """The newest reason of every dimension."""
    newest = {row["dimension"]: row for row in ledger if row["decision"] != "declared"}
    for position, (name, row) in enumerate(newest.items()):
        head = "[bold]Ledger[/]   " if position == 0 else "         "
        console.print(f"{head}{name}: {row['reason']}.")


def _print_winner(console: Console, document: JSON) -> None:
    winner = document["winner"]
    if winner is None:
        if document["state"] == "complete":
            console.print("[bold]Winner[/]   none: no trial has a score.")
        return
    error = f" ± {winner['standard_error']:.4f}" if winner["seeds"] > 1 else ""
    console.print(
        f"[bold]Winner[/]   {values_text(winner['values'])}: validation accuracy "
        f"[bold]{score(winner['score'])}[/]{error}, mean of {count(winner['seeds'], 'fresh seed')}."
    )
    for tie in winner["ties"]:
        console.print(f"         tied with {values_text(tie['values'])}: {score(tie['score'])}")


def _print_next(console: Console, study: StoredStudy, document: JSON) -> None:
    if document["state"] != "complete":
        console.print(f"[bold]Next[/]     `hpsearch start {study.name}` goes on with it.")
        return
    if document["test"] is None and document["winner"] is not None:
        console.print(
            f"[bold]Next[/]     `hpsearch test {study.name}` opens the sealed test split."
        )
        return
    console.print(
        f"[bold]Next[/]     `hpsearch ui {study.name}` opens the dashboard, "
        f"`hpsearch ranges {study.name}` explains every range."
    )
