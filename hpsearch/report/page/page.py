"""Everything a study has come to, on one page for people who read no code."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rich.text import Text

from hpsearch import __version__
from hpsearch.findings import Commands
from hpsearch.report.documents import JSON, finished_trials
from hpsearch.report.endings import endings
from hpsearch.report.figures.drawing import draw
from hpsearch.report.figures.material import Material
from hpsearch.report.lengths import length_text, rounds_text
from hpsearch.report.numbers import count, duration, score, shown_range, shown_values
from hpsearch.report.summary import following_rows, result_sections
from hpsearch.report.tables import NEXT, rounds_cells
from hpsearch.store.studies import StoredStudy
from hpsearch.study import FigureName

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

# A picture of more bytes is no longer drawn in lines: a page is to be opened on a phone.
_LARGEST_SVG = 300_000
# Rows of the table of trials; `hpsearch trials --csv` has them all.
_MOST_TRIALS = 20
# Shown of every search, whatever the study file names.
_OPTUNAS: tuple[FigureName, ...] = ("importance", "slice", "parallel-coordinates")
# The answer first, then how it was found.
_SECTIONS = (
    "Winner",
    "Test",
    "Control",
    "Ledger",
    "Trials",
    "Discarded",
    "Amended",
    "Next",
)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Sources:
    """What a page is made of.

    Attributes:
        study: The study.
        document: Its document, as `show --json` has it.
        ledger: Its ledger, as `ranges --json` has it.
        material: What its figures are drawn from.
        machines: Fingerprints of the machines it ran on.
        commands: As they have to be typed for this database and MLflow.
    """

    study: StoredStudy
    document: JSON
    ledger: Sequence[JSON]
    material: Material
    machines: Sequence[Mapping[str, str]]
    commands: Commands


@dataclass(frozen=True)
class Picture:
    """A figure on the page: its name, what it shows in a sentence, and its address."""

    name: str
    caption: str
    address: str


CAPTIONS: dict[FigureName, str] = {
    "funnel": (
        "Each round's range (blue) and its trials, the darker the better. The dashed lines are the "
        "ranges the study file declares; what is hatched is where a further round would look."
    ),
    "boxes": "All trials in two of the dimensions, and the box of every round.",
    "best-trials": "The best trials, with their curves: validation solid, training dashed.",
    "progress": (
        "The best score so far. A single best score is a lucky one: the dashed line is what the "
        "winner scored over seeds that had no part in choosing it."
    ),
    "finalists": (
        "The finalists over fresh seeds, with 95 % intervals over the seeds. The crosses are the "
        "single scores they were chosen for."
    ),
    "control": "The search beside as many trials without narrowing.",
    "loss-curves": "The training loss of every trial.",
    "accuracy-curves": "The accuracy of every trial.",
    "panels": "Training accuracy by one of the dimensions.",
    "layers": "What the layers looked like.",
    "importance": (
        "How much of the scores' variance each dimension explains, over all that was tried, "
        "the worst trials too (fANOVA, by Optuna)."
    ),
    "parallel-coordinates": "Every trial as a line through its values (by Optuna).",
    "slice": "The scores over each dimension (by Optuna).",
}


def page(sources: Sources) -> str:
    """The page.

    Args:
        sources: What it is made of.

    Returns:
        HTML that opens without a network and runs no script.
    """
    study, document, material = sources.study, sources.document, sources.material
    said = result_sections(study, document, sources.ledger, sources.commands, offers_report=False)
    return _template().render(
        name=study.name,
        lead=_lead(sources),
        tiles=_tiles(document),
        sections={head: [_marked_up(line) for line in said[head]] for head in _SECTIONS},
        rounds=_rounds(sources),
        reasons=_reasons(sources.ledger, study.spec.rounds),
        pictures={picture.name: picture for picture in _pictures(material)},
        endings=endings(material),
        trials=_trials(material),
        facts=_facts(sources),
        source=study.source,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = files("hpsearch.report.page").joinpath("page.html").read_text()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _lead(sources: Sources) -> str:
    spec = sources.study.spec
    names = ", ".join(spec.space.names)
    began = datetime.fromtimestamp(sources.study.created, UTC)
    state = sources.document["state"]
    return (
        f"{rounds_text(spec)}, {length_text(spec)} each, over {names}; begun "
        f"{began:%Y-%m-%d %H:%M} UTC, {state}."
    )


def _tiles(document: JSON) -> list[tuple[str, str, str]]:
    """(heading, figure, what it means) of what people look for first."""
    tiles = []
    test, winner = document["test"], document["winner"]
    if test and test["score"] is not None:
        low, high = test["interval"]
        whose = " of an earlier winner" if test.get("earlier_winner") else ""
        said = f"95 % interval {score(low)} to {score(high)}, {test['rows']} sealed rows"
        tiles.append((f"test accuracy{whose}", score(test["score"]), said))
    if winner:
        said = shown_values(winner["values"])
        tiles.append(("winner, validation", score(winner["score"]), said))
    done = finished_trials(document)
    tiles.append(("trials", f"{done}", f"of {document['planned']} planned"))
    tiles.append(("time", duration(document["seconds"]), f"{document['state']}"))
    return tiles


def _rounds(sources: Sources) -> dict[str, Any]:
    following = following_rows(sources.study, sources.document, sources.ledger)
    head, rows = rounds_cells(sources.document["rounds"], following)
    return {"head": head, "rows": rows}


def _reasons(ledger: Sequence[JSON], rounds: int) -> dict[str, list[tuple[str, str, str]]]:
    """(round, range, reason) of every decision, by dimension."""
    reasons: dict[str, list[tuple[str, str, str]]] = {}
    for row in ledger:
        when = f"round {row['round']}" if row["round"] <= rounds else NEXT
        entry = (when, shown_range(row), row["reason"])
        reasons.setdefault(row["dimension"], []).append(entry)
    return reasons


def _pictures(material: Material) -> list[Picture]:
    """The study's figures, of which some may have nothing to show yet."""
    wanted = [name for name in material.spec.figures if name != "table"]
    further = [name for name in _OPTUNAS if name not in wanted and not material.spec.is_grid]
    found = [_picture(material, name) for name in (*wanted, *further)]
    return [picture for picture in found if picture is not None]


