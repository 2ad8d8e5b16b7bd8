"""A study may be amended after it was begun.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Studies of before have no amendment."""
    op.create_table(
        "hpsearch_amendment",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("search_over", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("made", sa.Double, nullable=False),
        sa.UniqueConstraint("study_id", "number", name="hpsearch_amendment_once"),
    )


def downgrade() -> None:
    """Forget the amendments."""
    op.drop_table("hpsearch_amendment")
