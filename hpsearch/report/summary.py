"""What `start` and `show` print: the plan before, the result after, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpsearch.findings import Commands
from hpsearch.report.control import control_lines, control_plan, is_compared
from hpsearch.report.discarding import discarding_lines
from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.lengths import length_text, rounds_text
from hpsearch.report.numbers import count, duration, number, score, shown_values
from hpsearch.report.tables import rounds_table
from hpsearch.report.widening import further_ends, limits_option
from hpsearch.search.amendments import Amendment
from hpsearch.search.ledger import End, ends_reached, shut_ends
from hpsearch.space import Interval, range_from_document
from hpsearch.states import FINISHED, TrialState
from hpsearch.store.studies import StoredStudy
from hpsearch.study import StudySpec

# An edge that is opened moves out by about a range; an end that is merely drawn anew hardly moves.
_FAR = 0.5


def print_opening(
    console: Console, study: StoredStudy, done: int, commands: Commands, *, resumed: bool
) -> None:
    """One line before the work begins, and where there is none, how there is some.

    Args:
        console: Where to print.
        study: The study.
        done: Trials that are finished, of the search and of the control arm.
        commands: As they have to be typed for this database and MLflow.
        resumed: Whether it was begun before.
    """
    spec = study.spec
    plan = rounds_text(spec)
    control, trials = control_plan(spec), spec.planned_trials + spec.control_trials
    if study.state == "complete":
        console.print(f"[bold]{study.name}[/]: already finished; nothing is trained again.")
        _print_offers(console, study, commands)
    elif resumed:
        console.print(
            f"[bold]{study.name}[/]: going on with {plan}{control and f' and {control}'}; "
            f"{done} of {trials} done."
        )
    else:
        console.print(opening_line(spec))


def _print_offers(console: Console, study: StoredStudy, commands: Commands) -> None:
    """What gives a finished study something to do."""
    name, again = study.name, commands.run_again(study.name)
    offers = [f"`{again}` runs it anew beside this one"]
    if not study.spec.is_grid and study.spec.search.control is None:
        offers.insert(0, f"`{commands.extended(name, study.next_rounds)}` gives it another round")
    console.print(f"{'; '.join(offers)}.", markup=False, soft_wrap=True)


def opening_line(spec: StudySpec) -> str:
    """What a study is, in rich's markup."""
    names, control = ", ".join(spec.space.names), control_plan(spec)
    return (
        f"[bold]{spec.name}[/]: {rounds_text(spec)}, {length_text(spec)} each, over {names}"
        f"{control and f'; then {control}'}."
    )


def print_amendment(console: Console, study: StoredStudy) -> None:
    """One line about the newest amendment."""
    line = f"{study.name}: {_amended(study.amendments[-1])}."
    console.print(line, markup=False, soft_wrap=True)


def print_result(
    console: Console,
    study: StoredStudy,
    document: JSON,
    ledger: Sequence[JSON],
    commands: Commands,
) -> None:
    """Rounds and ranges, what the ledger found, the winner, the test figure, what to do next.

    Args:
        console: Where to print.
        study: The study.
        document: Its document.
        ledger: Its ledger's rows.
        commands: As they have to be typed for this database and MLflow.
    """
    following = following_rows(study, document, ledger)
    console.print(rounds_table(document["rounds"], following, console.width))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for head, lines in result_sections(study, document, ledger, commands).items():
        for position, line in enumerate(lines):
            facts.add_row(head if position == 0 else "", line)
    console.print(facts)


def following_rows(study: StoredStudy, document: JSON, ledger: Sequence[JSON]) -> list[JSON]:
    """The ledger's rows that say where to look next; none where that is nowhere yet."""
    # A grid was tried whole: there is no box to look at next.
    if study.spec.is_grid or _pending_undo(study, document) is not None:
        return []
    return [row for row in ledger if row["round"] > study.spec.rounds]


def result_sections(
    study: StoredStudy,
    document: JSON,
    ledger: Sequence[JSON],
    commands: Commands,
    *,
    offers_report: bool = True,
) -> dict[str, list[str]]:
    """What there is to say of a study, by its heading; lines in rich's markup.

    `offers_report` is False where somebody reads the report already.
    """
    return {
        "Trials": [_counts(document), *_failures(study.name, document, commands)],
        "Amended": [f"{_amended(amendment)}." for amendment in _that_count(study)],
        "Discarded": discarding_lines(document),
        "Ledger": _findings(study, ledger),
        "Winner": _winner(study, document),
        "Control": control_lines(document),
        "Test": _tested(study, document, commands) or _sealed(study, document),
        "Next": _next(study, document, ledger, commands, offers_report=offers_report),
    }


