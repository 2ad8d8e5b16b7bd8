"""Whether ranges can be trusted where data are few and half of the networks hardly train.

Run from the repository's folder:

    python benchmarks/small_data.py --studies 121

Real trainings: moons with 400 points, of which 80 validate, four epochs, two rounds of 40 trials
over the learning rate from 0.001 to 0.1. At its lower end every other network is stuck at its
initial weights, so that scores scatter ten times as widely there as where they are best. Every
study has a seed, and with it a split, of its own; its truth is the mean of 150 trainings at each
of 25 rates.

A final range holds the best if a rate in it is within half a standard deviation of the best one's
scores. The volume is the range's share of the declared one, on the log scale.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import machine
import numpy as np
from threadpoolctl import threadpool_limits

from hpsearch.data.prepared import Prepared, prepare
from hpsearch.nn.training import Member, train
from hpsearch.search.selection import wilson_interval
from hpsearch.store.database import open_database
from hpsearch.store.reading import ranges_document
from hpsearch.store.studies import create_study, load_study
from hpsearch.study import StudySpec
from hpsearch.study_file import parse_study
from hpsearch.worker import WorkerOptions, run_worker

STUDY = """
name = "small"
seed = {seed}
[data]
source = "moons"
samples = 400
[model]
hidden = [8]
[training]
epochs = 4
[space]
learning_rate = {{ low = 1e-3, high = 1e-1, scale = "log" }}
[search]
rounds = 2
trials = 40
"""
LOW, HIGH = 1e-3, 1e-1
RATES = np.geomspace(LOW, HIGH, 25)
TRAININGS = 150
TOLERANCE = 0.5


@dataclass(frozen=True)
class Ending:
    """How a study has ended.

    Attributes:
        holds: Whether the final range holds the best.
        volume: Its share of the declared range.
        regret: How far the winner's true score is below the best.
    """

    holds: bool
    volume: float
    regret: float


def ended(seed: int) -> Ending:
    """Run a study to its end, and compare it with the truth."""
    with threadpool_limits(1):
        text = STUDY.format(seed=seed)
        spec = parse_study(text, "small.toml")
        prepared = prepare(spec, None)
        low, high, rate = _searched(text, spec, prepared)
        mean, deviation = _truth(spec, prepared)
    best = int(mean.argmax())
    inside = np.geomspace(low, high, 200)
    lost = mean[best] - _at(inside, mean).max()
    return Ending(
        holds=bool(lost <= TOLERANCE * deviation[best]),
        volume=math.log(high / low) / math.log(HIGH / LOW),
        regret=float(mean[best] - _at(np.array([rate]), mean)[0]),
    )


def _searched(text: str, spec: StudySpec, prepared: Prepared) -> tuple[float, float, float]:
    """Ends of the final range, and the winner's rate."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/hpsearch.db"
        with closing(open_database(url, create=True)) as database:
            rows = len(prepared.validation())
            create_study(database, spec, text, prepared.fingerprint, rows)
            run_worker(WorkerOptions(url, spec.name), threading.Event())
            study = load_study(database, spec.name)
            final = ranges_document(database, study)[-1]
            return final["low"], final["high"], float(study.winner_values["learning_rate"])  # type: ignore[arg-type]


def _truth(spec: StudySpec, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """(25,) float64 both: means and standard deviations of the scores at each rate."""
    training, validation = prepared.training(), prepared.validation()
    scores = []
    for rate in RATES:
        settings = spec.settings({"learning_rate": float(rate)})
        members = [Member(settings, 1000 + number) for number in range(TRAININGS)]
        curves = [member.curve for member in train(members, training, validation)]
        scores.append([curve[max(curve)]["validation_accuracy"] for curve in curves])
    table = np.array(scores)
    return table.mean(axis=1), table.std(axis=1)


def _at(rates: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.interp(np.log(rates), np.log(RATES), mean)


def main() -> int:
    """Run the studies and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=121, help="with seeds from 0 (121)")
    parser.add_argument("--processes", type=int, default=2, help="studies run at a time (2)")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:
        endings = list(pool.map(ended, range(options.studies)))
    holds = [ending.holds for ending in endings]
    low, high = wilson_interval(sum(holds), len(holds))
    print(f"holds the best      {np.mean(holds):.3f} ({low:.3f} .. {high:.3f})")
    print(f"volume, median      {np.median([ending.volume for ending in endings]):.3f}")
    print(f"winner's regret, %  {100 * np.mean([ending.regret for ending in endings]):.2f}")
    print(f"\n{options.studies} studies. {machine.described()}, {machine.versions('numpy')}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
