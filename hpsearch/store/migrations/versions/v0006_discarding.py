"""A trial may be discarded: rounds keep the bands, and trials what they were judged by.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OF_A_TRIAL = {
    "updates": sa.Integer,
    "updates_saved": sa.Integer,
    "below_at": sa.Integer,
    "threshold": sa.Double,
    "stands_for": sa.Double,
}


def upgrade() -> None:
    """Trials of before ran to their end, with nobody counting their updates."""
    op.add_column("hpsearch_round", sa.Column("bands", sa.Text))
    for name, kind in _OF_A_TRIAL.items():
        op.add_column("hpsearch_trial", sa.Column(name, kind))


def downgrade() -> None:
    """Forget bands and what they led to; discarded trials stay discarded."""
    for name in reversed(_OF_A_TRIAL):
        op.drop_column("hpsearch_trial", name)
    op.drop_column("hpsearch_round", "bands")