def print_test(console: Console, name: str, test: JSON | None, commands: Commands) -> None:
    """The test figure with its interval and how often the split was opened."""
    for line in _test(name, test, commands):
        console.print(line)


def print_interrupted(console: Console, study: StoredStudy, document: JSON) -> None:
    """What is safe, and how to go on."""
    arms = [document, document["control"]] if document["control"] else [document]
    done, planned = sum(map(finished_trials, arms)), sum(arm["planned"] for arm in arms)
    console.print(
        f"[bold]{study.name}[/]: stopped with {done} of {planned} "
        "trials done; nothing is lost. The same command goes on."
    )


def print_interrupted_unseen(console: Console, study: StoredStudy, outage: str) -> None:
    """The same where the database is away, which alone knows how far the study is."""
    console.print(
        f"{study.name}: stopped while its database is away ({outage}); nothing is lost. "
        "The same command goes on.",
        markup=False,
    )


def _counts(document: JSON) -> str:
    parts = [f"{document[TrialState.COMPLETE]} complete"]
    parts += [
        f"{document[state]} {state}"
        for state in FINISHED
        if state != TrialState.COMPLETE and document[state]
    ]
    waiting = document["planned"] - finished_trials(document)
    parts += [f"{waiting} to go"] if waiting else []
    state = "" if document["state"] == "complete" else f"; {document['state']}"
    return f"{', '.join(parts)}, in {duration(document['seconds'])}{state}."


def _failures(name: str, document: JSON, commands: Commands) -> list[str]:
    """Why trials or repeats failed: the commonest reason, and where the others stand."""
    failures = document["failures"]
    if not failures:
        return []
    total, commonest = sum(f["count"] for f in failures), failures[0]
    head = count(total, "failure")
    if commonest["count"] < total:
        head += f", {commonest['count']} of them"
    message = escape(" ".join(commonest["message"].split()))
    return [f"{head}: {message}; `{commands.about('trials', name)}` lists them."]


def _that_count(study: StoredStudy) -> list[Amendment]:
    """The study's amendments without undos that another one took the place of."""
    newest = {a.place.round: a for a in study.amendments if a.change.undo is not None}
    return [
        a
        for a in study.amendments
        if a.change.undo is None or newest[a.place.round] is a or a.change.rounds or a.change.limits
    ]


def _amended(amendment: Amendment) -> str:
    """What was changed, and from where on it counts."""
    change = amendment.change
    if change.converged is not None:
        gain, noise = number(change.converged.gain), number(change.converged.noise)
        return (
            f"over after round {change.rounds}: no more than {gain} is expected to be gained, less "
            f"than a quarter of the noise {noise}, and no edge within the limits is open"
        )
    parts = [count(change.rounds, "round") + " in all"] if change.rounds is not None else []
    parts += [
        f"{name} may grow to {number(low)} .. {number(high)}"
        for name, (low, high) in change.limits.items()
    ]
    if change.undo is not None:
        parts.append(f"what opened round {change.undo} is taken back")
    return f"from after round {amendment.place.round} on, {', '.join(parts)}"


def _findings(study: StoredStudy, ledger: Sequence[JSON]) -> list[str]:
    """The newest reason of every dimension, and an edge that was open before."""
    dimensions = _by_dimension(ledger)
    reasons = {rows[-1]["reason"] for rows in dimensions}
    if len(dimensions) > 1 and len(reasons) == 1:
        return [f"{', '.join(rows[-1]['dimension'] for rows in dimensions)}: {reasons.pop()}."]
    lines = []
    for rows in dimensions:
        newest, name = rows[-1], rows[-1]["dimension"]
        lines.append(f"{name}: {newest['reason']}.")
        earlier = [row for row in rows[:-1] if _shut_ends(study, row)]
        if earlier and not _shut_ends(study, newest):
            lines.append(
                f"{name}, after round {earlier[-1]['round'] - 1}: {earlier[-1]['reason']}."
            )
    return lines


def _by_dimension(ledger: Sequence[JSON]) -> list[list[JSON]]:
    groups: dict[str, list[JSON]] = {}
    for row in ledger:
        if row["decision"] != "declared":
            groups.setdefault(row["dimension"], []).append(row)
    return list(groups.values())


