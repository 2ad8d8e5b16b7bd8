"""Findings for people, one line each."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from hpsearch.findings import Finding, Verdict

_STYLE = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red"}
_WIDTH = max(len(verdict) for verdict in Verdict) + 1


def print_finding(console: Console, finding: Finding) -> None:
    """How it stands, what was looked at, what was found, and what to type."""
    line = Text(f"{finding.verdict:{_WIDTH}}", style=_STYLE[finding.verdict])
    line.append(finding.check, style="bold")
    line.append(f" of {finding.study}: " if finding.study else ": ", style="default")
    line.append(" ".join(finding.said.split()), style="default")
    if finding.command:
        line.append(f"; `{finding.command}`", style="default")
    console.print(line, soft_wrap=True)
