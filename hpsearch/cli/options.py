"""Options that several commands share, each written once."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hpsearch.findings import Commands

_DATABASE_VARIABLE = "HPSEARCH_DATABASE"
_TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"

Database = Annotated[
    str,
    typer.Option(
        "--database", envvar=_DATABASE_VARIABLE, help="Where studies are stored.", metavar="URL"
    ),
]
Tracking = Annotated[
    str,
    typer.Option(
        "--tracking",
        envvar=_TRACKING_VARIABLE,
        help='MLflow\'s tracking address, or "none".',
        metavar="URI",
    ),
]
Destination = Annotated[
    str,
    typer.Option(
        "--tracking", envvar=_TRACKING_VARIABLE, help="MLflow's tracking address.", metavar="URI"
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="HPSEARCH_DATA", help="Folder with data files.", metavar="DIR"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Workers; one per physical core by default."),
]
Population = Annotated[
    int | None,
    typer.Option("--population", min=1, help="Trials a worker trains side by side."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; progress goes to stderr.")
]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, a line for each.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a stored study.")]

DEFAULT_DATABASE = "sqlite:///hpsearch.db"
DEFAULT_TRACKING = "sqlite:///mlflow.db"


def commands(database: str, tracking: str | None) -> Commands:
    """Commands that mean these addresses; what is the default here need not be typed.

    Args:
        database: Where studies are stored.
        tracking: MLflow's tracking address, or "none"; None for the default.
    """
    from hpsearch.findings import Commands

    usual_database = os.environ.get(_DATABASE_VARIABLE) or DEFAULT_DATABASE
    usual_tracking = os.environ.get(_TRACKING_VARIABLE) or DEFAULT_TRACKING
    return Commands(
        _option("--database", database, usual_database),
        _option("--tracking", tracking or usual_tracking, usual_tracking),
    )


def _option(name: str, address: str, default: str) -> str:
    from hpsearch.tracking.destination import redacted

    return "" if address == default else f" {name} {shlex.quote(redacted(address))}"
