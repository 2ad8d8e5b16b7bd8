"""Which folders data are read from and kept in.

`HPSEARCH_DATA` names a folder with downloaded files, `HPSEARCH_CACHE` one this program may
write to. An explicit argument always wins over the environment.
"""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "HPSEARCH_DATA"
CACHE_VARIABLE = "HPSEARCH_CACHE"


def cache_folder(explicit: Path | None = None) -> Path:
    """Folder for downloads and prepared rows; it need not exist yet."""
    if explicit is not None:
        return explicit
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("hpsearch")


def data_folder(explicit: Path | None = None) -> tuple[Path, str] | None:
    """The folder the user pointed at and what they pointed with; None if they did not."""
    if explicit is not None:
        return explicit, "--data-dir"
    given = os.environ.get(DATA_VARIABLE)
    return (Path(given), DATA_VARIABLE) if given else None
