"""The study files that ship with hpsearch, found by name."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STUDY = "digits"


def shipped_studies() -> dict[str, Path]:
    """Path of every shipped study file, by name: `digits`, or `course/moons` in a folder.

    In an installed package they lie inside it; in a source tree, in `studies/` beside it.
    """
    package = Path(__file__).parent
    places = [package / "studies", package.parent / "studies"]
    folder = next((place for place in places if place.is_dir()), places[0])
    files = sorted(folder.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}
