"""The `hpsearch_*` tables, which stand beside Optuna's own in one database.

Times are seconds since 1970 by the database's clock. JSON columns are text, so that both
databases store and return the same bytes. What must be unique is unique here, not in Python.
What is asked while trials run finds its rows by one of these keys and indexes, or of Optuna's, and
takes no longer in a longer study; what a person or a restarted mirror asks may.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

# The newest migration; a test holds it equal to the head of `migrations/versions`.
SCHEMA_VERSION = "0007"
VERSION_TABLE = "hpsearch_alembic_version"


class RoundState(StrEnum):
    """A round is open until its last trial is done and the next box is decided."""

    OPEN = "open"
    CLOSED = "closed"


class AttemptOutcome(StrEnum):
    """How one worker's try at a trial ended."""

    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # the worker's process was seen to be gone, or it left in the middle
    TAKEN_OVER = "taken over"  # its lease lapsed, or another process took up its opening
    RETURNED = "returned"  # the worker was asked to stop and handed it back


metadata = MetaData()

_HELD = text("token IS NOT NULL")

study = Table(
    "hpsearch_study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("optuna_study_id", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("source", Text, nullable=False),  # the study file as it was written
    Column("data_fingerprint", String(64), nullable=False),
    Column("validation_rows", Integer, nullable=False),
    Column("keep_sealed", Boolean, nullable=False),  # --no-test: only `hpsearch test` opens it
    Column("state", String(16), nullable=False),
    Column("winner", Text),
    Column("created", Double, nullable=False),
    Column("completed", Double),
    CheckConstraint("state IN ('running', 'complete')", name="hpsearch_study_state"),
)

# What was changed of a study after it was begun; `study.spec` stays as it was.
amendment = Table(
    "hpsearch_amendment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("number", Integer, nullable=False),
    # It counts from the close of this search round on or, made later, once the search is over.
    Column("round", Integer, nullable=False),
    Column("search_over", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Column("made", Double, nullable=False),
    UniqueConstraint("study_id", "number", name="hpsearch_amendment_once"),
)

round_ = Table(
    "hpsearch_round",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("planned", Integer, nullable=False),
    Column("box", Text, nullable=False),
    Column("model", Text),  # what later waves are planned with
    Column("bands", Text),  # what its trials are judged by, wave by wave; NULL where nothing is
    Column("opened", Double, nullable=False),
    Column("closed", Double),
    # Closing is leased work: who computes it, and until when nobody else will.
    Column("closing_token", BigInteger),
    Column("closing_until", Double),
    Column("closing_worker_id", ForeignKey("hpsearch_worker.id")),
    UniqueConstraint("study_id", "purpose", "number", name="hpsearch_round_once"),
    Index("hpsearch_round_open", "study_id", "state"),
    Index("hpsearch_round_newest", "study_id", "id"),
    Index("hpsearch_round_closer", "closing_worker_id", "state"),
    CheckConstraint("state IN ('open', 'closed')", name="hpsearch_round_state"),
)

ledger = Table(
    "hpsearch_ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("round", Integer, nullable=False),  # the round whose range this is
    Column("position", Integer, nullable=False),
    Column("dimension", String(100), nullable=False),
    Column("range", Text, nullable=False),
    Column("previous", Text),
    Column("elites", Integer, nullable=False),
    Column("rule", Text, nullable=False),
    Column("decision", String(16), nullable=False),
    Column("edge", String(8)),
    Column("reason", Text, nullable=False),
    UniqueConstraint("study_id", "round", "dimension", name="hpsearch_ledger_once"),
)

trial = Table(
    "hpsearch_trial",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("round_id", ForeignKey("hpsearch_round.id"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("replicate", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("optuna_trial_id", Integer, nullable=False, unique=True),
    Column("values", Text),
    # What is claimed together can be trained side by side; NULL where the sampler suggests later.
    Column("shape", String(16)),
    Column("state", String(16), nullable=False),
    Column("score", Double),
    Column("loss", Double),
    Column("scored_at", Integer),  # whose weights the score belongs to; NULL for the last epoch
    Column("message", Text),
    Column("updates", Integer),  # of its parameters
    Column("updates_saved", Integer),  # those that a discarded trial was not trained with
    # Where it was below its threshold for the first time; NULL where it never was. A trial that was
    # spared has these too, and is not discarded.
    Column("below_at", Integer),
    Column("threshold", Double),
    Column("stands_for", Double),  # what the surrogate takes the score of a discarded trial for
    Column("attempts", Integer, nullable=False, default=0),
    Column("losses", Integer, nullable=False, default=0),
    Column("worker_id", ForeignKey("hpsearch_worker.id")),
    Column("token", BigInteger),
    Column("lease_until", Double),
    Column("started", Double),
    Column("finished", Double),
    UniqueConstraint("study_id", "purpose", "number", name="hpsearch_trial_once"),
    Index("hpsearch_trial_claimable", "round_id", "state", "number"),
    # Few trials have a token at a time. With the others in it, SQLite takes the index for useless
    # once somebody has run ANALYZE.
    Index("hpsearch_trial_token", "token", sqlite_where=_HELD, postgresql_where=_HELD),
    Index("hpsearch_trial_standing", "study_id", "purpose", "state", "score"),
    Index("hpsearch_trial_worker", "worker_id", "state"),
    CheckConstraint(
        "state IN ('waiting', 'running', 'complete', 'diverged', 'discarded', 'failed')",
        name="hpsearch_trial_state",
    ),
    CheckConstraint("(state = 'complete') = (score IS NOT NULL)", name="hpsearch_trial_score"),
)

epoch = Table(
    "hpsearch_epoch",
    metadata,
    Column("trial_id", ForeignKey("hpsearch_trial.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("metrics", Text, nullable=False),  # {"training_loss": x, ...}; null for not finite
)

diagnosis = Table(
    "hpsearch_diagnosis",
    metadata,
    Column("trial_id", ForeignKey("hpsearch_trial.id"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("layers", Text, nullable=False),  # [{...}, ...], one object a layer
)

attempt = Table(
    "hpsearch_attempt",
    metadata,
    Column("trial_id", ForeignKey("hpsearch_trial.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker_id", ForeignKey("hpsearch_worker.id"), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
)

worker = Table(
    "hpsearch_worker",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("host", String(200), nullable=False),
    # Boot, pid and start time, which one process ever has, and a number, as it may run several.
    Column("process", String(200), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("started", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("stopped", Double),
    Index("hpsearch_worker_study", "study_id", "stopped"),
)

opening = Table(
    "hpsearch_test_opening",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("hpsearch_study.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("trial_id", ForeignKey("hpsearch_trial.id"), nullable=False),
    Column("opened", Double, nullable=False),
    Column("result", Text),
    Column("finished", Double),
    Column("model", LargeBinary),  # the first of the networks that were tested
    UniqueConstraint("study_id", "number", name="hpsearch_test_opening_once"),
)

mirror = Table(
    "hpsearch_mirror",
    metadata,
    Column("study_id", ForeignKey("hpsearch_study.id"), primary_key=True),
    Column("destination", Text, nullable=False),
    Column("experiment_id", String(64)),
    Column("run_id", String(64)),
    Column("trials", Integer, nullable=False),  # finished trials copied so far
    Column("message", Text),  # why it is waiting, if it is
    Column("seen", Double, nullable=False),
)
