"""What a study will cost, before it begins: its trainings, counted, and their time."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hpsearch.data.prepared import Prepared
from hpsearch.final import TRAININGS
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, population_size, train
from hpsearch.objective import TRAINING_ERRORS
from hpsearch.search.noise import CONFIGURATIONS, SEEDS
from hpsearch.settings import TrialSettings
from hpsearch.study import StudySpec

# Places of the space whose networks are timed: each dimension's eighths, odd ones.
_PLACES = (1 / 8, 5 / 8, 3 / 8, 7 / 8)
# A network is timed over so few updates, then over as many more as take about so long.
_FEW, _SECONDS, _MOST = 2, 0.1, 200
# To place a trial takes 7 to 20 ms, by the number of dimensions (docs/search-quality.md).
_PLANNING_SECONDS = 0.012
# After round 1 of a search that has further ones, at most.
NOISE_REPEATS = CONFIGURATIONS * SEEDS


@dataclass(frozen=True)
class Done:
    """What a study has behind it.

    Attributes:
        trials: Of the search, finished.
        repeats: For the noise, finished or no longer wanted.
        confirmed: Repeats of finalists.
        control: Trials of the control arm.
        over: Whether its winner is known.
    """

    trials: int = 0
    repeats: int = 0
    confirmed: int = 0
    control: int = 0
    over: bool = False


NOTHING = Done()


@dataclass(frozen=True)
class Forecast:
    """What a study will train, or has left to train, and how long that takes.

    Attributes:
        trials: Of the search.
        repeats: For the noise, at most.
        confirmation: Repeats of finalists: at least and at most.
        control: Trials of the control arm, without the repeats of its best.
        final: Trainings of the winner for the test figure.
        trial_seconds: Of one worker for one trial, on average; None where none could be timed.
        seconds: Until the result, with all workers, at least and at most.
        workers: How many workers.
    """

    trials: int
    repeats: int
    confirmation: tuple[int, int]
    control: int
    final: int
    trial_seconds: float | None
    seconds: tuple[float, float] | None
    workers: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be trained."""
        return not (
            self.trials or self.repeats or self.confirmation[1] or self.control or self.final
        )

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "trials": self.trials,
            "repeats": self.repeats,
            "confirmation": list(self.confirmation),
            "control": self.control,
            "final": self.final,
            "workers": self.workers,
            "trial_seconds": self.trial_seconds,
            "seconds": None if self.seconds is None else list(self.seconds),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Forecast:
        """The forecast whose `document()` this is."""
        entries = dict(document) | {"confirmation": tuple(document["confirmation"])}
        if document["seconds"] is not None:
            entries["seconds"] = tuple(document["seconds"])
        return cls(**entries)


def forecast(
    spec: StudySpec,
    prepared: Prepared,
    workers: int,
    population: int | None,
    *,
    tests: bool,
    done: Done = NOTHING,
) -> Forecast:
    """Train a few steps, and count.

    Args:
        spec: The study.
        prepared: Its rows.
        workers: How many train at a time.
        population: Trials side by side; None lets the size of a network decide.
        tests: Whether the test split will be opened.
        done: What is over already.
    """
    each = _trial_seconds(spec, prepared, population)
    trials = max(0, spec.planned_trials - done.trials)
    repeats = 0 if spec.is_grid or spec.rounds == 1 else NOISE_REPEATS - done.repeats
    least, most = _race(spec, done)
    control = spec.control_trials - done.control
    final = TRAININGS if tests and spec.confirms else 0
    always = trials + repeats + control
    planning = _PLANNING_SECONDS * trials if _is_planned_from_posterior(spec) else 0.0
    seconds = None
    if each is not None:
        shortest, longest = (
            planning + each * ((always + more) / workers + final) for more in (least, most)
        )
        seconds = (shortest, longest)
    return Forecast(
        trials=trials,
        repeats=repeats,
        confirmation=(least, most),
        control=control,
        final=final,
        trial_seconds=each,
        seconds=seconds,
        workers=workers,
    )


def _race(spec: StudySpec, done: Done) -> tuple[int, int]:
    """How many repeats of finalists are left, at least and at most."""
    if done.over:
        return 0, 0
    race = spec.confirmation
    return max(0, race.least_repeats - done.confirmed), max(0, race.most_repeats - done.confirmed)


def _is_planned_from_posterior(spec: StudySpec) -> bool:
    return spec.search.sampler == "auto" and spec.narrowing == "posterior"


def _trial_seconds(spec: StudySpec, prepared: Prepared, population: int | None) -> float | None:
    """What a trial takes one worker, on average over some of the space; None for nobody knows."""
    training, validation = prepared.training(), prepared.validation()
    timed: dict[Hashable, _Times] = {}
    found: list[float] = []
    for settings in _some(spec):
        shared = spec.seeds == "common"
        size = population or population_size(
            settings, training.features, training.classes, shared_rows=shared
        )
        key = (settings.shape, settings.training.batch_size)
        try:
            times = timed.get(key) or _time([settings] * size, training, validation)
        except TRAINING_ERRORS:  # its trials will fail and say why
            continue
        timed[key] = times
        found.append(times.of(settings, len(training)) / size)
    return fmean(found) if found else None


def _some(spec: StudySpec) -> list[TrialSettings]:
    """Settings at a few places of the space, every dimension's in another order."""
    count = len(spec.space.dimensions)
    points = [
        [_PLACES[(place + dimension) % len(_PLACES)] for dimension in range(count)]
        for place in range(len(_PLACES))
    ]
    return [spec.settings(spec.space.at(point)) for point in points]


@dataclass(frozen=True)
class _Times:
    """Seconds of an update and of a measurement of a whole population."""

    update: float
    measurement: float

    def of(self, settings: TrialSettings, rows: int) -> float:
        """Seconds that a population of such members trains."""
        training = settings.training
        updates = training.length.count * training.updates_per_step(rows)
        return updates * self.update + len(training.length.steps) * self.measurement


def _time(settings: Sequence[TrialSettings], training: Examples, validation: Examples) -> _Times:
    few = _timed(settings, training, validation, _FEW)
    # What comes first may have to be compiled or read.
    few = min(few, _timed(settings, training, validation, _FEW))
    further = max(_FEW, min(_MOST, round(_SECONDS * _FEW / max(few, 1e-6))))
    many = _timed(settings, training, validation, _FEW + further)
    update = max(many - few, 0.0) / further
    return _Times(update, max(few - _FEW * update, 0.0))


def _timed(
    settings: Sequence[TrialSettings], training: Examples, validation: Examples, updates: int
) -> float:
    """Seconds of so many updates and one measurement."""
    members = [Member(_shortened(one, updates), seed) for seed, one in enumerate(settings)]
    began = time.perf_counter()
    train(members, training, validation)
    return time.perf_counter() - began


def _shortened(settings: TrialSettings, updates: int) -> TrialSettings:
    short = {"epochs": None, "iterations": updates, "measure_every": updates, "diagnose": ()}
    training = settings.training.model_copy(update=short | {"patience": None})
    return settings.model_copy(update={"training": training})
