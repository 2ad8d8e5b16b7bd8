"""What is changed of a study after it was begun, and how its search goes on with it.

An amendment is an input of the search as the study file is. It is kept with the place in the search
from which on it counts, so that whoever decides again decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from hpsearch.errors import UserError
from hpsearch.search.design import SearchDesign
from hpsearch.search.ledger import Undone
from hpsearch.search.narrowing import Known, Prospect
from hpsearch.search.rounds import Closing, DoneRound, close_round
from hpsearch.seeds import Purpose
from hpsearch.space import Box, Dimension, Interval
from hpsearch.study import StudySpec

Limits = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, order=True)
class Place:
    """Where in a search something is decided.

    Attributes:
        round: A search round.
        over: False for its close; True where the search goes on after it, although it was over.
    """

    round: int
    over: bool = False


@dataclass(frozen=True)
class Change:
    """What an amendment changes; all that is None or empty stays.

    Attributes:
        rounds: How many rounds the study has.
        limits: How far ranges may grow.
        undo: The round whose narrowing is taken back.
        converged: Why the search itself ended after so many rounds; None where somebody else asked.
    """

    rounds: int | None = None
    limits: Limits = field(default_factory=dict)
    undo: int | None = None
    converged: Prospect | None = None

    def document(self) -> dict[str, Any]:
        """JSON form; `Change.from_document` reads it back equal."""
        limits = {name: list(ends) for name, ends in self.limits.items()}
        converged = None if self.converged is None else asdict(self.converged)
        document = {
            "rounds": self.rounds,
            "limits": limits,
            "undo": self.undo,
            "converged": converged,
        }
        return {key: value for key, value in document.items() if value}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The change whose `document()` this is."""
        limits = {name: (low, high) for name, (low, high) in document.get("limits", {}).items()}
        found = document.get("converged")
        converged = None if found is None else Prospect(**found)
        return cls(document.get("rounds"), limits, document.get("undo"), converged)


@dataclass(frozen=True)
class Amendment:
    """A change of a study, and from where on it counts.

    Attributes:
        place: The first decision that it has a part in.
        change: What it changes.
        made: Seconds since 1970.
    """

    place: Place
    change: Change
    made: float


def amended(begun: StudySpec, amendments: Sequence[Amendment]) -> StudySpec:
    """The study with its amendments.

    Args:
        begun: The study as it was begun.
        amendments: Oldest first.

    Raises:
        ValueError: If it is no study that could be begun so.
    """
    rounds = [a.change.rounds for a in amendments if a.change.rounds is not None]
    limits = {name: ends for a in amendments for name, ends in a.change.limits.items()}
    if not rounds and not limits:
        return begun
    document = begun.document()
    if rounds:
        document["search"]["rounds"] = rounds[-1]
    for name, ends in limits.items():
        document["space"][name]["limits"] = list(ends)
    return StudySpec.from_document(document)


# ------------------------------------------------------------------ what is asked for


def rounds_asked(begun: StudySpec, amendments: Sequence[Amendment]) -> int:
    """The most rounds that anybody has asked for; a search that has converged has fewer."""
    asked = [a.change.rounds or 0 for a in amendments if a.change.converged is None]
    return max([begun.rounds, *asked])


def extension(begun: StudySpec, now: StudySpec, wanted: StudySpec, asked: int) -> Change:
    """What more a study file asks for: rounds, and limits that hold those of now.

    What still stands there as the study was begun asks for nothing, so that a file need not follow
    every amendment; nor do rounds that were asked for before and not needed.

    Args:
        begun: The study as it was begun.
        now: The study with its amendments.
        wanted: The study as its file has it.
        asked: See `rounds_asked`.
    """
    rounds = wanted.rounds if wanted.rounds > asked else None
    first = _dimensions(begun)
    limits = {
        d.name: (d.limits.low, d.limits.high)
        for d in wanted.space.dimensions
        if d.limits is not None and d != first.get(d.name) and _is_wider(d, now)
    }
    return Change(rounds, limits)


def other_differences(begun: StudySpec, now: StudySpec, wanted: StudySpec) -> list[str]:
    """One line for each difference that no extension makes; see `extension`."""
    update: dict[str, Any] = {}
    if wanted.rounds > now.rounds or wanted.rounds == begun.rounds:
        search = wanted.search.model_copy(update={"rounds": now.search.rounds})
        update["search"] = search
    first, present = _dimensions(begun), _dimensions(now)
    dimensions = [
        present[d.name] if d == first.get(d.name) or _is_wider(d, now) else d
        for d in wanted.space.dimensions
    ]
    update["space"] = Box(tuple(dimensions))
    return wanted.model_copy(update=update).differences(now)


