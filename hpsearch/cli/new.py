"""`hpsearch new`: write a commented study file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from hpsearch.store.studies import StoredStudy


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new study.")],
    origin: Annotated[
        str | None,
        typer.Option("--from", metavar="STUDY", help="Copy a study file, shipped or stored study."),
    ] = None,
    database: options.Database = DEFAULT_DATABASE,
) -> None:
    """Write NAME.toml in this folder."""
    from hpsearch.errors import UserError
    from hpsearch.study_file import parse_study

    name = name.removesuffix(".toml")
    path = Path(f"{name}.toml")
    line = f"name = {json.dumps(name)}"
    text = re.sub(r"(?m)^\s*name\s*=.*$", lambda _: line, _template(origin, database), count=1)
    parse_study(text, str(path))  # refuses a name that cannot be one, before anything is written
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{path}: is already there; choose another name") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    typer.echo(f"{path} written. `hpsearch start {path}` runs it.")


def _template(origin: str | None, database: str) -> str:
    """Text to start from: a file, a stored study, a shipped one, or the commented template."""
    from hpsearch.cli.start import find_study_file
    from hpsearch.study_file import read_study

    if origin is None:
        return read_study(Path(__file__).with_name("new_study.toml"))
    stored = None if Path(origin).is_file() else _stored_study(database, origin)
    return stored.source if stored else read_study(find_study_file(origin))


def _stored_study(database: str, name: str) -> StoredStudy | None:
    """`stored_study`; an older hpsearch's database stays as it is, and its studies unread."""
    from hpsearch.errors import OldDatabaseError
    from hpsearch.store.studies import stored_study

    try:
        return stored_study(database, name)
    except OldDatabaseError:
        return None
