"""One study's copy in MLflow, brought up to date step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hpsearch.seeds import Purpose
from hpsearch.store import mirroring
from hpsearch.store.database import Database
from hpsearch.store.mirroring import RoundRow
from hpsearch.store.openings import final_model
from hpsearch.store.reading import elite_numbers, study_document
from hpsearch.store.studies import load_study
from hpsearch.store.workers import live_workers
from hpsearch.study import FigureName
from hpsearch.tracking import content, study_run
from hpsearch.tracking.client import connect
from hpsearch.tracking.content import ELITE_TAG, PARENT_TAG, milliseconds, trial_times
from hpsearch.tracking.destination import file_identity, redacted
from hpsearch.tracking.experiment import Experiment, KnownRun

# Trials read at once: few enough to hold, enough to spare queries.
_CHUNK = 32
# The mirror's row is written at most so often.
_ROW_SECONDS = 1.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MirrorReport:
    """What a mirror has done.

    Attributes:
        experiment_id: The study's experiment in MLflow.
        run_id: The study's own run.
        trials: Trial runs that are there now.
        added: Trial runs made.
        removed: Runs deleted because the study no longer has them.
        seconds: How long it took.
    """

    experiment_id: str
    run_id: str
    trials: int
    added: int
    removed: int
    seconds: float


class StudyCopy:
    """The copy of one study.

    Args:
        database: The study's database.
        study_name: The study.
        tracking_uri: Where MLflow keeps the copy.
        progress: Told (copied, finished) trials after every trial.
    """

    def __init__(
        self, database: Database, study_name: str, tracking_uri: str, progress: Progress
    ) -> None:
        self._database = database
        self._study = load_study(database, study_name)
        self._tracking_uri = tracking_uri
        self._progress = progress
        self._began = time.monotonic()
        self._experiment: Experiment | None = None
        self._root: KnownRun | None = None
        self._file: tuple[int, int] | None = None
        self._settled_to = 0  # every round up to this row is copied for good
        self._settled: set[int] = set()
        self._signature: object = None
        self._drawn: dict[FigureName, int] = {}  # of how many rounds, when it is as it will stay
        self._figures: dict[str, bytes] = {}
        self._registered: int | None = None  # the opening whose network is there
        self._row_written = 0.0
        self._finished = 0  # finished trials at the last look
        self._added = 0
        self._removed = 0

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.name

    @property
    def destination(self) -> str:
        """Where MLflow keeps the copy, as it is shown and stored: without a password."""
        return redacted(self._tracking_uri)

    @property
    def study_id(self) -> int:
        """The study's row."""
        return self._study.id

    # ------------------------------------------------------------------------- steps

    def look(self) -> None:
        """Compare MLflow with the study from the ground up; the next step copies what lacks."""
        experiment = self._experiment or self._opened()
        self._removed += experiment.refresh(self._expected())
        self._settled_to, self._settled, self._signature = 0, set(), None
        self._registered = None
        self._root = experiment.ensure(content.study_content(self._study), None)
        self._experiment = experiment
        self._tell()

    def step(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Copy what is new; a trial is copied whole before `stopped` is asked again."""
        if self._experiment is None or self._root is None:
            self.look()
        experiment, root = self._ready()
        signature = mirroring.study_signature(self._database, self._study.id)
        for row in mirroring.rounds_after(self._database, self._study.id, self._settled_to):
            if row.id not in self._settled:
                self._copy_round(row, stopped)
            if stopped():
                return
        if signature != self._signature:
            self._study = study_run.update(self._database, self._study, experiment, root)
            # Before the confirmation is over: nobody waits for the drawing then.
            if not stopped():
                self._attach_figures(experiment, root)
                self._register_model(experiment, root)
            self._signature = signature
        self._tell()

    def suspend(self) -> None:
        """Leave no run looking busy when nobody works on the study and nobody copies it."""
        if self._experiment is None or live_workers(self._database, self._study.id):
            return
        for run in self._experiment.unfinished():
            self._experiment.set_tags(run, {"state": "interrupted"} if run is self._root else {})
            self._experiment.set_status(run, "KILLED")

    def file_replaced(self) -> bool:
        """Whether MLflow's open connections point at a file that is no longer there."""
        return self._file is not None and self._file != file_identity(self._tracking_uri)

    def report(self) -> MirrorReport:
        """What has been done so far."""
        experiment, root = self._ready()
        return MirrorReport(
            experiment.id,
            root.run_id,
            experiment.trials(),
            self._added,
            self._removed,
            time.monotonic() - self._began,
        )

    def say(self, message: str | None) -> None:
        """Write the mirror's row now, with the reason why it waits, or None."""
        experiment, root = self._experiment, self._root
        mirroring.write_mirror(
            self._database,
            self._study.id,
            self.destination,
            0 if experiment is None else experiment.trials(),
            experiment_id=None if experiment is None else experiment.id,
            run_id=None if root is None else root.run_id,
            message=message,
        )
        self._row_written = time.monotonic()

    # -------------------------------------------------------------------------- parts

    def _attach_figures(self, experiment: Experiment, root: KnownRun) -> None:
        final, rounds = (
            study_run.final_figures(self._database, self._study),
            self._study.spec.rounds,
        )
        new = [name for name in final if self._drawn.get(name) != rounds]
        if new:
            self._figures |= study_run.figures(self._database, self._study, new)
            self._drawn |= dict.fromkeys(new, rounds)
        for name, picture in self._figures.items():
            experiment.write_bytes(root, name, picture)

    def _register_model(self, experiment: Experiment, root: KnownRun) -> None:
        """The network that was tested, once; a newer one is another version."""
        tested = final_model(self._database, self._study.id)
        if tested is None or tested[0] == self._registered:
            return
        document = study_document(self._database, self._study)
        experiment.register(root, document, *tested)
        self._registered = tested[0]

    def _opened(self) -> Experiment:
        self._file = file_identity(self._tracking_uri)
        client = connect(self._tracking_uri)
        self._file = file_identity(self._tracking_uri) or self._file
        origin = content.origin(self._study)
        return Experiment.open(client, self._study.name, self._tracking_uri, origin)

    def _ready(self) -> tuple[Experiment, KnownRun]:
        if self._experiment is None or self._root is None:
            raise RuntimeError("look() comes before everything else")
        return self._experiment, self._root

    def _expected(self) -> dict[str, int | None]:
        """Keys of the study's runs; for finished trials, when the attempt that counts ended."""
        name, database = self._study.name, self._database
        rounds = mirroring.rounds_after(database, self._study.id, 0)
        finished = mirroring.all_finished(database, self._study.id)
        self._finished = len(finished)
        ends = {
            content.trial_key(name, t.purpose, t.number): trial_times(t.started, t.finished)[1]
            for t in finished
        }
        return dict.fromkeys(content.study_keys(name, rounds, ())) | ends

    def _tell(self) -> None:
        if time.monotonic() - self._row_written >= _ROW_SECONDS:
            self.say(None)

    def _copy_round(self, row: RoundRow, stopped: Callable[[], bool]) -> None:
        """Copy a round's new trials, and settle it once it is closed and copied."""
        if row.purpose == Purpose.FINAL and not row.closed:
            return  # until its figure is written a final trial may be run again
        experiment, root = self._ready()
        above = experiment.ensure(content.round_content(self._study.name, row), root)
        if not row.closed:
            experiment.set_status(above, "RUNNING")
        elites = self._elites(row)
        if not self._copy_trials(row, above, elites or set(), stopped):
            return
        if row.closed and row.ended is not None:
            experiment.set_status(above, "FINISHED", milliseconds(row.ended))
            if elites is not None:
                self._tag_elites(row, elites)
                self._settle(row)

    def _elites(self, row: RoundRow) -> set[int] | None:
        """The round's elites; None until they are known."""
        if row.purpose != Purpose.SEARCH:
            return set()
        return elite_numbers(self._database, self._study, row.number) if row.closed else None

    def _copy_trials(
        self, row: RoundRow, above: KnownRun, elites: set[int], stopped: Callable[[], bool]
    ) -> bool:
        """Copy the round's trials that MLflow lacks; False if asked to stop before the last."""
        experiment, _ = self._ready()
        name, test = self._study.name, self._test(row)
        for trial in self._lacking(row, above):
            if stopped():
                return False
            elite = trial.number in elites
            experiment.add(content.trial_content(name, trial, elite=elite, test=test), above)
            self._added += 1
            self._count()
        return True

    def _lacking(self, row: RoundRow, above: KnownRun) -> Iterator[mirroring.MirroredTrial]:
        experiment, _ = self._ready()
        lacking = []
        for trial_id, number in mirroring.finished_in_round(self._database, row.id):
            key = content.trial_key(self._study.name, row.purpose, number)
            if key in experiment:
                experiment.set_tags(experiment[key], {PARENT_TAG: above.run_id})
            else:
                lacking.append(trial_id)
        for first in range(0, len(lacking), _CHUNK):
            yield from mirroring.mirrored_trials(self._database, lacking[first : first + _CHUNK])

    def _test(self, row: RoundRow) -> dict[str, Any] | None:
        if row.purpose != Purpose.FINAL:
            return None
        return mirroring.opening_result(self._database, self._study.id, row.number)

    def _count(self) -> None:
        experiment, _ = self._ready()
        copied = experiment.trials()
        self._progress(copied, max(copied, self._finished))
        self._tell()

    def _tag_elites(self, row: RoundRow, elites: set[int]) -> None:
        """Trials copied while the round was open did not know yet."""
        experiment, _ = self._ready()
        if row.purpose != Purpose.SEARCH:
            return
        for _, number in mirroring.finished_in_round(self._database, row.id):
            run = experiment[content.trial_key(self._study.name, row.purpose, number)]
            experiment.set_tags(run, {ELITE_TAG: str(number in elites).lower()})

    def _settle(self, row: RoundRow) -> None:
        self._settled.add(row.id)
        for later in mirroring.rounds_after(self._database, self._study.id, self._settled_to):
            if later.id not in self._settled:
                return
            self._settled_to = later.id
