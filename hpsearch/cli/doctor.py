"""`hpsearch doctor`: what is wrong with a database, its studies or MLflow, and what mends it."""

from __future__ import annotations

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING


def doctor(
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Tracking = DEFAULT_TRACKING,
    as_json: options.Json = False,
) -> None:
    """Look at the database, its studies and MLflow, and change nothing."""
    from hpsearch.cli.output import print_json
    from hpsearch.diagnosis import diagnose
    from hpsearch.findings import Verdict, worst
    from hpsearch.report.console import console_for
    from hpsearch.report.findings import print_finding

    console = console_for(as_json=as_json, quiet=False)
    findings = []
    for finding in diagnose(database, tracking, options.commands(database, tracking)):
        print_finding(console, finding)
        findings.append(finding)
    verdict = worst(findings)
    if as_json:
        print_json({"verdict": verdict, "findings": [f.document() for f in findings]})
    if verdict == Verdict.WRONG:
        raise typer.Exit(1)