def taking_back(
    begun: StudySpec,
    amendments: Sequence[Amendment],
    place: Place,
    changed: Mapping[int, bool],
    number: int,
) -> Change | None:
    """What takes back the narrowing that opened a round.

    Args:
        begun: The study as it was begun.
        amendments: Those there are, oldest first.
        place: Where it will count.
        changed: The rounds whose ranges are decided, and whether any differs from the round before.
        number: The round.

    Returns:
        None where that is the newest wish for the next round already.

    Raises:
        UserError: If there is nothing to take back.
    """
    if begun.is_grid:
        raise UserError(f"{begun.name}: a grid narrows nothing, so there is nothing to undo")
    if number == 1:
        raise UserError(f"{begun.name}: round 1 has the declared ranges; nothing came before them")
    if number not in changed:
        newest = max(changed)
        there = f"give 2 to {newest}" if newest > 1 else "no range has been narrowed yet"
        raise UserError(f"{begun.name}: the ranges of round {number} were never decided; {there}")
    if not changed[number]:
        raise UserError(
            f"{begun.name}: round {number} has the ranges of round {number - 1}; there is nothing "
            "to undo"
        )
    wishes = [a.change.undo for a in amendments if a.place == place and a.change.undo is not None]
    return None if wishes[-1:] == [number] else Change(undo=number)


def _dimensions(spec: StudySpec) -> dict[str, Dimension]:
    return {dimension.name: dimension for dimension in spec.space.dimensions}


def _is_wider(wanted: Dimension, now: StudySpec) -> bool:
    """Whether a dimension has the range of now, and limits beyond those of now."""
    present = _dimensions(now).get(wanted.name)
    if present is None or present.range != wanted.range or wanted.limits is None:
        return False
    widest = present.widest
    if not isinstance(widest, Interval) or widest == wanted.limits:
        return False
    return wanted.limits.low <= widest.low and widest.high <= wanted.limits.high


# ---------------------------------------------------------------------- what follows


@dataclass(frozen=True)
class AmendedSearch:
    """A search with its amendments, each from its place on.

    Attributes:
        begun: The study as it was begun.
        amendments: Oldest first.
        box: The box of a search round that was opened.
    """

    begun: StudySpec
    amendments: Sequence[Amendment]
    box: Callable[[int], Box]

    def decide(self, done: DoneRound, known: Known, last: Callable[[], DoneRound]) -> Closing:
        """What follows a round; a search that is over goes on where it was given more rounds.

        Args:
            done: The round.
            known: What else is known.
            last: The last search round, which is only asked for once the search is over.

        Returns:
            As `close_round`; with the winner also where the search goes on after it.
        """
        closing = close_round(self._design_after(done, last), done, known)
        if not closing.finished:
            return closing
        ended = last()
        place = Place(ended.number, over=True)
        design = self.design(place)
        ends_early = closing.early and not _gives_rounds(self.amendments, place)
        if design.rounds <= ended.number or ends_early:
            return closing
        # Who asks for further rounds wants them, whatever they may bring.
        longer = replace(design, until_converged=False)
        following = close_round(longer, ended, known)
        return replace(following, winner=closing.winner, early=closing.early)

    def _design_after_repeats(self, number: int) -> SearchDesign:
        """Where they came last, since further rounds were asked for, these are run."""
        search, place = self._undecided(number), Place(number, over=True)
        design, is_asked = search.design(place), _gives_rounds(search.amendments, place)
        return replace(design, until_converged=False) if is_asked else design

    def _undecided(self, number: int) -> Self:
        """The same before the search itself found that it is over after a round."""
        found = [
            index
            for index, amendment in enumerate(self.amendments)
            if amendment.change.converged is not None and amendment.place.round == number
        ]
        return replace(self, amendments=self.amendments[: found[0]]) if found else self

    def design(self, place: Place) -> SearchDesign:
        """How the study searches where this is decided."""
        counting = [amendment for amendment in self.amendments if amendment.place <= place]
        design = SearchDesign.of(amended(self.begun, counting))
        new = [amendment.change for amendment in counting if amendment.place.round == place.round]
        if any(change.limits for change in new):
            earlier = [a for a in counting if a.place.round < place.round]
            design = replace(design, before=amended(self.begun, earlier).space.widest)
        undone = [change.undo for change in new if change.undo is not None]
        if not undone:
            return design
        return replace(design, undone=Undone(undone[-1], self.box(undone[-1] - 1)))

    def _design_after(self, done: DoneRound, last: Callable[[], DoneRound]) -> SearchDesign:
        """Waves of a round are planned alike, whatever is amended meanwhile."""
        if done.purpose in {Purpose.CONFIRMATION, Purpose.CONTROL}:
            ended = last().number
            design = self.design(Place(ended, over=True))
            # The control arm is as large as the whole search, so it waits for further rounds.
            return replace(design, control=None) if design.rounds > ended else design
        if done.purpose == Purpose.REPEAT:
            return self._design_after_repeats(done.number)
        if done.finished < self.begun.trials:
            return self.design(Place(done.number - 1, over=True))
        return self.design(Place(done.number))


def _gives_rounds(amendments: Sequence[Amendment], place: Place) -> bool:
    """Whether any of them gives a study rounds from this very place on."""
    return any(a.place == place and a.change.rounds is not None for a in amendments)
