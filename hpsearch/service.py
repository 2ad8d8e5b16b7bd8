"""One `hpsearch start`: open or resume a study, keep workers at it, and see it to its end.

The database carries the work. This module only starts processes, replaces those that die,
and watches; it can be killed at any moment and the same command goes on where it was.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from hpsearch.data.prepared import Prepared, prepare
from hpsearch.data.sources import check_test_rows
from hpsearch.errors import (
    DatabaseUnavailableError,
    HpsearchError,
    Interrupted,
    StudyChangedError,
    UserError,
)
from hpsearch.final import open_sealed_test
from hpsearch.forecast import NOISE_REPEATS, NOTHING, Done, Forecast, forecast
from hpsearch.launch.fork_server import warm_up
from hpsearch.launch.inline import InlineLauncher
from hpsearch.launch.launcher import Launcher
from hpsearch.launch.local import LocalLauncher, parent_died, run_in_process
from hpsearch.nn.kernels import kernels_name
from hpsearch.report.progress import Progress
from hpsearch.search.amendments import Change, Place, extension, other_differences
from hpsearch.search.sampling import check_sampler
from hpsearch.seeds import Purpose
from hpsearch.store.amendments import amend, as_amended
from hpsearch.store.database import Database, open_database
from hpsearch.store.engine import absolute
from hpsearch.store.leases import LEASE_SECONDS
from hpsearch.store.mirroring import mirror_progress
from hpsearch.store.patience import Patience
from hpsearch.store.reading import open_work, study_document
from hpsearch.store.studies import (
    StoredStudy,
    create_study,
    is_complete,
    load_study,
    refresh_report,
    stored_study,
)
from hpsearch.store.workers import recover_dead_workers
from hpsearch.study import StudySpec
from hpsearch.tracking.process import Mirror
from hpsearch.worker import WorkerOptions

# How often the database is asked how far the search is.
_WATCH_SECONDS = 0.2
# How often the search asks how far the mirror is.
_LAG_SECONDS = 2.0
# A worker asked to stop hands its trials back within this time, or is ended.
_STOP_SECONDS = 5.0
# So many deaths in a row without one finished trial mean that no trial ever will.
_MOST_DEATHS = 12

LauncherName = Literal["local", "inline", "dask"]


@dataclass(frozen=True)
class StartOptions:
    """How to run a search; what is searched stands in the study.

    Attributes:
        database: Address of the database.
        tracking: MLflow's tracking URI, or "none".
        data_dir: Folder with data files, None for the default places.
        workers: How many workers; None for one per physical core, or per thread of a Dask cluster.
        population: Trials trained side by side, None to let the program choose.
        launcher: Where workers run.
        scheduler: Address of the Dask cluster's scheduler; None for a cluster on this machine.
        open_test: Whether the test split may be opened at the end.
        lease_seconds: How long a claim belongs to a worker that is not heard of.
    """

    database: str
    tracking: str
    data_dir: Path | None = None
    workers: int | None = None
    population: int | None = None
    launcher: LauncherName = "local"
    scheduler: str | None = None
    open_test: bool = True
    lease_seconds: float = LEASE_SECONDS


Watch = Callable[[Progress], None]


class Search:
    """One `hpsearch start`.

    Args:
        spec: The study.
        source: The study file's text.
        options: How to run it.
    """

    def __init__(self, spec: StudySpec, source: str, options: StartOptions) -> None:
        self.spec = spec
        self._source = source
        self._options = options
        self._stop = _StopRequest()
        self._mirror: Mirror | None = None
        self._launcher: Launcher | None = None
        self.database: Database | None = None
        self.resumed = self.amended = False
        self._watch: Watch = lambda _progress: None
        self._shown: Progress | None = None
        self._lag = (0.0, 0)

    def open(self) -> StoredStudy:
        """Create the study, or find it as it was left.

        Raises:
            StudyChangedError: If the database has a study of this name with other settings, more
                rounds and wider limits aside.
            UserError: If database or data cannot be used; nothing has been created then.
        """
        check_sampler(self.spec.search.sampler)
        kernels_name()  # says so if HPSEARCH_KERNELS cannot be meant
        if self._options.launcher == "local":
            warm_up()
        else:
            self._opened_launcher()  # now: a cluster that does not answer begins no study
            self._workers()  # nor one that says nothing of how many
        prepared = prepare(self.spec, self._options.data_dir)
        study = stored_study(self._options.database, self.spec.name, migrate=True)
        if self._will_test(study):
            check_test_rows(self.spec, self._options.data_dir)
        # Only now: a study that cannot begin leaves no new database behind.
        patience = Patience(self._stop.event, told=self._say_outage)
        self.database = open_database(self._options.database, create=True, patience=patience)
        created = None if study else self._create(prepared)
        if created is not None:
            return created
        # Found now or, where another `start` was faster by a moment, after all.
        study = study or load_study(self.database, self.spec.name)
        before = len(study.amendments)
        study = amend(self.database, study, partial(wanted_change, spec=self.spec))
        self.resumed, self.amended = True, len(study.amendments) > before
        return refresh_report(self.database, study, self.spec, self._source)

    def look(self) -> StoredStudy | None:
        """The study as `open` would leave it, and nothing is written; None for a new one.

        Raises:
            UserError: As `open` does.
        """
        study = stored_study(self._options.database, self.spec.name)
        if study is None:
            return None
        self.database, self.resumed = open_database(self._options.database), True
        return as_amended(self.database, study, partial(wanted_change, spec=self.spec))

    def forecast(self, study: StoredStudy | None = None) -> Forecast:
        """What the study costs, or what is left of one that was begun.

        Nothing is begun, and a few steps are trained in another process.

        Raises:
            UserError: If its data cannot be used.
        """
        prepared = prepare(self.spec, self._options.data_dir)
        workers = self._workers()
        arguments = (self.spec, prepared, workers, self._options.population)
        done, tests = NOTHING, self._options.open_test
        if study is not None:
            done = _done(study, open_work(self.opened, study))
            tests = self.will_test(study) and self.document(study)["test"] is None
        if self._options.launcher == "inline":
            return forecast(*arguments, tests=tests, done=done)
        said = run_in_process(_forecast, *arguments, tests, done)
        return Forecast.from_document(json.loads(said))

    def _opened_launcher(self) -> Launcher:
        if self._launcher is None:
            self._launcher = _launcher(self._options, self.spec.name)
        return self._launcher

    def _workers(self) -> int:
        return self._options.workers or self._opened_launcher().room()

    def _will_test(self, study: StoredStudy | None) -> bool:
        """Whether this search is to open the test split at its end."""
        is_sealed = study is not None and (study.keep_sealed or study.state == "complete")
        return self._options.open_test and self.spec.confirms and not is_sealed

    def _create(self, prepared: Prepared) -> StoredStudy | None:
        return create_study(
            self.opened,
            self.spec,
            self._source,
            prepared.fingerprint,
            len(prepared.validation()),
            keep_sealed=not self._options.open_test,
        )

    def run(self, study: StoredStudy, watch: Watch) -> StoredStudy:
        """Search, confirm, and open the test split unless it is to stay sealed.

        Args:
            study: From `open`.
            watch: Told about the progress, several times a second.

        Returns:
            The study as it is now, complete.

        Raises:
            Interrupted: After Ctrl-C or SIGTERM; what nobody could hand back is free when its
                lease lapses.
            DatabaseUnavailableError: If the database is out of reach for too long.
            HpsearchError: If workers keep dying.
        """
        database, self._watch = self.opened, watch
        with self._stop.installed(), self._interruptible(database, study):
            self._mirror = Mirror.start(self._options.database, self._options.tracking, study.name)
            if study.state != "complete":
                self._search(database, study)
            study = load_study(database, study.name)
            if self.test_is_due(study):
                self._test(database, study)
        return study

    def finished(self, study: StoredStudy) -> int:
        """How many trials of search and control are finished, without a look at all of them."""
        work = open_work(self.opened, study)
        controlled = work["control"]["finished"] if work["control"] else 0
        return int(work["search_done"] + min(controlled, study.spec.control_trials))

    def document(self, study: StoredStudy) -> dict[str, Any]:
        """The study's document as it is now."""
        return study_document(self.opened, study)

    def will_test(self, study: StoredStudy) -> bool:
        """Whether the search ends with the test, as far as wishes go."""
        return self._options.open_test and not study.keep_sealed and study.spec.confirms

    def test_is_due(self, study: StoredStudy) -> bool:
        """Whether the test split is to be opened now: never twice, never against a wish.

        Nor for a winner that was not confirmed: comparing needs no test figure, and who wants
        one types `hpsearch test`.
        """
        if not self.will_test(study) or study.winner is None:
            return False
        return study_document(self.opened, study)["test"] is None

    @property
    def mirrored(self) -> bool:
        """Whether this `start` copies the study to MLflow."""
        return self._mirror is not None

    def finish_mirror(self, watch: Callable[[int, int], None]) -> str | None:
        """Wait until MLflow has everything; Ctrl-C leaves the rest to `hpsearch sync`.

        Returns:
            What the mirror said if it could not finish, else None.
        """
        return self._mirror.finish(self.opened, self.spec.name, watch) if self._mirror else None

    def close(self) -> None:
        """Leave no process and no connection behind."""
        if self._mirror is not None:
            self._mirror.end()
        if self._launcher is not None:
            self._launcher.close()
        if self.database is not None:
            self.database.close()

    @property
    def opened(self) -> Database:
        """The database, once `open` was called."""
        if self.database is None:
            raise HpsearchError("open() comes before everything else")
        return self.database

    def _show(self, progress: Progress) -> None:
        self._shown = progress
        self._watch(progress)

    def _say_outage(self, outage: str) -> None:
        """Show that nothing can be asked; what was known before stays on the screen."""
        if self._shown is not None:
            self._watch(replace(self._shown, outage=outage))

    @contextmanager
    def _interruptible(self, database: Database, study: StoredStudy) -> Iterator[None]:
        """Let whatever a wish to stop has ended, the wait for a database too, be interrupted."""
        try:
            yield
        except (Interrupted, DatabaseUnavailableError) as error:
            if not self._stop.event.is_set():
                raise
            with suppress(DatabaseUnavailableError):  # else the next `start` does it
                recover_dead_workers(database, study.id, blame=False)
            raise Interrupted(study.name) from error

    def _search(self, database: Database, study: StoredStudy) -> None:
        # Workers that died before this `start` died with the one before, or were killed after it.
        recover_dead_workers(database, study.id, blame=False)
        launcher = self._opened_launcher()
        crew = _Crew(launcher, database, study, self._workers())
        began, stage = time.monotonic(), None
        try:
            while not self._stop.event.is_set():
                progress = _progress(database, study, launcher.alive(), time.monotonic() - began)
                if (progress.phase, progress.round) != stage:
                    # The search may have become shorter or longer meanwhile.
                    study = load_study(database, study.name)
                    stage = (progress.phase, progress.round)
                    continue
                self._show(replace(progress, uncopied=self._uncopied(database)))
                if is_complete(database, study.id):
                    break
                crew.keep_up(progress.trained)
                if self._mirror is not None:
                    self._mirror.keep_up()
                self._stop.event.wait(_WATCH_SECONDS)
        finally:
            self._dismiss(launcher)
        self._go_on()

    def _uncopied(self, database: Database) -> int:
        """How far the mirror lags, asked now and then."""
        if self._mirror is None:
            return 0
        if time.monotonic() - self._lag[0] > _LAG_SECONDS:
            copied, finished = mirror_progress(database, self.spec.name)
            self._lag = (time.monotonic(), finished - copied)
        return self._lag[1]

    def _test(self, database: Database, study: StoredStudy) -> None:
        """Open the test split, and show that it is being done; a wish to stop ends it."""

        def look() -> None:
            self._go_on()
            self._show(replace(_progress(database, study, 0, 0.0), phase="final", round=None))

        arguments = (database.url, study.name, self._options.data_dir, False, parent_died)
        run_in_process(open_sealed_test, *arguments, meanwhile=look)

    def _go_on(self) -> None:
        if self._stop.event.is_set():
            raise Interrupted(self.spec.name)

    def _dismiss(self, launcher: Launcher) -> None:
        """Ask the workers to leave; end those that do not."""
        launcher.stop()
        until = time.monotonic() + _STOP_SECONDS
        while not launcher.wait(_WATCH_SECONDS):
            if self._stop.urgent or time.monotonic() > until:
                launcher.kill()
                return


