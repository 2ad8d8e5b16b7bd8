"""The worker: claim, train, commit; and whoever finds a round finished closes it."""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from hpsearch import __version__
from hpsearch.data.prepared import Prepared, prepare
from hpsearch.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    DataError,
    LeaseLostError,
    NoStudiesError,
    TrainingStoppedError,
    UserError,
)
from hpsearch.nn.kernels import kernels
from hpsearch.objective import Objective, PopulationObjective
from hpsearch.search.bands import may_be_stopped, rule_of
from hpsearch.search.discarding import band_for
from hpsearch.search.narrowing import Known
from hpsearch.search.pruning import PrunerRule, pruner_study
from hpsearch.search.rounds import Closing
from hpsearch.search.sampling import suggest
from hpsearch.seeds import Purpose, control_seed, is_spared, plan_seed
from hpsearch.space import Value
from hpsearch.store import claims
from hpsearch.store.amendments import amended_search, last_search_round
from hpsearch.store.claims import known_curves, known_trials, set_values
from hpsearch.store.database import Database, open_database
from hpsearch.store.leases import LEASE_SECONDS, Claim, ClaimedTrial, hand_back, renew
from hpsearch.store.patience import Patience
from hpsearch.store.results import TrialResult, commit
from hpsearch.store.rounds import (
    ClosingTask,
    count_rounds,
    history,
    measured_curves,
    release_closing,
    take_closing,
    write_closing,
)
from hpsearch.store.studies import StoredStudy, find_study, is_complete, load_study
from hpsearch.store.workers import (
    register_worker,
    worker_heard_of,
    worker_stopped,
    workers_heard_of,
)
from hpsearch.study import StudySpec