def _shut_ends(study: StoredStudy, row: JSON) -> list[End]:
    """Ends that the optimum may lie beyond, where the study allows nothing further."""
    range_ = range_from_document(row)
    if row["previous"] is None or not isinstance(range_, Interval):
        return []
    low, high = row["previous"]
    widest = study.spec.space.widest[row["dimension"]]
    return shut_ends(replace(range_, low=low, high=high), range_, widest, row["edge"])


def _open_ends(study: StoredStudy, row: JSON) -> list[End]:
    """Ends that another round would look well beyond, as the study allows it."""
    range_ = range_from_document(row)
    if row["previous"] is None or not isinstance(range_, Interval):
        return []
    low, high = row["previous"]
    before = replace(range_, low=low, high=high)
    outwards: dict[End, float] = {
        "lower": -before.position(range_.low),
        "upper": before.position(range_.high) - 1,
    }
    reached = ends_reached(range_, study.spec.space.widest[row["dimension"]])
    far = [e for e, share in outwards.items() if share >= (0.0 if e in reached else _FAR)]
    return [end for end in far if outwards[end] > 0 and row["edge"] in {end, "both"}]


def _winner(study: StoredStudy, document: JSON) -> list[str]:
    winner = document["winner"]
    if winner is None:
        what = "repeat of a finalist" if document["complete"] and study.spec.confirms else "trial"
        return [f"none: no {what} has a score."] if document["state"] == "complete" else []
    measured = "validation accuracy" if study.spec.holds_out else "accuracy on the training rows"
    head = f"{shown_values(winner['values'])}: {measured} [bold]{score(winner['score'])}[/]"
    if not study.spec.confirms:
        return [f"{head}, the best of the trials; nothing was confirmed."]
    error = f" ± {winner['standard_error']:.4f}" if winner["seeds"] > 1 else ""
    own = study.spec.confirmation.winner_seeds > 0
    seeds = count(winner["seeds"], "fresh seed") + (" that did not choose it" if own else "")
    raced = " over the same seeds" if own else ""
    ties = [
        f"tied with {shown_values(t['values'])}: {score(t['score'])}{raced}" for t in winner["ties"]
    ]
    return [f"{head}{error}, mean of {seeds}{_chosen(winner)}.", *ties]


def _chosen(winner: JSON) -> str:
    """What it was chosen by: its score in the race, and how simple it is where others tied."""
    if "raced" not in winner:
        return ""
    over = count(winner["raced"]["seeds"], "seed")
    said = f"; {score(winner['raced']['score'])} over the {over} that chose it"
    return f"{said}, the simplest of those as good" if winner["ties"] else said


def _sealed(study: StoredStudy, document: JSON) -> list[str]:
    """Why a finished study has no test figure, where `start` opens no test split."""
    if document["state"] != "complete" or study.spec.confirms:
        return []
    if not study.spec.holds_out:
        return ['there is none: split = "all" holds no rows out.']
    return ["sealed: finalists = 0, and `start` does not test what was not confirmed."]


def _test(
    name: str, test: JSON | None, commands: Commands, *, is_complete: bool = True
) -> list[str]:
    if test is None:
        return []
    # Studies of before were never extended.
    earlier = test.get("earlier_winner", False)
    winner = "the earlier winner" if earlier else "the winner"
    again = ["The study went on since: this says nothing of a later winner."] if earlier else []
    if earlier and is_complete:
        again.append(f"`{commands.test(name)}` opens the test split again, which is counted.")
    again = [" ".join(again)] if again else []
    if test["score"] is None:
        figure = f"{winner} diverged when trained on all rows but the test rows: no figure."
        return [figure, *again]
    low, high = test["interval"]
    # Studies of before had one training.
    trainings = test.get("trainings", 1)
    mean = f"mean of {trainings} trainings, " if trainings > 1 else ""
    of_whom = f"of {winner} ({shown_values(test['values'])}): " if earlier else ""
    figure = (
        f"{of_whom}accuracy [bold]{score(test['score'])}[/], {mean}95 % interval {score(low)} to "
        f"{score(high)}, on {test['rows']} sealed rows."
    )
    lines = [figure, *again]
    if test["openings"] > 1:
        lines.append(
            f"The test split of {name} has been opened {test['openings']} times: only the first "
            "figure is untouched by what was seen."
        )
    return lines


def _tested(study: StoredStudy, document: JSON, commands: Commands) -> list[str]:
    is_complete = document["state"] == "complete"
    return _test(study.name, document["test"], commands, is_complete=is_complete)


