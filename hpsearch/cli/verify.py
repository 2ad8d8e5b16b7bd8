"""`hpsearch verify`: finished trials replayed bit for bit, and every decision taken again."""

from __future__ import annotations

import secrets
from contextlib import closing
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from hpsearch.findings import Finding
    from hpsearch.verification import Sample

_TRIALS = 5


class Replayed(StrEnum):
    """Purposes of trials that can be replayed."""

    search = "search"
    repeat = "repeat"
    control = "control"
    confirmation = "confirmation"
    final = "final"


def verify(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Tracking = DEFAULT_TRACKING,
    data_dir: options.DataDir = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, metavar="K", help="Replay K trials, 5 by default."),
    ] = None,
    trial: Annotated[
        int | None, typer.Option("--trial", min=0, metavar="NUMBER", help="Replay this one.")
    ] = None,
    purpose: Annotated[
        Replayed | None, typer.Option("--purpose", help="Only trials of this purpose.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="S", help="Seed of the choice of trials.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Replay trials, take every decision again, and compare with what is stored."""
    from hpsearch.cli.output import print_json
    from hpsearch.findings import Verdict, worst
    from hpsearch.report.console import console_for
    from hpsearch.report.findings import print_finding
    from hpsearch.store.database import open_database
    from hpsearch.tracking.destination import check_destination
    from hpsearch.verification import Verification

    if tracking != "none":
        check_destination(database, tracking)
    sample = _sample(trials, trial, purpose, seed)
    console = console_for(as_json=as_json, quiet=False)
    findings = []
    with closing(open_database(database)) as store:
        verification = Verification(store, name, sample, data_dir)
        replayed = _shown(console, verification.replayed(), verification.replays)
        audited = verification.audited()
        commands = options.commands(database, tracking)
        mirrored = verification.mirrored(tracking, commands) if tracking != "none" else ()
        for finding in chain(replayed, audited, mirrored):
            print_finding(console, finding)
            findings.append(finding)
    verdict = worst(findings)
    if as_json:
        seed_of_choice = None if trial is not None else sample.seed
        document = {"study": name, "verdict": verdict, "seed": seed_of_choice}
        print_json(document | {"findings": [f.document() for f in findings]})
    if verdict == Verdict.WRONG:
        raise typer.Exit(1)


def _sample(
    trials: int | None, trial: int | None, purpose: Replayed | None, seed: int | None
) -> Sample:
    """Which trials to replay.

    Raises:
        BadParameter: If one trial and several are meant at once.
    """
    from hpsearch.seeds import Purpose
    from hpsearch.verification import Sample

    if trial is not None and (trials is not None or seed is not None):
        raise typer.BadParameter("--trial names the one to replay: leave --trials and --seed out")
    seed = secrets.randbits(31) if seed is None else seed
    return Sample(trials or _TRIALS, trial, None if purpose is None else Purpose(purpose), seed)


def _shown(console: Console, findings: Iterator[Finding], trials: int) -> Iterator[Finding]:
    """Pass findings on, and say on a terminal how many trials are still to come."""
    done = 0
    with console.status("") as status:
        status.update(f"replayed {done} of {trials} trials")
        for finding in findings:
            done += finding.check == "replay"
            status.update(f"replayed {done} of {trials} trials")
            yield finding