def _picture(material: Material, name: FigureName) -> Picture | None:
    """In lines, which stay sharp on paper; in dots where there are too many of them."""
    lines = draw(material, [name], "svg").files
    if not lines:
        return None
    (content,) = lines.values()
    if len(content) <= _LARGEST_SVG:
        return Picture(name, CAPTIONS[name], _data_address("svg+xml", content))
    (content,) = draw(material, [name], "png").files.values()
    return Picture(name, CAPTIONS[name], _data_address("png", content))


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _trials(material: Material) -> dict[str, Any]:
    names = material.spec.space.names
    rows = [
        [
            str(trial.number),
            str(trial.round),
            score(trial.score),
            *(shown_values({name: trial.values[name]}).removeprefix(f"{name} ") for name in names),
        ]
        for trial in material.best(_MOST_TRIALS)
    ]
    return {"head": ["trial", "round", "validation", *names], "rows": rows}


def _facts(sources: Sources) -> list[tuple[str, str]]:
    """What somebody needs who wants the same table again."""
    study = sources.study
    facts = [("seed", str(study.spec.seed)), ("data", f"SHA-256 {study.data_fingerprint}")]
    machines = sources.machines
    for place, machine in enumerate(machines, start=1):
        head = "machine" if len(machines) == 1 else f"machine {place}"
        facts.append((head, ", ".join(f"{key} {value}" for key, value in machine.items())))
    if len(machines) > 1:
        kinds = count(len(machines), "kind")
        facts.append(("mixed", f"{kinds} of machine, whose last digits may differ"))
    return facts


def _marked_up(line: str) -> Markup:
    """A line in rich's markup as HTML, with `commands` as code."""
    from markupsafe import Markup, escape

    plain = Text.from_markup(line).plain
    parts = _CODE.split(plain)
    marked = [
        Markup("<code>{}</code>").format(part) if position % 2 else escape(part)
        for position, part in enumerate(parts)
    ]
    return Markup("").join(marked)
