"""Where text for people goes: the terminal, standard error beside JSON, or nowhere."""

from __future__ import annotations

import os
import sys

from rich.console import Console

# Plain text in a file or pipe: wide enough that tables do not wrap.
_PLAIN_WIDTH = 120


def console_for(*, as_json: bool, quiet: bool) -> Console:
    """The console for a command's words.

    Args:
        as_json: Standard output is for one JSON document, so words go to standard error.
        quiet: Say nothing.
    """
    stream = sys.stderr if as_json else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(file=stream, quiet=quiet, width=width, highlight=False, soft_wrap=False)
