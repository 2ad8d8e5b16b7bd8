"""A whole search, everything logged: `hpsearch start` beside the same search written by hand.

Run from the repository's folder, on a quiet machine, in an environment that has torch beside
hpsearch. MNIST is read from --data-dir (or HPSEARCH_DATA), a folder with the four original files,
packed as they are published; without one hpsearch's own download is used by both:

    python benchmarks/end_to_end.py --data-dir DIR
    python benchmarks/end_to_end.py --data-dir DIR --markdown   # for docs/performance.md

Both train the network of studies/mnist-500.toml 100 times for 50 epochs in two processes of one
thread each, and log four metrics an epoch to MLflow on SQLite. hpsearch also narrows the ranges,
trains 25 repeats to confirm a winner, trains that winner anew and tests it, all of which is in its
time; naive_search.py stops after its 100 trials. Both start in an empty folder, as whole processes.
hpsearch's kernels are compiled before the clock starts: that happens once on a machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import machine

from hpsearch.data.folders import CACHE_VARIABLE, cache_folder, data_folder
from hpsearch.data.mnist import TRAINING, check_files
from hpsearch.errors import DataError

NAME = "mnist-500"
TRIALS = 100
WORKERS = 2
HERE = Path(__file__).resolve().parent
STUDY = HERE.parent / "studies" / f"{NAME}.toml"
NAIVE = HERE / "naive_search.py"
NEEDED = ("torch", "optuna", "mlflow")
# Compiles the kernels into numba's cache, from where the measured process takes them.
WARM_UP = """
from hpsearch.nn.kernels import kernels
from hpsearch.nn.warm_up import load_kernels
load_kernels()
print(kernels().name)
"""


@dataclass(frozen=True)
class Outcome:
    """What one search took and left behind.

    Attributes:
        seconds: From the start of the process to its end.
        searched: Until the last of the search's trials was in the database.
        finished: Until the last trial of any purpose was.
        trainings: How many networks were trained.
        runs: In MLflow; hpsearch has one for the study and for every round, too.
        points: Metric values in MLflow.
        best: Best validation accuracy of the search.
    """

    seconds: float
    searched: float
    finished: float
    trainings: int
    runs: int
    points: int
    best: float


def warmed_up() -> str:
    """The kernels that hpsearch will use here, ready to be loaded: "numpy", or numba's version."""
    with tempfile.TemporaryDirectory() as folder:  # hpsearch is found as it will be from there
        done = subprocess.run(
            [sys.executable, "-c", WARM_UP], cwd=folder, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"the kernels cannot be loaded: {_last_line(done.stderr)}")
    return done.stdout.strip()


def run_hpsearch(folder: Path, data_dir: Path | None) -> Outcome:
    """`hpsearch start`, from nothing to the mirror's end."""
    command = [sys.executable, "-m", "hpsearch", "start", str(STUDY)]
    command += ["--rounds", "1", "--trials", str(TRIALS), "--workers", str(WORKERS)]
    environment = dict(os.environ)
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
        environment[CACHE_VARIABLE] = str(folder / "cache")  # nothing was prepared before
    return _timed(command, environment, folder, "hpsearch.db")


def run_naive(folder: Path, images: Path) -> Outcome:
    """The script a user would write."""
    command = [sys.executable, str(NAIVE), str(images), str(TRIALS), str(WORKERS)]
    return _timed(command, dict(os.environ), folder, "optuna.db")


