"""The study's own run: ranges, scores, winner, note and files, brought up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hpsearch.seeds import Purpose
from hpsearch.store.database import Database
from hpsearch.store.mirroring import rounds_after
from hpsearch.store.reading import ranges_document, study_document, trials_document
from hpsearch.store.studies import StoredStudy, load_study
from hpsearch.store.workers import machines
from hpsearch.study import FigureName
from hpsearch.tracking import overview
from hpsearch.tracking.content import milliseconds
from hpsearch.tracking.experiment import Experiment, KnownRun

# The folder of figures among the artifacts.
_FIGURES = "figures"
# MLflow shows as tables what this tag names.
_TABLE = "ledger_table.json"
_TABLES = {"mlflow.loggedArtifacts": json.dumps([{"path": _TABLE, "type": "table"}])}
# Those that show the winner or what it scored.
_OF_THE_END: set[FigureName] = {"boxes", "progress", "finalists"}
_AFTER_THE_SEARCH = (Purpose.CONFIRMATION, Purpose.CONTROL)


def update(
    database: Database, study: StoredStudy, experiment: Experiment, run: KnownRun
) -> StoredStudy:
    """Tell the study's run what its study has come to.

    Args:
        database: The study's database.
        study: The study as it was read before.
        experiment: Its experiment in MLflow.
        run: Its own run there.

    Returns:
        The study as it is now.
    """
    study = load_study(database, study.name)
    document, ledger = study_document(database, study), ranges_document(database, study)
    opened, closed = _moments(database, study)
    experiment.log(run, overview.range_measurements(ledger, opened))
    experiment.log(run, overview.score_measurements(document, closed))
    facts = overview.system_tags(machines(database, study.id))
    experiment.set_tags(run, overview.study_tags(document, ledger) | facts | _TABLES)
    experiment.write_file(run, "study.toml", study.source)
    experiment.write_file(run, "ledger.json", json.dumps(ledger, indent=2) + "\n")
    experiment.write_file(run, _TABLE, overview.ledger_table(ledger))
    experiment.write_file(run, "ledger.md", overview.ledger_markdown(document, ledger))
    if study.completed is None:
        experiment.set_status(run, "RUNNING")
    else:
        experiment.set_status(run, "FINISHED", milliseconds(study.completed))
    return study


def final_figures(database: Database, study: StoredStudy) -> list[FigureName]:
    """The study's figures that are as they will stay, unless it is given further rounds."""
    wanted = list(study.spec.figures)
    if study.completed is not None:
        return wanted
    rounds = rounds_after(database, study.id, 0)
    newest = rounds[-1]
    if newest.purpose not in _AFTER_THE_SEARCH:
        return []
    if max(row.number for row in rounds if row.purpose == Purpose.SEARCH) < study.spec.rounds:
        return []
    controlled = newest.purpose == Purpose.CONTROL and newest.number > 1
    early = set(wanted) - _OF_THE_END - (set() if controlled else {"control"})
    return [name for name in wanted if name in early]


def figures(
    database: Database, study: StoredStudy, names: Sequence[FigureName]
) -> dict[str, bytes]:
    """Figures as `hpsearch report` draws them, by artifact name."""
    # matplotlib takes half a second to import, so not before there is something to draw.
    from hpsearch.report.figures.drawing import draw
    from hpsearch.report.figures.material import Material

    material = Material.of(
        study.spec,
        trials_document(database, study),
        study_document(database, study),
        ranges_document(database, study),
    )
    files = draw(material, names).files
    return {f"{_FIGURES}/{name}": content for name, content in files.items()}


def _moments(database: Database, study: StoredStudy) -> tuple[dict[int, int], dict[int, int]]:
    """When search rounds opened and closed, ms since 1970, by number."""
    rounds = [r for r in rounds_after(database, study.id, 0) if r.purpose == Purpose.SEARCH]
    opened = {row.number: milliseconds(row.opened) for row in rounds}
    closed = {row.number: milliseconds(row.ended) for row in rounds if row.ended is not None}
    # The ranges after the last round were decided when it closed.
    following = {number + 1: when for number, when in closed.items()}
    return following | opened, closed
