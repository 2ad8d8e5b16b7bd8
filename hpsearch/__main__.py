"""The `hpsearch` command, and `python -m hpsearch`: it hears Ctrl-C before it imports anything."""

import os
import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130


def run() -> None:
    """Run the command; Ctrl-C while its modules are imported ends it without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # as in a shell's background, where it stays so
        signal.signal(signal.SIGINT, _leave)
    from hpsearch.cli.main import run as run_command

    signal.signal(signal.SIGINT, before)
    run_command()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Nothing was begun, so nothing is to be cleared up."""
    os.write(2, b"hpsearch: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    run()
