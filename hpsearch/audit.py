"""A study's record against what its study file and its results lead to, decided once more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hpsearch.findings import Finding, Verdict
from hpsearch.search.amendments import AmendedSearch
from hpsearch.search.control import Control
from hpsearch.search.design import SearchDesign
from hpsearch.search.ledger import LedgerRow, declared
from hpsearch.search.narrowing import Known, Prospect
from hpsearch.search.rounds import (
    Closing,
    DoneRound,
    PlannedTrial,
    RoundPlan,
    first_round,
)
from hpsearch.search.selection import Winner
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.space import Box, Value, plain
from hpsearch.states import FINISHED
from hpsearch.stops import unlike_bands, unlike_judgements
from hpsearch.store.documents import winner_text
from hpsearch.store.record import (
    RecordedOpening,
    RecordedRange,
    RecordedRound,
    RecordedTrial,
    StudyRecord,
)

# What the rules raise where rows hold what no search has ever written.
_BEYOND_THE_RULES = (ArithmeticError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Decided:
    """What a study's file and results lead to, by the rules that made it.

    Attributes:
        rounds: Every round that must be there, as it was planned, with the round that is there.
        ledger: The rows of every round that must be there.
        complete: Whether the search is over; None where its rows do not allow to say so.
        winners: The winner after each search round that was the last when it was done, None where
            no trial had a score; of a study that was never extended there is one.
        control: What the control arm came to, if it did.
        problem: Why nothing could be decided from the last of the rounds, else None.
        early: The rounds after which the search ended by itself before its last, and why.
    """

    rounds: tuple[tuple[RoundPlan, RecordedRound | None], ...]
    ledger: dict[int, tuple[LedgerRow, ...]]
    complete: bool | None
    winners: dict[int, Winner | None]
    control: Control | None = None
    problem: str | None = None
    early: Mapping[int, Prospect] = field(default_factory=dict)

    @property
    def winner(self) -> Winner | None:
        """The winner of a search that is over, None where no trial has a score."""
        return self.winners[max(self.winners)] if self.complete else None


def decide_again(record: StudyRecord) -> Decided:
    """Plan every round once more, each from what is recorded of the one before."""
    recorded = {(r.purpose, r.number): r for r in record.rounds}
    rounds: list[tuple[RoundPlan, RecordedRound | None]] = []
    ledger = {1: tuple(declared(record.study.begun.space))}
    winners: dict[int, Winner | None] = {}
    early: dict[int, Prospect] = {}
    newest: dict[Purpose, int] = {}

    def so_far(
        *, complete: bool | None, control: Control | None = None, problem: str | None = None
    ) -> Decided:
        return Decided(tuple(rounds), ledger, complete, winners, control, problem, early)

    plan: RoundPlan | None = first_round(SearchDesign.of(record.study.begun))
    control = None
    while plan is not None:
        found = recorded.get((plan.purpose, plan.number))
        rounds.append((plan, found))
        if found is None:
            return so_far(complete=False)
        newest[plan.purpose] = plan.number
        try:
            plan, closing = _closed(record, plan, found, newest)
        except _BEYOND_THE_RULES as error:
            problem = f"{_name(found)}: nothing can be decided from its rows ({error!r})"
            return so_far(complete=None, problem=problem)
        rounds[-1] = (plan, found)
        if not found.closed or closing is None:
            return so_far(complete=False)
        if closing.ledger:
            ledger[closing.round_after(_done(found, plan))] = closing.ledger
        if closing.early is not None:
            early[plan.number] = closing.early
        if closing.finished or closing.winner is not None:
            winners[newest[Purpose.SEARCH]] = closing.winner
        plan, control = closing.following, closing.control
    return so_far(complete=True, control=control)


def _closed(
    record: StudyRecord, plan: RoundPlan, found: RecordedRound, newest: dict[Purpose, int]
) -> tuple[RoundPlan, Closing | None]:
    """The plan with every wave that must be there, and what must follow; None while it is open.

    Args:
        record: The study's record.
        plan: The round as it opens.
        found: What is there of it.
        newest: The newest round of each purpose by then.
    """
    searches = {r.number: r for r in record.rounds if r.purpose == Purpose.SEARCH}
    search = AmendedSearch(
        record.study.begun, record.study.amendments, lambda number: searches[number].box
    )
    last = searches[newest[Purpose.SEARCH]]
    while True:
        planned = {trial.number for trial in plan.trials}
        done = [t for t in found.trials if t.number in planned and t.state in FINISHED]
        if not found.closed and len(done) < len(planned):
            return plan, None
        if not found.closed and len(planned) == plan.size:
            return plan, None
        known = _known(record, plan, newest)
        closing = search.decide(_done(found, plan), known, lambda: _whole(last))
        if not closing.wave:
            return plan, closing
        plan = replace(plan, trials=(*plan.trials, *closing.wave), bands=closing.bands)


def _done(found: RecordedRound, plan: RoundPlan) -> DoneRound:
    """The round when all trials of the plan were done."""
    planned = {trial.number for trial in plan.trials}
    outcomes = [outcome for outcome in found.outcomes if outcome.number in planned]
    return DoneRound(
        found.purpose, found.number, found.box, outcomes, len(planned), plan.model, plan.bands
    )


def _whole(found: RecordedRound) -> DoneRound:
    """A round of which every trial is done."""
    return DoneRound(found.purpose, found.number, found.box, found.outcomes, len(found.trials))


def _known(record: StudyRecord, plan: RoundPlan, newest: dict[Purpose, int]) -> Known:
    """What was known when all trials of the plan were done."""
    last = newest[Purpose.SEARCH] * record.study.begun.trials - 1
    if plan.purpose == Purpose.SEARCH:
        last = max((trial.number for trial in plan.trials), default=-1)
    history = [outcome for outcome in record.history if outcome.number <= last]
    known = {
        purpose: record.outcomes(purpose, up_to=newest.get(purpose, 0))
        for purpose in (Purpose.REPEAT, Purpose.CONFIRMATION, Purpose.CONTROL)
    }
    return Known(
        history=lambda: history,
        repeats=lambda: known[Purpose.REPEAT],
        confirmed=lambda: known[Purpose.CONFIRMATION],
        validation_rows=record.study.validation_rows,
        curves=lambda numbers: {n: record.points[n] for n in sorted(numbers) if n in record.points},
        control=lambda: known[Purpose.CONTROL],
        confirmations=lambda: newest.get(Purpose.CONFIRMATION, 0),
    )


def audit(record: StudyRecord) -> Iterator[Finding]:
    """Compare what is recorded with what is decided again; one finding for each disagreement."""
    decided = decide_again(record)
    yield from _found("rounds", _rounds(record, decided), "as planned, without a gap")
    yield from _found("values", _values(decided), "values and seeds are those of the plan")
    yield from _found("ledger", _ledger(record, decided), "narrowing decides the same ranges again")
    yield from _found("winner", _winner(record, decided), "selection decides the same again")
    if record.study.spec.search.discard == "auto":
        yield from _found(
            "discarded", _discarded(record, decided), "bands and stops, decided again"
        )
    yield from _found("openings", _openings(record, decided), _times(len(record.openings)))
    if record.study.amendments or decided.early:
        count = len(record.study.amendments)
        fine = f"{count} amendment{'s' if count > 1 else ''}, each where it was made"
        yield from _found("amendments", _amendments(record, decided), fine)


def _found(check: str, problems: Iterator[str], fine: str) -> Iterator[Finding]:
    """A finding for each problem, or one that says that there is none."""
    nothing = True
    for problem in problems:
        nothing = False
        yield Finding(check, Verdict.WRONG, problem)
    if nothing:
        yield Finding(check, Verdict.OK, fine)


def _discarded(record: StudyRecord, decided: Decided) -> Iterator[str]:
    for plan, found in decided.rounds:
        why = None if found is None else unlike_bands(plan, found)
        if why is not None:
            yield f"{_name(plan)}: {why}"
    yield from unlike_judgements(record)


# -------------------------------------------------------------------------- rounds


def _rounds(record: StudyRecord, decided: Decided) -> Iterator[str]:
    if decided.problem is not None:
        yield decided.problem
    for plan, found in decided.rounds:
        if found is None:
            yield f"{_name(plan)} was never opened"
        else:
            yield from _round(plan, found)
    planned = {(plan.purpose, plan.number) for plan, _ in decided.rounds}
    for found in record.rounds if decided.complete is not None else ():
        if found.purpose != Purpose.FINAL and (found.purpose, found.number) not in planned:
            yield f"{_name(found)} is there, and no decision has opened it"


def _round(plan: RoundPlan, found: RecordedRound) -> Iterator[str]:
    numbers = [trial.number for trial in found.trials]
    wanted = [trial.number for trial in plan.trials]
    if found.planned != plan.size:
        yield f"{_name(found)} says it has {found.planned} trials, its plan has {plan.size}"
    for number in sorted(set(wanted) - set(numbers)):
        yield f"{_name(found)}: trial {number} is missing"
    for number in sorted(set(numbers) - set(wanted)):
        yield f"{_name(found)}: trial {number} was never planned"
    for trial in found.trials:
        if found.closed and trial.state not in FINISHED:
            yield f"{_name(found)} is closed, and trial {trial.number} is {trial.state}"
    for dimension in plan.box.dimensions:
        there = found.box[dimension.name] if dimension.name in found.box.names else None
        if there != dimension.range:
            yield (
                f"{_name(found)}: {dimension.name} was searched in {_shown(there)}, "
                f"decided was {_shown(dimension.range)}"
            )


def _values(decided: Decided) -> Iterator[str]:
    for plan, found in decided.rounds:
        if found is not None:
            planned = {trial.number: trial for trial in plan.trials}
            differing = [
                (trial, why)
                for trial in found.trials
                if trial.number in planned
                for why in _unlike(planned[trial.number], trial, found)
            ]
            if differing:
                first, why = differing[0]
                more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
                yield f"{_name(found)}: {first.name}: {why}{more}"


def _unlike(planned: PlannedTrial, trial: RecordedTrial, round_: RecordedRound) -> Iterator[str]:
    """How a trial differs from its plan; a sampler that suggests later has planned no values."""
    if trial.seed != planned.seed:
        yield f"seed {trial.seed}, planned {planned.seed}"
    if trial.replicate != planned.replicate:
        yield f"replicate {trial.replicate}, planned {planned.replicate}"
    if planned.values is not None and trial.values != planned.values:
        yield f"values {_plainly(trial.values)}, planned {_plainly(planned.values)}"
    if planned.values is None and trial.values and not _inside(trial.values, round_.box):
        yield f"values {_plainly(trial.values)} lie outside the round's ranges"


def _inside(values: dict[str, Value], box: Box) -> bool:
    return set(values) == set(box.names) and box.contains(values)


# ---------------------------------------------------------------- ledger and winner


def _ledger(record: StudyRecord, decided: Decided) -> Iterator[str]:
    numbers = set(decided.ledger) if decided.complete is None else set(record.ledger)
    for number in sorted(numbers | set(decided.ledger)):
        wanted = {row.dimension: row for row in decided.ledger.get(number, ())}
        found = {row.dimension: row for row in record.ledger.get(number, ())}
        for name in [*wanted, *(name for name in found if name not in wanted)]:
            why = _row(wanted.get(name), found.get(name))
            if why:
                yield f"range of {name} in round {number}: {why}"


def _row(wanted: LedgerRow | None, found: RecordedRange | None) -> str | None:
    """How a row differs; its sentences may be those of an older hpsearch."""
    if wanted is None or found is None:
        return "is missing" if found is None else "was never decided"
    if found.range != wanted.range:
        return f"{_shown(found.range)} in the ledger, {_shown(wanted.range)} decided again"
    for name in ("previous", "elites", "decision", "edge"):
        theirs, ours = getattr(found, name), getattr(wanted, name)
        if theirs != ours:
            return f"{name} {_shown(theirs)} in the ledger, {_shown(ours)} decided again"
    return None


def _winner(record: StudyRecord, decided: Decided) -> Iterator[str]:
    if decided.complete is None:
        return
    state = "complete" if decided.complete else "running"
    if record.study.state != state:
        yield f"the study says it is {record.study.state}, its rounds say {state}"
    winner, control = decided.winner, decided.control
    wanted = None if winner is None else json.loads(winner_text(winner, control))
    if record.study.winner != wanted:
        yield f"{_plainly(record.study.winner)} in the database, {_plainly(wanted)} decided again"


# ------------------------------------------------------------------------ openings


def _openings(record: StudyRecord, decided: Decided) -> Iterator[str]:
    finals = {trial.id: trial for trial in record.trials if trial.purpose == Purpose.FINAL}
    if len(finals) > len(record.openings):
        yield f"{len(finals)} final trials, but {_times(len(record.openings))}"
    for position, opening in enumerate(record.openings, start=1):
        if opening.number != position:
            yield f"opening {position} is numbered {opening.number}"
        trial = finals.get(opening.trial_id)
        if trial is None:
            yield f"opening {opening.number} has no final trial"
        else:
            winner = _winner_then(record, decided, opening.number)
            problems = _opening(record, opening, trial, winner)
            yield from (f"{trial.name}: {why}" for why in problems)


def _winner_then(record: StudyRecord, decided: Decided, number: int) -> dict[str, Value] | None:
    """The values of the winner that was known when the split was opened; None if nobody knows."""
    searched = 0
    for round_ in record.rounds:
        if round_.purpose == Purpose.FINAL and round_.number == number:
            break
        if round_.purpose == Purpose.SEARCH:
            searched = round_.number
    if searched == max(r.number for r in record.rounds if r.purpose == Purpose.SEARCH):
        return record.study.winner_values if record.study.state == "complete" else None
    winner = decided.winners.get(searched)
    return None if winner is None else winner.candidate.values


def _opening(
    record: StudyRecord,
    opening: RecordedOpening,
    trial: RecordedTrial,
    winner: dict[str, Value] | None,
) -> Iterator[str]:
    seed = trial_seed(record.study.spec.seed, Purpose.FINAL, 1, 0)
    if trial.seed != seed:
        yield f"seed {trial.seed}, planned {seed}"
    if winner is not None and trial.values != winner:
        yield f"values {_plainly(trial.values)} are not the winner's"
    finished = trial.state in FINISHED
    if finished != (opening.result is not None):
        yield f"it is {trial.state}, and its opening has {'no ' if finished else 'a '}result"
    if opening.result is None:
        return
    # Of several trainings the trial is the first; openings of before had one.
    own = opening.result.get("scores", [opening.result["score"]])[0]
    if own != trial.score:
        yield f"score {trial.score!r}, and {own!r} in its opening"


# ---------------------------------------------------------------------- amendments


def _amendments(record: StudyRecord, decided: Decided) -> Iterator[str]:
    """What no amendment can say that was made in this study, and what the search's own must say."""
    newest = max(round_.number for round_ in record.rounds if round_.purpose == Purpose.SEARCH)
    places = [amendment.place for amendment in record.study.amendments]
    for number, place in enumerate(places, start=1):
        if not 1 <= place.round <= newest:
            yield f"amendment {number} counts from round {place.round} on, which was never opened"
        elif place < max(places[:number]):
            yield f"amendment {number} counts before the one that was made before it"
    recorded = {
        amendment.place.round: amendment.change.converged
        for amendment in record.study.amendments
        if amendment.change.converged is not None
    }
    for round_ in sorted(recorded.keys() | decided.early.keys()):
        there, again = recorded.get(round_), decided.early.get(round_)
        if there != again:
            yield f"the search ended after round {round_}: {there} by its amendment, {again} again"


def _times(openings: int) -> str:
    return f"the test split was opened {openings} time" + ("" if openings == 1 else "s")


# --------------------------------------------------------------------------- words


def _name(round_: RoundPlan | RecordedRound) -> str:
    number = f" {round_.number}" if round_.purpose == Purpose.SEARCH else ""
    return f"{'round' if number else round_.purpose}{number}"


def _shown(value: Any) -> str:
    """A range as the study file has it, anything else as JSON."""
    return json.dumps(value.document() if hasattr(value, "document") else value)


def _plainly(value: Any) -> str:
    return json.dumps(value, default=plain)
