"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op

from hpsearch.store.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; the next migrations spell out what they change."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop every hpsearch table; Optuna's stay."""
    metadata.drop_all(op.get_bind())