# How long a worker without work sleeps before it looks again; doubled up to the second value.
_IDLE_SECONDS = (0.02, 0.25)
# The most that all workers together look then: hundreds look less often each.
_LOOKS_A_SECOND = 200
# Who trains for longer holds no connection meanwhile. A new one costs the server 10 ms, so that few
# workers keep theirs for seconds; but a server has a hundred for all, so that many do not.
_LONG_SECONDS, _LONG_IN_A_CROWD = 5.0, 0.2
_CROWD = 40
# How soon a lease is renewed again when the database did not answer.
_AGAIN_SECONDS = 1.0
# How often a worker counts the others.
_COUNT_SECONDS = 10.0
# How often a worker that came before its study looks for it.
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker process is told; everything else it reads from the database.

    Attributes:
        database: Address of the database.
        study: Name of the study.
        data_dir: Folder with data files, None for the default places.
        population: Trials trained side by side, None to let the program choose.
        lease_seconds: How long a claim belongs to a worker that is not heard of.
    """

    database: str = field(repr=False)  # it may hold a password, and Dask logs what a task is told
    study: str
    data_dir: Path | None = None
    population: int | None = None
    lease_seconds: float = LEASE_SECONDS


def run_worker(
    options: WorkerOptions,
    stop: threading.Event,
    orphaned: Callable[[], bool] = lambda: False,
    told: Callable[[str], None] = lambda _outage: None,
) -> int:
    """Work on a study until it is complete or `stop` is set.

    Args:
        options: What to work on.
        stop: Set it to end within a second; unfinished trials are handed back.
        orphaned: True when nobody waits for this worker any more; it then finishes its claim.
        told: Called with a sentence when the database has become unreachable.

    Returns:
        How many trials it committed.

    Raises:
        DatabaseUnavailableError: If the database is out of reach for longer than patience lasts.
        UserError: If the database, the study or the data cannot be used.
    """
    from threadpoolctl import threadpool_limits

    patience = Patience(stop, forsaken=orphaned, told=told)
    database = open_database(options.database, write=True, patience=patience)
    try:
        study = load_study(database, options.study)
        objective = PopulationObjective(
            study.spec, checked_data(study, options.data_dir), options.population
        )
        with threadpool_limits(1):
            return Worker(database, study, objective, options.lease_seconds).run(stop, orphaned)
    finally:
        database.close()


def wait_for_study(
    options: WorkerOptions,
    stop: threading.Event,
    told: Callable[[str], None] = lambda _outage: None,
) -> bool:
    """Wait until somebody has started the study; False if `stop` was set before.

    Args:
        options: The study, and where it will be.
        stop: Set it to wait no longer.
        told: Called with a sentence, once, where the database is out of reach meanwhile.

    Raises:
        UserError: If the database cannot be used.
    """
    while True:
        try:
            if _is_there(options):
                return True
        except DatabaseUnavailableError as error:
            told(f"{error}; trying again")
            told = _silent
        if stop.wait(_WAIT_SECONDS):
            return False


def _silent(_outage: str) -> None:
    """Say nothing: it was said before."""


def _is_there(options: WorkerOptions) -> bool:
    try:
        database = open_database(options.database)
    except NoStudiesError:
        return False
    try:
        return find_study(database, options.study) is not None
    finally:
        database.close()


def checked_data(study: StoredStudy, data_dir: Path | None) -> Prepared:
    """The study's prepared rows on this machine.

    Raises:
        DataError: If they differ from those the study was started with.
    """
    prepared = prepare(study.spec, data_dir)
    if prepared.fingerprint != study.data_fingerprint:
        raise DataError(
            f"{study.name}: the data here differ from the study's (fingerprint "
            f"{prepared.fingerprint[:12]} here, {study.data_fingerprint[:12]} there); "
            "use the same files and the same versions of NumPy and scikit-learn"
        )
    return prepared


class Worker:
    """One worker of one study.

    Args:
        database: The study's database.
        study: The study.
        objective: What trains the trials.
        lease_seconds: Length of a lease; it is renewed at least four times in that time.
    """

    def __init__(
        self,
        database: Database,
        study: StoredStudy,
        objective: Objective,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._study = study
        self._objective = objective
        self._lease_seconds = lease_seconds
        self._id, self.name = register_worker(database, study.id, machine_fingerprint())
        self._seen = time.monotonic()
        self._training_seconds = 0.0  # of the last claim
        self._counted, self._workers = -math.inf, 1
        self._contact = Contact(_beat_seconds(lease_seconds))

    def run(self, stop: threading.Event, orphaned: Callable[[], bool]) -> int:
        """Work until the study is complete; see `run_worker`."""
        try:
            return self._work(stop, orphaned)
        finally:
            # Where nobody can be told, the lease lapses, or whoever is here sees the process gone.
            with suppress(DatabaseUnavailableError):
                worker_stopped(self._database, self._id)

    def _work(self, stop: threading.Event, orphaned: Callable[[], bool]) -> int:
        committed, idle = 0, _IDLE_SECONDS[0]
        while not stop.is_set() and not orphaned():
            claim = self._claim()
            if claim is not None:
                committed += self._train(claim, stop)
                self._seen = time.monotonic()
            elif not close_finished_round(self._database, self._study, self._id):
                if is_complete(self._database, self._study.id):
                    break
                if idle > self._long_seconds():
                    self._database.rest()
                stop.wait(idle)
                idle = min(2 * idle, self._longest_idle())
                self._say_alive()
                continue
            idle = _IDLE_SECONDS[0]
        return committed

    def _say_alive(self) -> None:
        """Let others see a worker that waits; one that trains renews its lease instead."""
        if time.monotonic() - self._seen > _beat_seconds(self._lease_seconds):
            worker_heard_of(self._database, self._id)
            self._seen = time.monotonic()

    def _long_seconds(self) -> float:
        """How long a pause must be for its worker to hold no connection meanwhile."""
        return _LONG_IN_A_CROWD if self._count() > _CROWD else _LONG_SECONDS

    def _longest_idle(self) -> float:
        return max(_IDLE_SECONDS[1], self._count() / _LOOKS_A_SECOND)

    def _count(self) -> int:
        """Workers on the database, as they were a moment ago."""
        if time.monotonic() - self._counted > _COUNT_SECONDS:
            self._workers = workers_heard_of(self._database)
            self._counted = time.monotonic()
        return self._workers

    def _claim(self) -> Claim | None:
        return claims.claim(
            self._database,
            self._study.id,
            self._id,
            self._objective.population,
            self._lease_seconds,
            self._contact.is_steady,
        )

    def _train(self, claim: Claim, stop: threading.Event) -> int:
        """Train a claim and commit it; hand it back when asked to stop."""
        heartbeat = _Heartbeat(self._database, claim, self._id, self._lease_seconds, self._contact)
        with heartbeat:
            try:
                results = self._results(claim, lambda: stop.is_set() or heartbeat.lost)
            except DatabaseUnavailableError:
                raise  # it was waited for as long as anybody waits; the lease will lapse
            except (TrainingStoppedError, LeaseLostError):
                hand_back(self._database, claim)
                return 0
            except UserError:
                # A mistake such as a missing package is not the trials' fault.
                hand_back(self._database, claim)
                raise
            # Under the heartbeat: a commit that waits for a database must not lose its trials when
            # that comes back.
            return len(commit(self._database, claim, results))

    def _results(self, claim: Claim, should_stop: Callable[[], bool]) -> Mapping[int, TrialResult]:
        values, trials = self._values(claim), self._ruled(claim)
        if self._training_seconds > self._long_seconds():
            self._database.rest()
        began = time.monotonic()
        results = self._objective.run(trials, values, should_stop)
        self._training_seconds = time.monotonic() - began
        return results

    def _ruled(self, claim: Claim) -> list[ClaimedTrial]:
        """The trials with what they are stopped by."""
        spec, rows = self._study.spec, self._study.validation_rows
        if spec.search.discard not in {"off", "auto"}:
            return self._pruned(claim)
        return [
            replace(t, rule=rule_of(spec, rows, claim.purpose, t.number, band))
            for t in claim.trials
            for band in [band_for(claim.bands, t.number)]
        ]

    def _pruned(self, claim: Claim) -> list[ClaimedTrial]:
        """The trials with a pruner that knows what is finished now."""
        spec = self._study.spec
        if not may_be_stopped(claim.purpose):
            return list(claim.trials)
        known = known_curves(self._database, self._study.id, claim.purpose)
        study = pruner_study(spec.search.discard, known)
        return [
            replace(t, rule=PrunerRule(study, spared))
            for t in claim.trials
            for spared in [is_spared(spec.seed, claim.purpose, t.number)]
        ]

    def _values(self, claim: Claim) -> Mapping[int, Mapping[str, Value]]:
        """Planned values, and suggestions of the study's sampler for trials without."""
        planned = {t.id: t.values for t in claim.trials if t.values is not None}
        open_ = [trial for trial in claim.trials if trial.values is None]
        if not open_:
            return planned
        finished, running = known_trials(self._database, self._study.id, claim)
        spec = self._study.spec
        sampler, first = _proposer(spec, claim)
        seed = first + open_[0].number
        points = suggest(sampler, claim.box, finished, running, len(open_), seed)
        suggested = {trial.id: point for trial, point in zip(open_, points, strict=True)}
        set_values(self._database, claim, spec.space, suggested)
        return planned | suggested


