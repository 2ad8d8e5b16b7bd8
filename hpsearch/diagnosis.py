"""What `hpsearch doctor` looks at: a database, its studies and MLflow, nothing of it changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage

from hpsearch.catalog import DEFAULT_STUDY
from hpsearch.data.folders import cache_folder
from hpsearch.errors import (
    DatabaseError,
    ForeignDatabaseError,
    NewDatabaseError,
    NoStudiesError,
    OldDatabaseError,
    TrackingError,
)
from hpsearch.findings import Commands, Finding, Verdict
from hpsearch.report.numbers import count, duration
from hpsearch.store.database import NETWORK_VARIABLE, network_files_allowed
from hpsearch.store.file_systems import network_filesystem
from hpsearch.store.inspection import (
    Inspection,
    MirrorLag,
    MissingWorker,
    Suspects,
    database_file,
    inspecting,
)
from hpsearch.store.tables import SCHEMA_VERSION
from hpsearch.tracking.destination import check_destination, is_server, redacted
from hpsearch.tracking.inspection import known_experiments

OK, WARNING, WRONG = Verdict.OK, Verdict.WARNING, Verdict.WRONG

# A claim asks a handful of questions; slower than this, workers wait more than they train.
_SLOW_SECONDS = 0.1
# A search of 300 trials takes a few MB, and MLflow's copy of it three times as much.
_LITTLE_BYTES, _FEW_BYTES = 1 << 30, 50 << 20
# Times are shown by the database's clock; leases are judged by it alone.
_CLOCK_SECONDS = 5.0
# A mirror says how far it is every second, or every 15 s while MLflow is away.
_MIRROR_SECONDS = 60.0
# So many trials are named; of more only their number.
_NAMED = 3


def diagnose(database: str, tracking: str, commands: Commands) -> Iterator[Finding]:
    """Look at one thing after the other; every finding comes as soon as it is made.

    Args:
        database: Where the studies live.
        tracking: Where MLflow keeps its copies, or "none".
        commands: What to type to mend something.

    Raises:
        UserError: If there is no database of hpsearch's at that address, or MLflow cannot be
            at the other.
    """
    if tracking != "none":
        check_destination(database, tracking)
    path = database_file(database)
    if path is not None and path.is_file():
        yield _file_system(path)
        yield _disk_space(path)
    mirrors: list[MirrorLag] | None = None
    try:
        with inspecting(database) as look:
            yield _answer(look)
            schema = _schema(look, commands)
            yield schema
            if schema.verdict == OK:
                yield from _checked(look, commands)
                mirrors = look.mirror_lags()
                yield from (_mirror(lag, commands) for lag in mirrors)
    except (NoStudiesError, ForeignDatabaseError):
        raise
    except DatabaseError as error:
        yield Finding("database", WRONG, str(error))
    if tracking != "none":
        yield from _mlflow(tracking, mirrors, commands)


def _checked(look: Inspection, commands: Commands) -> Iterator[Finding]:
    """What can be asked of a database whose tables are as they should be."""
    if look.is_sqlite:
        yield _journal(look, commands)
    yield from _leases(look, commands)
    yield from _rows(look, commands)
    yield from _workers(look, commands)
    yield _clock(look)


# ------------------------------------------------------------------------- the place


def _file_system(path: Path) -> Finding:
    kind = network_filesystem(path)
    if kind is None:
        return Finding("file system", OK, f"{path} is on a disk of this machine")
    if network_files_allowed():
        said = (
            f"{path} is on {kind}, and {NETWORK_VARIABLE}=allow says that its locks can be trusted"
        )
        return Finding("file system", WARNING, said)
    said = (
        f"{path} is on {kind}, whose locks SQLite cannot trust: use PostgreSQL, or end every "
        "process of hpsearch and move the file to a disk of this machine"
    )
    command = f"mv {shlex.quote(str(path))}* /LOCAL/FOLDER/"
    return Finding("file system", WRONG, said, command=command)


def _disk_space(path: Path) -> Finding:
    folder = path.resolve().parent
    free = disk_usage(folder).free
    said = f"{free / 2**30:.1f} GB free in {folder}"
    if free >= _LITTLE_BYTES:
        return Finding("disk space", OK, said)
    verdict = WARNING if free >= _FEW_BYTES else WRONG
    command = f"rm -r {shlex.quote(str(cache_folder() / 'prepared'))}"
    return Finding("disk space", verdict, f"only {said}", command=command)


# ---------------------------------------------------------------------- the database


def _answer(look: Inspection) -> Finding:
    seconds, _ = look.answer()
    said = f"answers in {1000 * seconds:.1f} ms"
    if seconds < _SLOW_SECONDS:
        return Finding("database", OK, said)
    return Finding("database", WARNING, f"{said}: workers will wait for it more than they should")


def _schema(look: Inspection, commands: Commands) -> Finding:
    try:
        look.check_schema()
    except OldDatabaseError as error:
        studies = [*look.study_states(), DEFAULT_STUDY]
        return Finding("schema", WRONG, str(error), command=commands.start(studies[0]))
    except NewDatabaseError as error:
        return Finding("schema", WRONG, str(error), command="pip install --upgrade hpsearch")
    return Finding("schema", OK, f"version {SCHEMA_VERSION}, as this hpsearch writes it")


def _journal(look: Inspection, commands: Commands) -> Finding:
    mode, seconds = look.journal_mode(), look.busy_seconds()
    if mode == "wal":
        return Finding("journal", OK, f"write-ahead log; writers wait {seconds:.0f} s for others")
    said = f"journal_mode is {mode}: readers and writers wait for each other"
    return Finding("journal", WARNING, said, command=commands.list_studies())


def _clock(look: Inspection) -> Finding:
    _, ahead = look.answer()
    side = "ahead of" if ahead > 0 else "behind"
    said = f"the database's is {abs(ahead):.3f} s {side} this machine's"
    if abs(ahead) < _CLOCK_SECONDS:
        return Finding("clock", OK, said)
    said = f"{said}; leases are judged by the database's alone"
    return Finding("clock", WARNING, said, command="timedatectl set-ntp true")


# ----------------------------------------------------------------------- its studies


def _leases(look: Inspection, commands: Commands) -> Iterator[Finding]:
    lapsed, openings = look.lapsed_leases(), look.unfinished_openings()
    for suspects in lapsed:
        command = commands.start(suspects.study)
        yield Finding("leases", WARNING, _told(suspects), suspects.study, command)
    for suspects in openings:
        command = commands.test(suspects.study)
        yield Finding("leases", WARNING, _told(suspects), suspects.study, command)
    if not lapsed and not openings:
        yield Finding("leases", OK, "none has lapsed")


def _rows(look: Inspection, commands: Commands) -> Iterator[Finding]:
    broken = look.broken_rows()
    for suspects in broken:
        verdict = WRONG if suspects.harmful else WARNING
        again = commands.run_again if suspects.harmful else commands.start
        yield Finding("rows", verdict, _told(suspects), suspects.study, again(suspects.study))
    short = look.short_studies()
    for study in short:
        said = f"is complete after {count(study.rounds, 'round')}, and was given {study.given}"
        yield Finding("rows", WRONG, said, study.study, commands.run_again(study.study))
    if not broken and not short:
        yield Finding("rows", OK, "every row has its partners, Optuna's among them")


def _told(suspects: Suspects) -> str:
    named = ", ".join(suspects.trials[:_NAMED])
    more = len(suspects.trials) - _NAMED
    rest = f" and {count(more, 'other')}" if more > 0 else ""
    return f"{named}{rest}: {suspects.said}"


def _workers(look: Inspection, commands: Commands) -> Iterator[Finding]:
    alive, missing = look.workers()
    yield Finding("workers", OK, f"{alive} alive")
    for worker in missing:
        command = commands.start(worker.study)
        yield Finding("workers", WARNING, _missing(worker), worker.study, command)


def _missing(worker: MissingWorker) -> str:
    if worker.gone:
        return f"{worker.name}: its process is gone, and nobody has taken over its trials yet"
    return f"{worker.name}: not heard of for {duration(worker.silent)}"


# --------------------------------------------------------------------------- MLflow


def _mirror(lag: MirrorLag, commands: Commands) -> Finding:
    command = commands.sync(lag.study)
    if lag.destination is None:
        said = "never copied to MLflow, which nothing depends on"
        return Finding("mirror", OK, said, lag.study, command)
    behind = lag.finished - lag.copied
    said = f"{behind} of {count(lag.finished, 'trial')} behind" if behind else "has every trial"
    said += f": {lag.message}" if lag.message else ""
    waits = bool(lag.message) or (behind > 0 and lag.silent > _MIRROR_SECONDS)
    if not waits:
        return Finding("mirror", OK, said, lag.study)
    return Finding("mirror", WARNING, said, lag.study, command)


def _mlflow(
    tracking: str, mirrors: list[MirrorLag] | None, commands: Commands
) -> Iterator[Finding]:
    place = redacted(tracking)
    if mirrors is None:
        yield Finding("MLflow", OK, f"left out: nobody can ask what was copied to {place}")
        return
    copied = [lag.study for lag in mirrors if lag.destination == place]
    if not copied and not is_server(tracking):
        yield Finding("MLflow", OK, f"nothing was copied to {place} yet")
        return
    try:
        known = known_experiments(tracking, copied)
    except TrackingError as error:
        said = f"{error}; no trial is lost, only the copy waits"
        command = commands.sync(copied[0]) if copied else None
        yield Finding("MLflow", WARNING, said, command=command)
        return
    yield Finding("MLflow", OK, f"{place} answers")
    for study in copied:
        if study not in known:
            said = f"{place} has no experiment of this name any more"
            yield Finding("MLflow", WARNING, said, study, commands.sync(study))