def _heard_signals() -> list[signal.Signals]:
    """Ctrl-C, SIGTERM, and a closed terminal unless `nohup` says not to mind."""
    heard = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        heard.append(hangup)
    return heard


class _Crew:
    """Keeps the wanted number of workers alive, and gives up when they only die."""

    def __init__(
        self, launcher: Launcher, database: Database, study: StoredStudy, wanted: int
    ) -> None:
        self._launcher = launcher
        self._database = database
        self._study = study
        self._deaths = 0
        self._finished = 0
        self._wanted = wanted
        launcher.start(wanted)

    def keep_up(self, finished: int) -> None:
        """Replace workers that died.

        Args:
            finished: Finished trials and repeats: more of them tell a crew that works from one
                that only dies.

        Raises:
            UserError: With the worker's own words, if a replacement would end the same way.
            HpsearchError: If workers die one after the other without finishing a trial.
        """
        if finished > self._finished:
            self._finished, self._deaths = finished, 0
        ends = [end for end in self._launcher.ended() if not end.finished]
        if not ends:
            return
        self._deaths += len(ends)
        last = ends[-1]
        if last.mistake:
            raise UserError(last.message)
        if self._deaths > _MOST_DEATHS:
            raise HpsearchError(f"{self._deaths} workers died in a row; the last: {last.message}")
        recover_dead_workers(self._database, self._study.id)
        self._launcher.start(max(0, self._wanted - self._launcher.alive()))