def _proposer(spec: StudySpec, claim: Claim) -> tuple[str, int]:
    """Who suggests values for the trials of a claim, and the seed of the first."""
    if claim.purpose == Purpose.CONTROL:
        return str(spec.search.control), control_seed(spec.seed)
    return spec.search.sampler, plan_seed(spec.seed, claim.round)


def close_finished_round(database: Database, study: StoredStudy, worker_id: int) -> bool:
    """Close the open round if its last trial is done; False if there was nothing to do."""
    task = take_closing(database, study.id, worker_id)
    if task is None:
        return False
    try:
        write_closing(database, task, study.spec.space, _decide(database, study, task))
    except LeaseLostError:
        return False
    except BaseException:
        # Others need not wait for the lease; what went wrong here may go right there.
        with suppress(DatabaseError):
            release_closing(database, task)
        raise
    return True


def _decide(database: Database, study: StoredStudy, task: ClosingTask) -> Closing:
    known = Known(
        history=partial(history, database, study.id),
        repeats=partial(history, database, study.id, Purpose.REPEAT),
        confirmed=partial(history, database, study.id, Purpose.CONFIRMATION),
        validation_rows=study.validation_rows,
        control=partial(history, database, study.id, Purpose.CONTROL),
        curves=partial(measured_curves, database, study.id),
        confirmations=partial(count_rounds, database, study.id, Purpose.CONFIRMATION),
    )
    # Read now: it may have been amended since this worker began.
    search = amended_search(database, study)
    return search.decide(task.done, known, partial(last_search_round, database, study.id))


