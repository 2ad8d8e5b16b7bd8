"""Results that a benchmark keeps: a line of JSON for each, added as it ends."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def read(file: Path | None) -> list[str]:
    """All lines so far; none where nothing is kept, or nothing yet."""
    return file.read_text(encoding="utf-8").splitlines() if file and file.exists() else []


def add(file: Path | None, result: Any) -> None:
    """Add a dataclass; nothing where nothing is kept."""
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")
