"""`hpsearch start`: search, confirm, test, and show it all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hpsearch.catalog import DEFAULT_STUDY
from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE, DEFAULT_TRACKING
from hpsearch.cli.output import INTERRUPTED
from hpsearch.launch import fork_server

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.findings import Commands
    from hpsearch.service import Search
    from hpsearch.store.studies import StoredStudy
    from hpsearch.study import StudySpec


class Launcher(StrEnum):
    """Where workers run."""

    local = "local"
    inline = "inline"
    dask = "dask"


class Control(StrEnum):
    """Who places the trials of the control arm."""

    random = "random"
    tpe = "tpe"


def start(  # noqa: PLR0917 - every argument but the first is an option
    study: Annotated[
        str, typer.Argument(metavar="[STUDY.toml]", help="Study file, or the name of a study.")
    ] = DEFAULT_STUDY,
    database: options.Database = DEFAULT_DATABASE,
    tracking: options.Tracking = DEFAULT_TRACKING,
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    population: options.Population = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Trials a round.")] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limits", metavar="NAME=A..B", help="How far a range may grow."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the study.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Store the study under another name.")
    ] = None,
    control: Annotated[
        Control | None,
        typer.Option("--control", help="Run as many trials without narrowing, and compare."),
    ] = None,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the test split sealed.")
    ] = False,
    launcher: Annotated[Launcher, typer.Option(help="Where workers run.")] = Launcher.local,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            envvar="DASK_SCHEDULER_ADDRESS",
            metavar="ADDRESS",
            help="Of a Dask cluster; without it Dask runs on this machine.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long, and do nothing.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a study to its end, or go on with it where it was left."""
    with _leaving_at_ctrl_c():
        from hpsearch.study_file import limits_from, overridden
        from hpsearch.tracking.destination import check_destination

        if tracking != "none":
            check_destination(database, tracking)
        if launcher is Launcher.local and not Path(study).is_file():
            fork_server.warm_up()  # already: to look a name up takes half of all imports
        spec, source = _study(study, database, migrate=not dry_run)
        further, arm = limits_from(limits or []), None if control is None else control.value
        spec = overridden(
            spec, further, rounds=rounds, trials=trials, seed=seed, name=name, control=arm
        )
        if launcher is Launcher.local:
            fork_server.warm_up()  # first, so that it imports beside what is imported below
        from hpsearch.report.console import console_for
        from hpsearch.service import Search, StartOptions

        run_options = StartOptions(
            database=database,
            tracking=tracking,
            data_dir=data_dir,
            workers=workers,
            population=population,
            launcher=launcher.value,
            scheduler=scheduler,
            open_test=not no_test,
        )
        search = Search(spec, source, run_options)
        console = console_for(as_json=as_json, quiet=quiet)
    try:
        act = _plan if dry_run else _run
        act(search, console, options.commands(database, tracking), as_json=as_json)
    finally:
        search.close()


@contextmanager
def _leaving_at_ctrl_c() -> Iterator[None]:
    """Until the search listens, Ctrl-C ends the command at once, as a kill would.

    An exception would not always arrive: one that is raised in a destructor, in a callback of a
    weak reference or in an import of a library's is lost, or becomes an error of another kind.
    """
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    fork_server.end()
    os.write(2, b"hpsearch: interrupted\n")
    os._exit(INTERRUPTED)


def _study(study: str, database: str, *, migrate: bool) -> tuple[StudySpec, str]:
    """The study meant by a path, a stored study's name or a shipped one's, with its file's text."""
    from hpsearch.store.studies import stored_study
    from hpsearch.study_file import parse_study, read_study

    stored = None if Path(study).is_file() else stored_study(database, study, migrate=migrate)
    if stored is not None:
        return stored.spec, stored.source
    path = find_study_file(study, database)
    source = read_study(path)
    return parse_study(source, str(path)), source


def find_study_file(study: str, database: str | None = None) -> Path:
    """The file meant by a path or by the name of a shipped study.

    Args:
        study: What was typed.
        database: Where a study of this name was looked for before; None for nowhere.

    Raises:
        StudyFileError: If it is neither.
    """
    from hpsearch.catalog import shipped_studies
    from hpsearch.errors import StudyFileError

    path, shipped = Path(study), shipped_studies()
    if path.is_file():
        return path
    if study not in shipped:
        raise StudyFileError([_no_such_file(study, database, shipped)])
    return shipped[study]


