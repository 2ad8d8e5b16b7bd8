"""Shapes of trials, the epoch a score belongs to, and what was found inside a network.

Trials that wait already have no shape: they are claimed together, as they were before.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns and a table; no row changes."""
    op.add_column("hpsearch_trial", sa.Column("shape", sa.String(16)))
    op.add_column("hpsearch_trial", sa.Column("scored_at", sa.Integer))
    op.create_table(
        "hpsearch_diagnosis",
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpsearch_trial.id"), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("layers", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them, and what stands in them."""
    op.drop_table("hpsearch_diagnosis")
    op.drop_column("hpsearch_trial", "scored_at")
    op.drop_column("hpsearch_trial", "shape")
