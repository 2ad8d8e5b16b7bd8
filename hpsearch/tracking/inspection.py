"""What MLflow has, asked without changing anything there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hpsearch.errors import TrackingError
from hpsearch.store.studies import StoredStudy
from hpsearch.tracking.client import looking
from hpsearch.tracking.content import KEY_TAG, origin
from hpsearch.tracking.destination import redacted
from hpsearch.tracking.experiment import runs_of
from hpsearch.tracking.mirror import one_line

_ACTIVE = "active"


def known_experiments(tracking_uri: str, names: Iterable[str]) -> set[str]:
    """Which of these experiments MLflow has.

    Raises:
        TrackingError: If MLflow does not answer in time.
    """
    try:
        with looking(tracking_uri) as client:
            if client is None:
                return set()
            found = {name: client.get_experiment_by_name(name) for name in names}
    except Exception as error:  # MLflow raises what its drivers and servers raise
        raise _unanswered(tracking_uri, error) from error
    return {name for name, entry in found.items() if entry and entry.lifecycle_stage == _ACTIVE}


def run_keys(tracking_uri: str, study: StoredStudy) -> Counter[str]:
    """Keys of the runs that MLflow has of a study, with how often each is there.

    Raises:
        TrackingError: If MLflow does not answer in time.
    """
    try:
        with looking(tracking_uri) as client:
            found = None if client is None else client.get_experiment_by_name(study.name)
            if client is None or found is None or found.lifecycle_stage != _ACTIVE:
                return Counter()
            runs = runs_of(client, found.experiment_id, origin(study))
            return Counter(run.data.tags.get(KEY_TAG, "") for run in runs)
    except Exception as error:  # MLflow raises what its drivers and servers raise
        raise _unanswered(tracking_uri, error) from error


def _unanswered(tracking_uri: str, error: Exception) -> TrackingError:
    return TrackingError(f"{redacted(tracking_uri)}: {one_line(error)}")
