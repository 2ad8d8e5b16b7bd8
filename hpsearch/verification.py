"""What `hpsearch verify` does: trials replayed, decisions taken again, copies compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpsearch.audit import audit
from hpsearch.errors import TrackingError
from hpsearch.findings import Commands, Finding, Verdict
from hpsearch.replay import Replay, choose, compare_machines, find
from hpsearch.seeds import Purpose
from hpsearch.states import FINISHED
from hpsearch.store.database import Database
from hpsearch.store.documents import legible
from hpsearch.store.mirroring import read_mirror, rounds_after
from hpsearch.store.optuna_rows import disagreements
from hpsearch.store.record import RecordedTrial, StudyRecord, read_record
from hpsearch.store.studies import load_study
from hpsearch.tracking.content import study_keys
from hpsearch.tracking.destination import redacted
from hpsearch.tracking.inspection import run_keys
from hpsearch.worker import checked_data, machine_fingerprint

# So many runs are named; of more only their number.
_NAMED = 3


@dataclass(frozen=True)
class Sample:
    """Which trials to replay.

    Attributes:
        count: How many, at random.
        number: This one instead; a search trial unless `purpose` says otherwise.
        purpose: Only trials of this purpose; None for any.
        seed: Of the choice.
    """

    count: int
    number: int | None
    purpose: Purpose | None
    seed: int

    def said(self, found: int) -> str:
        """How the trials were chosen, so that they can be again."""
        if self.number is not None:
            return "the trial that was named"
        options = f"--trials {self.count} --seed {self.seed}"
        if self.purpose is not None:
            options += f" --purpose {self.purpose}"
        return f"{found} at random; {options} chooses them again"

    def of(self, record: StudyRecord) -> list[RecordedTrial]:
        """The trials that are meant.

        Raises:
            UserError: If there is no such trial, or nothing was measured of it.
        """
        if self.number is None:
            return choose(record.trials, self.purpose, self.count, self.seed)
        purpose = self.purpose or Purpose.SEARCH
        return [find(record.study.name, record.trials, purpose, self.number)]


class Verification:
    """One `hpsearch verify`; nothing is written, and the test split stays sealed.

    Args:
        database: The study's database.
        name: The study.
        sample: Which trials to replay.
        data_dir: Folder with data files, None for the default places.

    Raises:
        UserError: If the study, its data or the trial cannot be had here.
    """

    def __init__(
        self, database: Database, name: str, sample: Sample, data_dir: Path | None
    ) -> None:
        self._database = database
        self._record = read_record(database, load_study(database, name))
        self._sample = sample
        self._trials = sample.of(self._record)
        self._prepared = checked_data(self._record.study, data_dir)

    @property
    def replays(self) -> int:
        """How many trials are trained once more."""
        return len(self._trials)

    def replayed(self) -> Iterator[Finding]:
        """This machine against the workers', then every chosen trial, as soon as it is trained."""
        from threadpoolctl import threadpool_limits

        if not self._trials:
            yield Finding("replay", Verdict.OK, "no trial is finished that could be replayed")
            return
        here = machine_fingerprint()
        yield compare_machines(self._trials, here)
        yield Finding("sample", Verdict.OK, self._sample.said(len(self._trials)))
        with threadpool_limits(1):
            replay = Replay(self._database, self._record.study.spec, self._prepared, here)
            yield from replay.findings(self._trials)

    def audited(self) -> Iterator[Finding]:
        """Every decision taken again, and Optuna's rows against ours."""
        with legible(self._record.study.name):
            yield from audit(self._record)
            problems = list(disagreements(self._database, self._record))
        yield from (Finding("Optuna", Verdict.WRONG, problem) for problem in problems)
        if not problems:
            yield Finding("Optuna", Verdict.OK, "its trials are equal to ours")

    def mirrored(self, tracking: str, commands: Commands) -> Iterator[Finding]:
        """The runs in MLflow against the rows, by count and key."""
        study, place = self._record.study, redacted(tracking)
        row = read_mirror(self._database, study.id)
        if row is None or row.destination != place:
            yield Finding("MLflow", Verdict.OK, f"left out: nothing was copied to {place}")
            return
        try:
            found = run_keys(tracking, study)
        except TrackingError as error:
            yield Finding("MLflow", Verdict.WARNING, f"left out: {error}")
            return
        finished = sum(trial.state in FINISHED for trial in self._record.trials)
        behind = study.state != "complete" or row.trials < finished or row.message is not None
        command = commands.sync(study.name)
        wrong = False
        for problem, verdict in _compared(self._keys(), found, behind=behind):
            wrong = True
            yield Finding("MLflow", verdict, problem, command=command)
        if not wrong:
            yield Finding("MLflow", Verdict.OK, f"{found.total()} runs, one for each row")

    def _keys(self) -> set[str]:
        """Keys of the runs that a copy has once it is whole."""
        study = self._record.study
        rounds = rounds_after(self._database, study.id, 0)
        # Until its figure is written a final trial may be run again, and is not copied.
        settled = [row for row in rounds if row.closed or row.purpose != Purpose.FINAL]
        trials = [(t.purpose, t.number) for t in self._record.trials if t.state in FINISHED]
        return study_keys(study.name, settled, trials)


def _compared(
    wanted: set[str], found: Counter[str], *, behind: bool
) -> Iterator[tuple[str, Verdict]]:
    missing = sorted(wanted - set(found))
    if missing:
        verdict = Verdict.WARNING if behind else Verdict.WRONG
        late = "not copied yet" if behind else "missing"
        yield f"{_some(missing)}: {late}", verdict
    foreign = sorted(set(found) - wanted)
    if foreign and not behind:
        yield f"{_some(foreign)}: no such rows", Verdict.WRONG
    twice = sorted(key for key, times in found.items() if times > 1)
    if twice:
        yield f"{_some(twice)}: there more than once", Verdict.WRONG


def _some(keys: list[str]) -> str:
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")
