"""Indexes for every question that is asked while trials run, so that none grows with the study.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "hpsearch_round_open": ("hpsearch_round", ["study_id", "state"]),
    "hpsearch_round_newest": ("hpsearch_round", ["study_id", "id"]),
    "hpsearch_round_closer": ("hpsearch_round", ["closing_worker_id", "state"]),
    "hpsearch_trial_standing": ("hpsearch_trial", ["study_id", "purpose", "state", "score"]),
    "hpsearch_trial_worker": ("hpsearch_trial", ["worker_id", "state"]),
}


def upgrade() -> None:
    """Add the indexes; no row changes."""
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drop them."""
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
