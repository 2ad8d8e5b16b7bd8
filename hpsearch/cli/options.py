"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[
    str,
    typer.Option(
        "--database", envvar="HPSEARCH_DATABASE", help="Where studies are stored.", metavar="URL"
    ),
]
Tracking = Annotated[
    str,
    typer.Option(
        "--tracking",
        envvar="MLFLOW_TRACKING_URI",
        help='MLflow\'s tracking address, or "none".',
        metavar="URI",
    ),
]
Destination = Annotated[
    str,
    typer.Option(
        "--tracking", envvar="MLFLOW_TRACKING_URI", help="MLflow's tracking address.", metavar="URI"
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
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a stored study.")]

DEFAULT_DATABASE = "sqlite:///hpsearch.db"
DEFAULT_TRACKING = "sqlite:///mlflow.db"
