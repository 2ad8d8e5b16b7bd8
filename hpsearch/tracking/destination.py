"""Where the mirror copies to; needs no MLflow to be imported."""

from __future__ import annotations

from hpsearch.errors import TrackingError

NONE = "none"


def check_destination(database_url: str, tracking_uri: str) -> None:
    """Refuse one database for both: each tool owns a table `alembic_version` in it.

    Raises:
        TrackingError: If both addresses are the same.
    """
    if tracking_uri == database_url:
        raise TrackingError(
            f"--database and --tracking are both {database_url}: hpsearch and MLflow cannot share "
            "a database; give MLflow its own, such as sqlite:///mlflow.db"
        )
