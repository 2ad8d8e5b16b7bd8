"""The `hpsearch` command: wires the commands together and turns errors into exit codes."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from hpsearch.cli import (
    check,
    copy,
    doctor,
    list_,
    new,
    ranges,
    report,
    show,
    start,
    sync,
    test,
    trials,
    ui,
    verify,
    worker,
)
from hpsearch.cli.output import INTERRUPTED
from hpsearch.errors import HpsearchError, UserError
from hpsearch.launch import fork_server
from hpsearch.launch.threads import one_blas_thread

app = typer.Typer(
    name="hpsearch",
    help="Search hyperparameters in parallel, narrow on evidence, test once.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"hpsearch {version('hpsearch')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version)
]


@app.callback()
def _hpsearch(version: Version = False) -> None:
    pass


app.command()(start.start)
app.command()(worker.worker)
app.command()(ui.ui)
app.command("list")(list_.list_studies)
app.command()(show.show)
app.command()(ranges.ranges)
app.command()(trials.trials)
app.command()(report.report)
app.command()(test.test)
app.command()(sync.sync)
app.command()(copy.copy)
app.command()(new.new)
app.command()(check.check)
app.command()(doctor.doctor)
app.command()(verify.verify)

# What Typer raises for every mistake on the command line; it gives the base no public name.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def run() -> None:
    """Entry point; exit codes: 0 done, 2 a mistake in what was given, 1 else, 130 Ctrl-C."""
    one_blas_thread()
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except UsageError as error:
        _fail(_usage(error), 2)
    except UserError as error:
        _fail(str(error), 2)
    except HpsearchError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (`| head`) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        fork_server.end()
        # Looking for garbage among all that was imported would take half a second of the end.
        gc.freeze()


def _usage(error: BaseException) -> str:
    """One line: what is wrong with the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "hpsearch"
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{said.rstrip('.')}; `{command} --help` lists what it takes"


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        print(f"hpsearch: {line}", file=sys.stderr)  # noqa: T201 - the one place for errors
    sys.exit(code)
