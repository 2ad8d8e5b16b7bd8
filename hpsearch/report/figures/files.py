"""Figures as they are asked for by name and laid down in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from hpsearch.errors import UserError
from hpsearch.study import FigureName
from hpsearch.wording import nearest, shown

NAMES: tuple[FigureName, ...] = get_args(FigureName)


def figure_names(given: Sequence[str]) -> tuple[FigureName, ...]:
    """The names, each once.

    Raises:
        UserError: If one is not that of a figure.
    """
    for name in given:
        if name not in NAMES:
            raise UserError(f"--figure {shown(name)}: no such figure{nearest(name, NAMES)}")
    return tuple(cast(FigureName, name) for name in dict.fromkeys(given))


def write(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write files into a folder, which is made; returns their paths.

    Raises:
        UserError: If they cannot be written.
    """
    paths = []
    try:
        for name, content in files.items():
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_bytes(content)
            paths.append(path)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written: {error.strerror}") from error
    return paths
