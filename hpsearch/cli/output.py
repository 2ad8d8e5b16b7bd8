"""One document, printed for a program or for a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hpsearch.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

# The exit code of a command that Ctrl-C ended.
INTERRUPTED = 130


def emit(
    document: Any,
    *,
    as_json: bool,
    people: Callable[[Console], None],
    as_csv: Callable[[], str] | None = None,
) -> None:
    """Print the document as JSON on standard output, or let `people` print it on a console.

    Args:
        document: The document.
        as_json: Whether it is printed as JSON.
        people: Prints it for people.
        as_csv: Gives it as comma-separated values, where that is wanted.

    Raises:
        UserError: If both JSON and comma-separated values are wanted.
    """
    if as_json and as_csv is not None:
        raise UserError("--json and --csv: one of the two")
    if as_json:
        print_json(document)
        return
    if as_csv is not None:
        sys.stdout.write(as_csv())
        sys.stdout.flush()
        return
    from hpsearch.report.console import console_for

    people(console_for(as_json=False, quiet=False))


def print_json(document: Any) -> None:
    """One JSON document on standard output, out at once."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
