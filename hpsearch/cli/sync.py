"""`hpsearch sync`: bring MLflow up to date with the database, from nothing if need be."""

from __future__ import annotations

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING


def sync(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Destination = DEFAULT_TRACKING,
    quiet: options.Quiet = False,
) -> None:
    """Copy what MLflow lacks, and remove what the database no longer has."""
    from rich.markup import escape

    from hpsearch.report.console import console_for
    from hpsearch.report.live import mirroring
    from hpsearch.report.numbers import count, duration
    from hpsearch.tracking.destination import redacted
    from hpsearch.tracking.mirror import sync as sync_study

    console = console_for(as_json=False, quiet=quiet)
    with mirroring(console) as watch:
        report = sync_study(database, name, tracking, watch)
    console.print(
        f"{escape(name)}: {count(report.trials, 'trial')} in {escape(redacted(tracking))}; "
        f"{report.added} added, "
        f"{report.removed} removed, in {duration(report.seconds)}."
    )
