"""An opening of the test split keeps the network that was tested.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Openings of before have kept none."""
    op.add_column("hpsearch_test_opening", sa.Column("model", sa.LargeBinary))


def downgrade() -> None:
    """Forget the networks."""
    op.drop_column("hpsearch_test_opening", "model")