def _timed(
    command: Sequence[str], environment: dict[str, str], folder: Path, database: str
) -> Outcome:
    said = folder / "said.txt"
    began = time.time()
    with said.open("w") as output:
        code = subprocess.run(
            command,
            cwd=folder,
            env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    seconds = time.time() - began
    if code:
        sys.exit(f"{' '.join(command)} ended with exit code {code}: {_last_line(said.read_text())}")
    return _outcome(seconds, began, f"sqlite:///{folder / database}", folder / "mlflow.db")


def _last_line(said: str) -> str:
    return (said.strip() or "it said nothing").splitlines()[-1]


def _outcome(seconds: float, began: float, storage: str, tracking: Path) -> Outcome:
    """Read from what both left behind: both databases are Optuna's and MLflow's."""
    import optuna

    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    studies = {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    completed = sum(trial.state.name == "COMPLETE" for trial in studies[NAME].trials)
    if completed < TRIALS:
        name = Path(storage).name
        sys.exit(f"{name}: only {completed} of {TRIALS} trials completed; nothing to compare")
    ends = {name: [_when(t.datetime_complete) for t in s.trials] for name, s in studies.items()}
    with closing(sqlite3.connect(tracking)) as connection:
        runs, points = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("runs", "metrics")
        )
    return Outcome(
        seconds=seconds,
        searched=max(ends[NAME]) - began,
        finished=max(end for moments in ends.values() for end in moments) - began,
        trainings=sum(map(len, ends.values())),
        runs=runs,
        points=points,
        best=studies[NAME].best_value,
    )


def _when(moment: datetime | None) -> float:
    if moment is None:
        sys.exit("a trial has not ended; the figures would mean nothing")
    return moment.timestamp()


# -------------------------------------------------------------------- printing


def table(ours: Outcome, naive: Outcome) -> list[tuple[str, str, str, str]]:
    """Rows of what, hpsearch, by hand, ratio."""

    def seconds(what: str, mine: float, theirs: float) -> tuple[str, str, str, str]:
        digits = 1 if mine >= 1 else 2
        return what, f"{mine:.{digits}f} s", f"{theirs:.{digits}f} s", f"{theirs / mine:.1f}"

    def plain(what: str, mine: object, theirs: object) -> tuple[str, str, str, str]:
        return what, str(mine), str(theirs), ""

    return [
        ("", "hpsearch start", "naive_search.py", "ratio"),
        seconds("whole process", ours.seconds, naive.seconds),
        seconds("until the last result is in the database", ours.finished, naive.finished),
        seconds(f"until the {TRIALS} trials are", ours.searched, naive.searched),
        seconds(
            "a network trained", ours.seconds / ours.trainings, naive.seconds / naive.trainings
        ),
        plain("networks trained", ours.trainings, naive.trainings),
        plain("runs in MLflow", ours.runs, naive.runs),
        plain("metric values in MLflow", ours.points, naive.points),
        plain("best validation accuracy", f"{ours.best:.2f}", f"{naive.best:.2f}"),
    ]


def as_text(lines: list[tuple[str, str, str, str]]) -> str:
    """Aligned columns."""
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def as_markdown(lines: list[tuple[str, str, str, str]]) -> str:
    """A Markdown table."""
    heading, *others = lines
    ruled = [heading, ("---", "--:", "--:", "--:"), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)


def main() -> int:
    """Run both, one after the other, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's files (HPSEARCH_DATA)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--turns", type=int, default=1, help="both in turn, the best counts (1)")
    options = parser.parse_args()
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            sys.stderr.write(f"{name} is not installed here; `pip install {name}` first\n")
            return 2
    given = data_folder(options.data_dir)
    data_dir = None if given is None else given[0].resolve()
    try:
        check_files(TRAINING, data_dir)
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    images = cache_folder() / "mnist" if data_dir is None else _packed(data_dir)
    kernels = warmed_up()
    pairs = [turn(data_dir, images) for _ in range(options.turns)]
    ours, naive = (min(outcomes, key=_seconds) for outcomes in zip(*pairs, strict=True))
    lines = table(ours, naive)
    print(as_markdown(lines) if options.markdown else as_text(lines))
    used = machine.versions("numpy", "numba", *NEEDED)
    print(
        f"\nBest of {options.turns}. {machine.described()}; {used}; hpsearch's kernels: {kernels}."
    )
    return 0


def turn(data_dir: Path | None, images: Path) -> tuple[Outcome, Outcome]:
    """Both searches, each in an empty folder."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        return run_hpsearch(Path(one), data_dir), run_naive(Path(other), images)


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds


def _packed(data_dir: Path) -> Path:
    """Where in the folder the packed files are: hpsearch looks in `mnist` too."""
    inside = data_dir / "mnist"
    return inside if (inside / f"{TRAINING[0]}.gz").is_file() else data_dir


if __name__ == "__main__":
    sys.exit(main())