def _next(
    study: StoredStudy,
    document: JSON,
    ledger: Sequence[JSON],
    commands: Commands,
    *,
    offers_report: bool,
) -> list[str]:
    """What to type now, the most useful first."""
    name = study.name
    if document["state"] != "complete":
        if document["state"] == "running":
            return [f"`{commands.about('worker', name)}` joins it."]
        return [f"`{commands.start(name)}` goes on with it."]
    lines = []
    if study.spec.holds_out and document["test"] is None and document["winner"] is not None:
        lines.append(f"`{commands.test(name)}` opens the sealed test split.")
    dashboard = commands.ui(name)
    views = [f"`{dashboard}` opens the dashboard"] if dashboard else []
    if offers_report:
        views.append(f"`{commands.about('report', name)}` lays it out on one page")
    views.append(f"`{commands.about('ranges', name)}` explains every range")
    return [*lines, f"{'; '.join(views)}.", *_going_on(study, document, ledger, commands)]


def _going_on(
    study: StoredStudy, document: JSON, ledger: Sequence[JSON], commands: Commands
) -> list[str]:
    """The command that gives the study further rounds, where there is a reason."""
    undone = _pending_undo(study, document)
    command = commands.extended(study.name, study.next_rounds)
    if undone is not None:
        begins = f"round {len(document['rounds']) + 1} from the ranges of round {undone - 1}"
        return [f"`{command}` begins {begins}."]
    wider = _wider(study, document, ledger, commands)
    if not wider and study.spec.rounds < study.rounds_asked:
        return [f"`{command}` goes on all the same."]
    return wider


def _pending_undo(study: StoredStudy, document: JSON) -> int | None:
    """The round whose narrowing is taken back once there is another round; None for none."""
    last = len(document["rounds"])
    undone = [a.change.undo for a in study.amendments if a.place.round == last and a.change.undo]
    return undone[-1] if undone else None


def _wider(
    study: StoredStudy, document: JSON, ledger: Sequence[JSON], commands: Commands
) -> list[str]:
    """How to look beyond edges that the optimum may lie beyond."""
    ends: dict[str, list[End]] = {}
    for row in (row for rows in _by_dimension(ledger) for row in rows):
        known = ends.setdefault(row["dimension"], [])
        known += [end for end in _shut_ends(study, row) if end not in known]
    if is_compared(document):
        return _anew(study, ends, commands)
    return _longer(study, ends, commands) or _another_round(study, ledger, commands)


def _another_round(study: StoredStudy, ledger: Sequence[JSON], commands: Commands) -> list[str]:
    """The command that looks beyond edges that were opened after the last round."""
    ends = [
        f"the {end} edge of {rows[-1]['dimension']}"
        for rows in _by_dimension(ledger)
        for end in _open_ends(study, rows[-1])
    ]
    if not ends:
        return []
    command = commands.extended(study.name, study.next_rounds)
    return [f"`{command}` looks beyond {' and '.join(ends)} and keeps all trials."]


def _longer(study: StoredStudy, ends: Mapping[str, Sequence[End]], commands: Commands) -> list[str]:
    """The command that goes on with this study and all its trials, beyond edges that are shut."""
    found = {name: further_ends(study.spec, name, its) for name, its in ends.items()}
    further = {name: its for name, its in found.items() if its}
    if not further:
        return []
    options = [limits_option(study.spec, name, its) for name, its in further.items()]
    command = commands.extended(study.name, study.next_rounds, *options)
    where = " and ".join(
        f"the {end} edge of {name}" for name, its in further.items() for end in its
    )
    return [f"`{command}` looks beyond {where} and keeps all trials."]


def _anew(study: StoredStudy, ends: Mapping[str, Sequence[End]], commands: Commands) -> list[str]:
    """The same by another study, where this one was compared and stays as it is."""
    moves = [_move(study, name, end) for name, its in ends.items() for end in its]
    if not moves:
        return []
    return [f"`{commands.wider(study.name)}`, then move {' and '.join(moves)} there."]


def _move(study: StoredStudy, name: str, end: End) -> str:
    """Which number of the study file has to move, and how far at least."""
    key, past = ("low", "below") if end == "lower" else ("high", "above")
    dimension = next(d for d in study.spec.space.dimensions if d.name == name)
    written = next(d for d in study.begun.space.dimensions if d.name == name)
    what = key if written.limits is None else f"{end} limit"
    wall = dimension.widest.document()[key]
    return f"the {what} of {name} {past} {number(wall)}"