def machine_fingerprint() -> dict[str, str]:
    """What the bits of a result depend on besides the study: code, CPU, NumPy, BLAS and kernels.

    Raises:
        UserError: If the kernels that are asked for are none, or not installed.
    """
    blas = _numpys_blas()
    return {
        "hpsearch": __version__,
        "cpu": _cpu(),
        "numpy": np.__version__,
        "blas": f"{blas.get('internal_api')} {blas.get('version')} {blas.get('architecture')}",
        "kernels": kernels().name,
        "python": platform.python_version(),
    }


def _numpys_blas() -> dict[str, str]:
    """The BLAS that NumPy computes with; SciPy may have brought one of its own along."""
    from threadpoolctl import threadpool_info

    package = Path(np.__file__).parent
    homes = (package, package.with_name("numpy.libs"))
    loaded = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    own = [
        lib for lib in loaded if any(Path(lib["filepath"]).is_relative_to(home) for home in homes)
    ]
    return next(iter(own or loaded), {})


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _beat_seconds(lease_seconds: float) -> float:
    """How often a worker is heard of; also under a longer lease often enough to count as alive."""
    return min(lease_seconds, LEASE_SECONDS) / 4


class Contact:
    """Since when the database has been in reach without a gap.

    After an outage that was longer than a lease every lease has lapsed, though nobody is lost:
    whoever claims first must leave the others time to renew theirs. By the wall clock, because a
    machine that sleeps has a gap too.

    Args:
        beat_seconds: How often a worker at work is heard of.
    """

    def __init__(self, beat_seconds: float) -> None:
        self._beat_seconds = beat_seconds
        self._since = self._last = time.time()

    def made(self) -> None:
        """The database has just answered."""
        now = time.time()
        if now - self._last > 2 * self._beat_seconds:
            self._since = now
        self._last = now

    def is_steady(self) -> bool:
        """The database has just answered: whether it has for a beat, and others were heard."""
        self.made()
        return self._last - self._since >= self._beat_seconds


class _Heartbeat:
    """Renews a claim's lease from a thread of its own until its results are stored."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        worker_id: int,
        lease_seconds: float,
        contact: Contact,
    ) -> None:
        self._database = database
        self._claim = claim
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._contact = contact
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        pause = _beat_seconds(self._lease_seconds)
        while not self._done.wait(pause):
            try:
                kept = renew(self._database, self._claim, self._worker_id, self._lease_seconds)
            except DatabaseError:
                # Training goes on, and the token decides at the commit. Once the database is back
                # the lease must be renewed before others take it for lapsed.
                pause = min(pause, _AGAIN_SECONDS)
                continue
            pause = _beat_seconds(self._lease_seconds)
            self._contact.made()
            self._database.rest()
            if not kept:
                self.lost = True
                return
