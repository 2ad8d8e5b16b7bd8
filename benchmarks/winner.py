"""Whether the winner's score and the test figure can be believed.

Run from the repository's folder; MNIST is found as `hpsearch start` finds it:

    python benchmarks/winner.py --studies 200 --results winner.jsonl
    python benchmarks/winner.py --studies 0 --figures 2000 --data-dir DIR

*Winner.* Studies of three rounds of 100 trials with the default confirmation, on the testbeds that
are formulas, as only these have a fresh seed for every repeat. The error of a figure is the figure
minus the true mean at the winner's values; its average over studies is the bias. Three figures are
looked at: the score that the study reports, over seeds that did not choose the winner; the mean
over those that did; and the best score that any trial had.

*Test figure.* 64 networks are trained as the winner of studies/mnist-500.toml would be, each with a
seed of its own, and measured on 19,500 rows that none has seen. Their mean accuracy is the truth. A
figure then takes so many of these networks and so many of these rows at random, and says its
interval as `hpsearch test` does. The coverage is the share of the intervals that hold the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import json_lines
import machine
import numpy as np
import testbeds
from rounds import simulated
from threadpoolctl import threadpool_limits

from hpsearch.data.prepared import prepare
from hpsearch.errors import UserError
from hpsearch.final import TRAININGS
from hpsearch.nn.evaluation import evaluate
from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, train
from hpsearch.search.selection import mean_interval, wilson_interval
from hpsearch.seeds import Purpose, trial_seed
from hpsearch.settings import TrialSettings
from hpsearch.study import ConfirmationSpec, StudySpec
from hpsearch.study_file import parse_study

STUDY = Path(__file__).resolve().parent.parent / "studies" / "mnist-500.toml"
ROUNDS = 3
# More than search, repeats and confirmation ever need.
PLENTY = 10_000
CONFIRMATION = ConfirmationSpec()
# 500 rows to learn from, as in the study, and all others to be measured on.
DATA = {"limit": {"first": 20_000}, "split": {"train": 0.025, "validation": 0.975}}
WINNER = {"learning_rate": 0.1, "weight_decay": 1e-5}
NETWORKS = 64
ROWS = (100, 1000, 10_000)


# ----------------------------------------------------------------------- winner


@dataclass(frozen=True)
class Ending:
    """How a study ended.

    Attributes:
        testbed: Its name.
        seed: Of the study.
        truth: Mean score at the winner's values.
        reported: Its score as the study says it.
        choosing: Its mean over the seeds that chose it.
        best: The best score of any trial of the search.
    """

    testbed: str
    seed: int
    truth: float
    reported: float
    choosing: float
    best: float


def ended(name: str, seed: int) -> Ending:
    """Run a study to its winner."""
    bed = testbeds.named(name)
    with threadpool_limits(1):
        study = simulated(bed, seed, PLENTY, rounds=ROUNDS, finalists=CONFIRMATION.finalists)
        study.run()
    if study.winner is None:
        raise RuntimeError(f"{name}, seed {seed}: no winner")
    winner = study.winner.candidate
    choosing = [
        outcome.score or 0.0
        for purpose, outcome in study.trained
        if purpose == Purpose.CONFIRMATION
        and outcome.values == winner.values
        and outcome.replicate < CONFIRMATION.most
    ]
    searched = [o.score for purpose, o in study.trained if purpose == Purpose.SEARCH]
    return Ending(
        testbed=name,
        seed=seed,
        truth=float(bed.mean(bed.positions([winner.values]))[0]),
        reported=winner.score,
        choosing=float(np.mean(choosing)),
        best=max(score for score in searched if score is not None),
    )


def endings(name: str, studies: int, processes: int, file: Path | None) -> list[Ending]:
    """So many studies of a testbed; those that are in the file already are not run again."""
    lines = json_lines.read(file)
    known = {e.seed: e for e in (Ending(**json.loads(line)) for line in lines) if e.testbed == name}
    missing = [seed for seed in range(studies) if seed not in known]
    with ProcessPoolExecutor(processes) as pool:
        for ending in pool.map(partial(ended, name), missing):
            known[ending.seed] = ending
            sys.stderr.write(f"\r{name}: study {ending.seed + 1} of {studies} ")
            json_lines.add(file, ending)
    return [known[seed] for seed in range(studies)]


def bias(figures: Sequence[float], truths: Sequence[float]) -> str:
    """Average error in percentage points, its standard error, and how many of these it is."""
    errors = 100 * (np.array(figures) - np.array(truths))
    mean, error = errors.mean(), errors.std(ddof=1) / np.sqrt(len(errors))
    return f"{mean:+.3f} ± {error:.3f} ({mean / error:+.1f})"


def print_winners(names: Sequence[str], options: argparse.Namespace) -> None:
    """A line per testbed."""
    print(
        "| testbed | reported score | over the seeds that chose | best trial |\n|---|---|---|---|"
    )
    for name in names:
        found = endings(name, options.studies, options.processes, options.results)
        truths = [e.truth for e in found]
        figures = [
            [e.reported for e in found],
            [e.choosing for e in found],
            [e.best for e in found],
        ]
        print(f"| {name} | {' | '.join(bias(of, truths) for of in figures)} |", flush=True)
    print(
        "\nBias in percentage points, mean ± standard error (in standard errors); "
        f"{options.studies} studies each. {machine.described()}."
    )


# ------------------------------------------------------------------- test figure


def trained(data_dir: Path | None) -> tuple[TrialSettings, list[np.ndarray], Examples]:
    """The networks, and the rows that none has seen."""
    document = parse_study(STUDY.read_text(encoding="utf-8"), STUDY.name).document()
    document["data"] |= DATA
    spec = StudySpec.from_document(document)
    prepared = prepare(spec, data_dir)
    settings = spec.settings(WINNER)
    seeds = [trial_seed(spec.seed, Purpose.FINAL, 1, replicate) for replicate in range(NETWORKS)]
    members = train([Member(settings, seed) for seed in seeds], prepared.training(), None)
    return settings, [m.parameters for m in members if not m.diverged], prepared.validation()


def covered(
    figures: int, rows: int, networks: Sequence[np.ndarray], settings: TrialSettings, all_: Examples
) -> Iterator[tuple[bool, float]]:
    """For each figure whether its interval holds the truth, and how wide it is."""
    rng = np.random.default_rng(rows)
    truth = np.mean([evaluate(settings, network, all_)["accuracy"] for network in networks])
    for _ in range(figures):
        drawn = rng.integers(len(all_), size=rows)
        test = Examples(np.ascontiguousarray(all_.x[drawn]), all_.y[drawn], all_.classes)
        taken = rng.integers(len(networks), size=TRAININGS)
        scores = [evaluate(settings, networks[index], test)["accuracy"] for index in taken]
        low, high = mean_interval(scores, rows)
        yield low <= truth <= high, high - low


def print_figures(options: argparse.Namespace) -> None:
    """A line for each number of test rows."""
    settings, networks, rows = trained(options.data_dir)
    print(f"{len(networks)} of {NETWORKS} networks did not diverge.\n")
    print("| test rows | coverage | mean width |\n|---|---|---|")
    for count in ROWS:
        found = list(covered(options.figures, count, networks, settings, rows))
        hits = sum(hit for hit, _ in found)
        low, high = wilson_interval(hits, len(found))
        width = np.mean([width for _, width in found])
        print(f"| {count} | {hits / len(found):.3f} ({low:.3f} .. {high:.3f}) | {width:.4f} |")
    print(f"\n{options.figures} figures of {TRAININGS} trainings each. {machine.described()}.")


def main() -> int:
    """Run what is not known yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--testbeds", nargs="*", choices=list(testbeds.FORMULAS), default=list(testbeds.FORMULAS))
    add("--studies", type=int, default=200, help="of each testbed (200)")
    add("--figures", type=int, default=0, help="test figures for each number of rows (0)")
    add("--processes", type=int, default=2, help="studies run at a time (2)")
    add("--results", type=Path, help="file that keeps all studies, a line of JSON each")
    add("--data-dir", type=Path, help="folder with MNIST's files (HPSEARCH_DATA)")
    options = parser.parse_args()
    try:
        if options.studies:
            print_winners(options.testbeds, options)
        if options.figures:
            with threadpool_limits(1):
                print_figures(options)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