def _no_such_file(study: str, database: str | None, shipped: Iterable[str]) -> str:
    """Where a study was looked for, and what there is."""
    from hpsearch.tracking.destination import redacted

    beside = Path(f"{study}.toml")
    if beside.is_file():
        return f"{study}: no such study file; did you mean {beside}?"
    stored = "" if database is None else f", and no such study in {redacted(database)}"
    known = ", ".join(shipped)
    return (
        f"{study}: no such study file{stored}; `hpsearch new NAME` writes one, and these ship: "
        f"{known}"
    )


def _print_plan(search: Search, console: Console) -> None:
    """What a new study will cost, unless that cannot be told: no search waits for it."""
    from hpsearch.errors import HpsearchError, UserError
    from hpsearch.report.plan import plan_line

    try:
        console.print(plan_line(search.forecast()), soft_wrap=True)
    except UserError:
        raise
    except HpsearchError as error:
        console.print(f"Plan: nobody knows how long it takes ({error}).", markup=False)


def _plan(search: Search, console: Console, commands: Commands, *, as_json: bool) -> None:
    """Print what would be done; nothing is."""
    from hpsearch.cli.output import print_json
    from hpsearch.report.plan import plan_line
    from hpsearch.report.summary import opening_line, print_opening

    with _leaving_at_ctrl_c():
        study = search.look()
        plan = search.forecast(study)
    if study is None:
        console.print(opening_line(search.spec), soft_wrap=True)
    else:
        print_opening(console, study, search.finished(study), commands, resumed=True)
    if not plan.is_empty:
        console.print(plan_line(plan, "Plan" if study is None else "Left"), soft_wrap=True)
    if as_json:
        print_json({"study": search.spec.name} | plan.document())


def _run(search: Search, console: Console, commands: Commands, *, as_json: bool) -> None:
    from hpsearch.cli.output import print_json
    from hpsearch.errors import Interrupted
    from hpsearch.report.live import watching
    from hpsearch.report.summary import print_amendment, print_opening, print_result
    from hpsearch.store.reading import ranges_document

    with _leaving_at_ctrl_c():
        study = search.open()
        print_opening(console, study, search.finished(study), commands, resumed=search.resumed)
        if search.amended:
            print_amendment(console, study)
        if not search.resumed and not console.quiet:
            _print_plan(search, console)
    try:
        with watching(console, study.spec, tests=search.will_test(study)) as watch:
            study = search.run(study, watch)
    except Interrupted:
        _show_interrupted(search, console, study, as_json=as_json)
        raise typer.Exit(INTERRUPTED) from None
    document = search.document(study)
    print_result(console, study, document, ranges_document(search.opened, study), commands)
    if as_json:
        print_json(document)
    _finish_mirror(search, console, commands.sync(study.name))
    if document["winner"] is None:
        raise typer.Exit(1)


def _show_interrupted(
    search: Search, console: Console, study: StoredStudy, *, as_json: bool
) -> None:
    """Say how far the study is, or that the database, which knows, cannot be asked."""
    from hpsearch.cli.output import print_json
    from hpsearch.errors import DatabaseUnavailableError
    from hpsearch.report.summary import print_interrupted, print_interrupted_unseen

    try:
        document = search.document(study)
    except DatabaseUnavailableError as error:
        print_interrupted_unseen(console, study, str(error))
        return
    print_interrupted(console, study, document)
    if as_json:
        print_json(document)


def _finish_mirror(search: Search, console: Console, sync: str) -> None:
    """Wait for MLflow; Ctrl-C here loses nothing."""
    from hpsearch.report.live import mirroring

    try:
        with mirroring(console) as watch:
            said = search.finish_mirror(watch)
    except KeyboardInterrupt:
        said = f"MLflow does not have everything yet; `{sync}` copies the rest."
    if said:
        console.print(said, markup=False)
    elif search.mirrored:
        console.print("MLflow has everything.")
