"""The study files that ship with hpsearch, found by name."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STUDY = "digits"


def shipped_studies() -> dict[str, Path]:
    """Path of every shipped study file, by name.

    In an installed package they lie inside it; in a source tree, in `studies/` beside it.
    """
    package = Path(__file__).parent
    places = [package / "studies", package.parent / "studies"]
    folder = next((place for place in places if place.is_dir()), places[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
