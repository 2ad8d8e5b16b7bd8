"""The grid behind the testbed mnist-500: the study's network at every point, seed by seed.

Run from the repository's folder; MNIST is found as `hpsearch start` finds it:

    python benchmarks/mnist_500_grid.py --data-dir DIR

Every training is that of a trial of studies/mnist-500.toml: its split, its length, and seeds that
are drawn as the study draws them. One seed at a time is trained over the whole grid and written
to benchmarks/data/mnist_500.npz, so that the program can be stopped and goes on where it was;
with more --seeds it adds to what is there. 20 seeds took 22 minutes on one core (2026-11, AMD
EPYC).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hpsearch.data.prepared import prepare
from hpsearch.errors import UserError
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, TrainedMember, population_size, train
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.study import StudySpec
from hpsearch.study_file import parse_study

HERE = Path(__file__).resolve().parent
STUDY = HERE.parent / "studies" / "mnist-500.toml"
GRID = HERE / "data" / "mnist_500.npz"
# Below 1e-4 the network has hardly moved when training ends; above 1e-3 every step counts.
LEARNING_RATES = 10.0 ** np.array([-7, -6, -5, -4, -3.5, *(n / 8 for n in range(-24, 1))])
# Weak decays differ in nothing, strong ones in everything.
WEIGHT_DECAYS = 10.0 ** np.array([-10, -8, -6, -5, -4, -3, -2.5, -2, -1.5, -1])


def accuracies(
    spec: StudySpec, training: Examples, validation: Examples, replicate: int
) -> NDArray[np.float32]:
    """(learning rates, weight decays) validation accuracy with one seed; NaN where it diverged."""
    seed = trial_seed(spec.seed, Purpose.SEARCH, 1, replicate)
    axes = product(LEARNING_RATES.tolist(), WEIGHT_DECAYS.tolist())
    members = [
        Member(spec.settings({"learning_rate": rate, "weight_decay": decay}), seed)
        for rate, decay in axes
    ]
    size = population_size(
        members[0].settings, training.features, training.classes, shared_rows=True
    )
    scores: list[float] = []
    for start in range(0, len(members), size):
        trained = train(members[start : start + size], training, validation)
        scores.extend(map(score, trained))
    return np.array(scores, np.float32).reshape(len(LEARNING_RATES), len(WEIGHT_DECAYS))


def score(member: TrainedMember) -> float:
    """What the study would rank this training by."""
    if member.diverged:
        return math.nan
    return member.curve[member.scored_at]["validation_accuracy"]


def computed(seeds: int, data_dir: Path | None) -> Iterator[int]:
    """Add to the grid seed by seed until it has so many; yields how many it has."""
    spec = parse_study(STUDY.read_text(encoding="utf-8"), STUDY.name)
    prepared = prepare(spec, data_dir)
    rows = prepared.training(), prepared.validation()
    done = stored()
    for replicate in range(len(done), seeds):
        done.append(accuracies(spec, *rows, replicate))
        write(done)
        yield len(done)


def stored() -> list[NDArray[np.float32]]:
    """What an earlier run has written for these very axes, a seed each."""
    if not GRID.exists():
        return []
    with np.load(GRID, allow_pickle=False) as grid:
        axes = (grid["learning_rate"], LEARNING_RATES), (grid["weight_decay"], WEIGHT_DECAYS)
        same = all(len(there) == len(here) and np.allclose(there, here) for there, here in axes)
        return list(np.moveaxis(grid["accuracy"], -1, 0)) if same else []


def write(done: list[NDArray[np.float32]]) -> None:
    """Replace the file in one step: `accuracy` (learning rates, weight decays, seeds) float32."""
    GRID.parent.mkdir(exist_ok=True)
    unfinished = GRID.with_suffix(".tmp.npz")
    np.savez_compressed(
        unfinished,
        accuracy=np.stack(done, -1),
        learning_rate=LEARNING_RATES,
        weight_decay=WEIGHT_DECAYS,
    )
    os.replace(unfinished, GRID)  # noqa: PTH105 - as the rest of this project does


def main() -> int:
    """Train what is missing, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's files (HPSEARCH_DATA)")
    parser.add_argument("--seeds", type=int, default=20, help="trainings a point (20)")
    options = parser.parse_args()
    began = time.process_time()
    try:
        with threadpool_limits(1):
            for count in computed(options.seeds, options.data_dir):
                seconds = time.process_time() - began
                sys.stderr.write(f"{count} of {options.seeds} seeds, {seconds:.0f} s of one core\n")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
