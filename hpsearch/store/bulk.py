"""Optuna's own tables, written in bulk: the only module that knows Optuna's schema.

`BulkStorage` is an `optuna.storages.RDBStorage` that passes Optuna's storage tests, and on top
writes many trials in one statement inside a transaction of the caller. What it writes reads
back through Optuna's API equal to what that API would have written, field by field.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    create_engine,
    delete,
    exists,
    insert,
    select,
    update,
)
from sqlalchemy.engine import URL

from hpsearch.errors import DatabaseError
from hpsearch.space import Scalar
from hpsearch.store.engine import engine_options, one_at_a_time, parse_url, tune

_studies: Table = models.StudyModel.__table__
_trials: Table = models.TrialModel.__table__
_params: Table = models.TrialParamModel.__table__
_values: Table = models.TrialValueModel.__table__
_intermediates: Table = models.TrialIntermediateValueModel.__table__
_attributes: Table = models.TrialUserAttributeModel.__table__

# What a study is made of, and what a trial is, for whoever takes them whole: the row, then the
# tables that refer to it. Heartbeats are left out: they belong to a process.
STUDY_TABLES: tuple[Table, ...] = (
    _studies,
    models.StudyDirectionModel.__table__,
    models.StudyUserAttributeModel.__table__,
    models.StudySystemAttributeModel.__table__,
)
TRIAL_TABLES: tuple[Table, ...] = (
    _trials,
    _params,
    _values,
    _intermediates,
    _attributes,
    models.TrialSystemAttributeModel.__table__,
)

_DIRECTIONS = [StudyDirection.MAXIMIZE]
_IntermediateType = models.TrialIntermediateValueModel.TrialIntermediateValueType


@dataclass(frozen=True)
class FinishedTrial:
    """The end of one trial, for Optuna's tables.

    Attributes:
        trial_id: Optuna's id of the trial.
        state: COMPLETE, PRUNED or FAIL.
        value: The objective's value; None unless complete.
        intermediate: Value by step; may be NaN or infinite.
    """

    trial_id: int
    state: TrialState
    value: float | None
    intermediate: Mapping[int, float]


class BulkStorage(RDBStorage):
    """Optuna's SQL storage on a tuned engine, with methods that write many rows at once.

    Args:
        url: Address of the database.
        create: Whether to create Optuna's tables where they are missing.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        # Optuna announces every study it creates on standard error.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        address = parse_url(url)
        if create:
            _create_tables(address)
        try:
            super().__init__(
                address.render_as_string(hide_password=False),
                engine_kwargs=engine_options(address),
                skip_table_creation=True,
                skip_compatibility_check=not create,
            )
        except BaseException:
            if "scoped_session" in vars(self):  # the last that is made before anything is asked
                self.remove_session()
                self.engine.dispose()
            raise
        tune(self.engine)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        tune(self.engine)

    def find_or_create_study(self, name: str) -> int:
        """Optuna's id of the maximising study `name`, made where it is missing.

        Raises:
            DatabaseError: If the study there is was made for something else than one score.
        """
        try:
            study_id = int(self.get_study_id_from_name(name))
        except KeyError:
            with contextlib.suppress(DuplicatedStudyError):  # another process was faster
                self.create_new_study(_DIRECTIONS, name)
            study_id = int(self.get_study_id_from_name(name))
        if self.get_study_directions(study_id) != _DIRECTIONS:
            raise DatabaseError(
                f"{name}: an Optuna study of this name that does not maximise one value is in "
                "this database; give the study another name or use another --database"
            )
        return study_id

    def lock_study(self, connection: Connection, study_id: int) -> None:
        """Let nobody else add trials to a study until the transaction ends, as Optuna does."""
        connection.execute(
            select(_studies.c.study_id).where(_studies.c.study_id == study_id).with_for_update()
        )

    def next_number(self, connection: Connection, study_id: int) -> int:
        """The number of a study's next trial: how many it has, whoever made them.

        Read from the newest one instead of counted: numbers rise with ids, because whoever adds
        trials holds the study's lock.
        """
        newest = connection.scalar(
            select(_trials.c.number)
            .where(_trials.c.study_id == study_id)
            .order_by(_trials.c.trial_id.desc())
            .limit(1)
        )
        return 0 if newest is None else int(newest) + 1

    def insert_waiting(
        self,
        connection: Connection,
        study_id: int,
        params: Sequence[Mapping[str, Scalar] | None],
        distributions: Mapping[str, BaseDistribution],
    ) -> list[int]:
        """Add WAITING trials in order and return Optuna's id of each.

        Args:
            connection: The caller's open write transaction.
            study_id: Optuna's id of the study.
            params: Values of each trial; None where they are set later.
            distributions: The box the values come from, for all of these trials.
        """
        self.lock_study(connection, study_id)  # keeps numbers unique
        first = self.next_number(connection, study_id)
        rows = [
            {"study_id": study_id, "number": first + i, "state": TrialState.WAITING}
            for i in range(len(params))
        ]
        made = connection.execute(
            insert(_trials).returning(_trials.c.number, _trials.c.trial_id), rows
        )
        ids = [trial_id for _, trial_id in sorted(tuple(row) for row in made)]
        known = {i: p for i, p in zip(ids, params, strict=True) if p is not None}
        _insert_params(connection, known, distributions)
        return ids

    def insert_params(
        self,
        connection: Connection,
        params: Mapping[int, Mapping[str, Scalar]],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        """Set the values of one claim's trials, by Optuna's id, in the order of `distributions`."""
        # Somebody may have taken a WAITING row through `study.ask()` and suggested values.
        connection.execute(delete(_params).where(_params.c.trial_id.in_(list(params))))
        _insert_params(connection, params, distributions)

    def start(self, connection: Connection, trial_ids: Sequence[int], when: float) -> None:
        """Set trials RUNNING from `when`, seconds since 1970."""
        connection.execute(
            update(_trials)
            .where(_trials.c.trial_id.in_(trial_ids))
            .values(state=TrialState.RUNNING, datetime_start=_utc(when))
        )

    def hand_back(self, connection: Connection, trial_ids: Sequence[int]) -> None:
        """Set trials WAITING again, as if nobody had started them."""
        connection.execute(
            update(_trials)
            .where(_trials.c.trial_id.in_(trial_ids))
            .values(state=TrialState.WAITING, datetime_start=None, datetime_complete=None)
        )

    def finish(self, connection: Connection, trials: Sequence[FinishedTrial], when: float) -> None:
        """Write states, values and intermediate values of trials that ended at `when`."""
        ids = [trial.trial_id for trial in trials]
        # Somebody may have taken a WAITING row through `study.ask()` and told a value.
        for table in (_values, _intermediates):
            connection.execute(delete(table).where(table.c.trial_id.in_(ids)))
        ends = [{"id": t.trial_id, "new_state": t.state, "end": _utc(when)} for t in trials]
        connection.execute(
            update(_trials)
            .where(_trials.c.trial_id == bindparam("id"))
            .values(state=bindparam("new_state"), datetime_complete=bindparam("end")),
            ends,
        )
        _insert(
            connection,
            _values,
            [_value_row(t.trial_id, t.value) for t in trials if t.value is not None],
        )
        _insert(connection, _intermediates, [row for t in trials for row in _steps(t)])


def optuna_has(
    trial_id: ColumnElement[int], states: Sequence[TrialState] = tuple(TrialState)
) -> ColumnElement[bool]:
    """A condition: Optuna has the trial of this id, in one of these states."""
    return exists(
        select(_trials.c.trial_id).where(
            _trials.c.trial_id == trial_id, _trials.c.state.in_(states)
        )
    )


def _create_tables(address: URL) -> None:
    """Make Optuna's tables in one transaction: all or none, also for two who begin at once."""
    engine = create_engine(address, **engine_options(address))
    tune(engine)
    try:
        with engine.begin() as connection:
            one_at_a_time(connection)
            models.BaseModel.metadata.create_all(connection)
    finally:
        engine.dispose()


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _insert_params(
    connection: Connection,
    params: Mapping[int, Mapping[str, Scalar]],
    distributions: Mapping[str, BaseDistribution],
) -> None:
    texts = {name: distribution_to_json(d) for name, d in distributions.items()}
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(values[name]),
            "distribution_json": texts[name],
        }
        for trial_id, values in params.items()
        for name in distributions
    ]
    _insert(connection, _params, rows)


def _value_row(trial_id: int, score: float) -> dict[str, Any]:
    value, kind = models.TrialValueModel.value_to_stored_repr(score)
    return {"trial_id": trial_id, "objective": 0, "value": value, "value_type": kind}


def _steps(trial: FinishedTrial) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial.trial_id,
            "step": step,
            "intermediate_value": value if math.isfinite(value) else None,
            "intermediate_value_type": _intermediate_type(value),
        }
        for step, value in trial.intermediate.items()
    ]


def _intermediate_type(value: float) -> _IntermediateType:
    if math.isfinite(value):
        return _IntermediateType.FINITE
    if math.isnan(value):
        return _IntermediateType.NAN
    return _IntermediateType.INF_POS if value > 0 else _IntermediateType.INF_NEG


def _utc(seconds: float) -> datetime:
    """Optuna stores naive UTC, and converts in a property that Core statements bypass."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
