"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table, as it was then."""
    op.create_table(
        "hpsearch_study",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("optuna_study_id", sa.Integer, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("data_fingerprint", sa.String(64), nullable=False),
        sa.Column("validation_rows", sa.Integer, nullable=False),
        sa.Column("keep_sealed", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("winner", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("completed", sa.Double),
        sa.CheckConstraint("state IN ('running', 'complete')", name="hpsearch_study_state"),
    )
    op.create_table(
        "hpsearch_ledger",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("dimension", sa.String(100), nullable=False),
        sa.Column("range", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        sa.Column("elites", sa.Integer, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("edge", sa.String(8)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.UniqueConstraint("study_id", "round", "dimension", name="hpsearch_ledger_once"),
    )
    op.create_table(
        "hpsearch_mirror",
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), primary_key=True),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("experiment_id", sa.String(64)),
        sa.Column("run_id", sa.String(64)),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("seen", sa.Double, nullable=False),
    )
    op.create_table(
        "hpsearch_worker",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("process", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.Column("stopped", sa.Double),
    )
    op.create_index("hpsearch_worker_study", "hpsearch_worker", ["study_id", "stopped"])
    op.create_table(
        "hpsearch_round",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("planned", sa.Integer, nullable=False),
        sa.Column("box", sa.Text, nullable=False),
        sa.Column("opened", sa.Double, nullable=False),
        sa.Column("closed", sa.Double),
        sa.Column("closing_token", sa.BigInteger),
        sa.Column("closing_until", sa.Double),
        sa.Column("closing_worker_id", sa.Integer, sa.ForeignKey("hpsearch_worker.id")),
        sa.UniqueConstraint("study_id", "purpose", "number", name="hpsearch_round_once"),
        sa.CheckConstraint("state IN ('open', 'closed')", name="hpsearch_round_state"),
    )
    op.create_table(
        "hpsearch_trial",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("round_id", sa.Integer, sa.ForeignKey("hpsearch_round.id"), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("replicate", sa.Integer, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("optuna_trial_id", sa.Integer, nullable=False, unique=True),
        sa.Column("values", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("loss", sa.Double),
        sa.Column("message", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.Integer, sa.ForeignKey("hpsearch_worker.id")),
        sa.Column("token", sa.BigInteger),
        sa.Column("lease_until", sa.Double),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.UniqueConstraint("study_id", "purpose", "number", name="hpsearch_trial_once"),
        sa.CheckConstraint(
            "(state = 'complete') = (score IS NOT NULL)", name="hpsearch_trial_score"
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'complete', 'diverged', 'discarded', 'failed')",
            name="hpsearch_trial_state",
        ),
    )
    op.create_index("hpsearch_trial_claimable", "hpsearch_trial", ["round_id", "state", "number"])
    op.create_index("hpsearch_trial_token", "hpsearch_trial", ["token"])
    op.create_table(
        "hpsearch_attempt",
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpsearch_trial.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("worker_id", sa.Integer, sa.ForeignKey("hpsearch_worker.id"), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
    )
    op.create_table(
        "hpsearch_epoch",
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpsearch_trial.id"), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("metrics", sa.Text, nullable=False),
    )
    op.create_table(
        "hpsearch_test_opening",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpsearch_study.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpsearch_trial.id"), nullable=False),
        sa.Column("opened", sa.Double, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("finished", sa.Double),
        sa.UniqueConstraint("study_id", "number", name="hpsearch_test_opening_once"),
    )


def downgrade() -> None:
    """Drop every hpsearch table; Optuna's stay."""
    for table in (
        "hpsearch_test_opening",
        "hpsearch_epoch",
        "hpsearch_attempt",
        "hpsearch_trial",
        "hpsearch_round",
        "hpsearch_worker",
        "hpsearch_mirror",
        "hpsearch_ledger",
        "hpsearch_study",
    ):
        op.drop_table(table)