class _StopRequest:
    """Ctrl-C and SIGTERM: the first asks, the second does not wait."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.urgent = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to signals; outside the main thread nobody sends any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _heard_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.urgent = self.event.is_set()
        self.event.set()


def _forecast(
    spec: StudySpec,
    prepared: Prepared,
    workers: int,
    population: int | None,
    tests: bool,
    done: Done,
) -> str:
    """Called in a process where BLAS has one thread and the kernels are loaded."""
    found = forecast(spec, prepared, workers, population, tests=tests, done=done)
    return json.dumps(found.document())


def _done(study: StoredStudy, work: dict[str, Any]) -> Done:
    """What a study has behind it.

    Args:
        study: The study, perhaps with further rounds than it was begun with.
        work: How far its search is, from `open_work`.
    """
    control = study.spec.control_trials
    if study.state == "complete":
        return Done(study.spec.planned_trials, NOISE_REPEATS, control=control, over=True)
    repeated = (work["repeats"] or {"finished": 0})["finished"]
    at_noise = work["purpose"] == Purpose.REPEAT
    raced = work["purpose"] in {Purpose.CONTROL, Purpose.FINAL}
    searched = work["search_done"] >= study.spec.planned_trials and not at_noise
    noise = NOISE_REPEATS if work["search_done"] > study.spec.trials or searched else 0
    return Done(
        trials=work["search_done"],
        repeats=repeated if at_noise else noise,
        # What confirmed a winner of before it was given further rounds does not count.
        confirmed=study.spec.confirmation.most_repeats if raced else repeated * searched,
        control=min(control, (work["control"] or {"finished": 0})["finished"]),
    )


def wanted_change(study: StoredStudy, place: Place, spec: StudySpec) -> Change | None:
    """What a study file asks for of a study that is there: nothing, more rounds, wider limits.

    Args:
        study: The study with its amendments.
        place: Where another one would count first.
        spec: The study as its file and the command line have it.

    Raises:
        StudyChangedError: Saying what else differs, and offering a new name.
        UserError: If no round would come in which wider limits count.
    """
    _check_same(study, spec)
    change = extension(study.begun, study.spec, spec, study.rounds_asked)
    # Of one that was compared every change is refused, whatever else it lacks.
    is_compared = study.spec.search.control is not None and study.state == "complete"
    is_late = place.over and (change.rounds or study.spec.rounds) <= place.round
    if change.limits and is_late and not is_compared:
        raise UserError(
            f"{study.name}: the search is over, so wider limits need another round: "
            f"add --rounds {study.next_rounds}"
        )
    return None if change == Change() else change


def _check_same(study: StoredStudy, spec: StudySpec) -> None:
    differences = other_differences(study.begun, study.spec, spec)
    if differences:
        state = "finished" if study.state == "complete" else "begun"
        raise StudyChangedError(
            f"{study.name}: a study of this name was {state} with other settings: "
            f"{'; '.join(differences)}. Start it under a new name: --name {study.name}-2"
        )


def _launcher(options: StartOptions, study: str) -> Launcher:
    worker = WorkerOptions(
        database=absolute(options.database),
        study=study,
        data_dir=None if options.data_dir is None else options.data_dir.absolute(),
        population=options.population,
        lease_seconds=options.lease_seconds,
    )
    if options.launcher == "dask":
        from hpsearch.launch.dask import DaskLauncher

        return DaskLauncher(worker, options.scheduler, options.workers)
    return InlineLauncher(worker) if options.launcher == "inline" else LocalLauncher(worker)


def _progress(database: Database, study: StoredStudy, workers: int, seconds: float) -> Progress:
    work = open_work(database, study)
    none = {"planned": 0, "finished": 0}
    repeats, control = work["repeats"] or none, work["control"] or none
    return Progress(
        phase=work["purpose"],
        round=work["round"],
        best_score=work["best_score"],
        workers=workers,
        finished=work["search_done"],
        planned=study.spec.planned_trials,
        running=work["running"],
        repeats=repeats["planned"],
        repeated=repeats["finished"],
        control=control["planned"],
        controlled=control["finished"],
        trained=work["trained"],
        seconds=seconds,
    )
