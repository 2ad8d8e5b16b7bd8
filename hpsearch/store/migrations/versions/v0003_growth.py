"""Indexes for every question that is asked while trials run, so that none grows with the study.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
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


HELD = sa.text("token IS NOT NULL")


def upgrade() -> None:
    """Add the indexes, and leave trials that nobody holds out of the tokens'; no row changes."""
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)
    op.drop_index("hpsearch_trial_token", "hpsearch_trial")
    op.create_index(
        "hpsearch_trial_token",
        "hpsearch_trial",
        ["token"],
        sqlite_where=HELD,
        postgresql_where=HELD,
    )


def downgrade() -> None:
    """Drop them, and let the tokens' index hold every trial again."""
    op.drop_index("hpsearch_trial_token", "hpsearch_trial")
    op.create_index("hpsearch_trial_token", "hpsearch_trial", ["token"])
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
