"""A round keeps the model that its box was decided with, for the waves it is planned in.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rounds of before have none, and are planned to their end."""
    op.add_column("hpsearch_round", sa.Column("model", sa.Text))


def downgrade() -> None:
    """Forget the models."""
    op.drop_column("hpsearch_round", "model")
