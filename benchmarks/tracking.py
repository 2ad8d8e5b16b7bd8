"""What MLflow costs a search: ours beside logging the usual way, and beside no tracking at all.

Run from the repository's folder, on a quiet machine:

    python benchmarks/tracking.py --data-dir DIR
    python benchmarks/tracking.py --data-dir DIR --repeats 5 --markdown

Three things are measured, each in processes of its own and folders of its own:

- `copying`: `hpsearch sync` of a finished study into an empty MLflow on SQLite: processor time of
  the process a run made, with the study's figures and without, and what importing MLflow takes.
- `by hand`: the same number of runs with as many metrics, logged as MLflow's tutorials do, one
  `log_metric` for every metric of every epoch inside the objective, by two processes at once:
  seconds that a process waits for a run to be logged.
- `start`: from the command to the result of studies/mnist-500.toml, with the mirror and with
  `--tracking none`, in turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import machine

HERE = Path(__file__).resolve().parent
STUDIES = HERE.parent / "studies"
HPSEARCH = (sys.executable, "-m", "hpsearch")
METRICS = ("training_loss", "training_accuracy", "validation_loss", "validation_accuracy")
EPOCHS, PROCESSES = 10, 2
NO_FIGURES = '\n[report]\nfigures = ["table"]\n'
IMPORT = "from hpsearch.tracking.client import connect; connect('sqlite:///mlflow.db')"


@dataclass(frozen=True)
class Cost:
    """Processor and wall seconds of a process and its children."""

    processor: float
    wall: float


def cost(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end in a folder."""
    before, began = _children(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return Cost(_children() - before, time.perf_counter() - began)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------------- copying


def copied(trials: int, folder: Path) -> dict[str, float]:
    """Processor milliseconds of `sync` a run made, by what it does; and of MLflow's import."""
    found = {}
    for what, tail in (("without figures", NO_FIGURES), ("with figures", "")):
        home = folder / what.replace(" ", "-")
        home.mkdir()
        text = (STUDIES / "digits.toml").read_text() + tail
        (home / "digits.toml").write_text(text)
        size = ("--rounds", "2", "--trials", str(trials // 2), "--no-test")
        cost([*HPSEARCH, "start", "digits.toml", "--tracking", "none", *size], home)
        cost([sys.executable, "-c", IMPORT], home)  # makes MLflow's tables, once in a file's life
        found["import"] = cost([sys.executable, "-c", IMPORT], home).processor * 1000
        whole = cost([*HPSEARCH, "sync", "digits"], home).processor * 1000
        found[what] = (whole - found["import"]) / _runs(home)
    return found


def _runs(folder: Path) -> int:
    """How many runs MLflow has."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return int(connection.execute("select count(*) from runs").fetchone()[0])


# ---------------------------------------------------------------------- by hand


def by_hand(trials: int, folder: Path) -> float:
    """Milliseconds that an objective waits for a run to be logged, two processes at a time."""
    uri = f"sqlite:///{folder}/mlflow.db"
    cost(
        [
            sys.executable,
            "-c",
            f"import mlflow; mlflow.set_tracking_uri('{uri}');mlflow.set_experiment('by-hand')",
        ],
        folder,
    )
    with ProcessPoolExecutor(PROCESSES) as pool:
        list(pool.map(partial(_logged, uri), range(PROCESSES)))  # imports, before the clock starts
        seconds = list(pool.map(partial(_logged, uri), range(trials)))
    return statistics.fmean(seconds) * 1000


def _logged(uri: str, number: int) -> float:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("by-hand")
    began = time.perf_counter()
    with mlflow.start_run(run_name=f"trial {number}"):
        mlflow.log_param("learning_rate", 0.01)
        mlflow.log_param("weight_decay", 1e-6)
        for epoch in range(1, EPOCHS + 1):
            for name in METRICS:
                mlflow.log_metric(name, 1 / (epoch + number), step=epoch)
    return time.perf_counter() - began


# ------------------------------------------------------------------------ start


def started(tracking: str, folder: Path, data_dir: Path | None) -> float:
    """Seconds from the command to its printed result."""
    data = () if data_dir is None else ("--data-dir", str(data_dir))
    command = [*HPSEARCH, "start", str(STUDIES / "mnist-500.toml"), "--json", *data]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--tracking", tracking],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        document = process.stdout.readline()  # printed before MLflow is waited for
        seconds = time.perf_counter() - began
        process.stdout.read()
    if not document or process.returncode:
        sys.exit(f"hpsearch start ended with {process.returncode}")
    return seconds


# ------------------------------------------------------------------------ report


def main() -> int:
    """Measure, and print a line for each thing measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--data-dir", type=Path, default=os.environ.get("HPSEARCH_DATA"), help="with MNIST's files")
    add("--trials", type=int, default=200, help="of the study that is copied (200)")
    add("--repeats", type=int, default=3, help="searches with and without the mirror (3)")
    add("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        ours = copied(options.trials, folder)
        hand = by_hand(options.trials // 2, folder)
        rows += [
            ("MLflow's import, ms of processor", f"{ours['import']:.0f}"),
            ("a run copied, ms of processor", f"{ours['without figures']:.1f}"),
            ("the same, figures included", f"{ours['with figures']:.1f}"),
            ("a run logged by hand, ms that training waits", f"{hand:.0f}"),
            ("by hand / copied", f"{hand / ours['without figures']:.1f}"),
        ]
        pairs = []
        for number in range(options.repeats):
            times = []
            for tracking in ("none", "sqlite:///mlflow.db"):
                place = folder / f"{number}-{tracking[:4]}"
                place.mkdir()
                times.append(started(tracking, place, options.data_dir))
            pairs.append(times)
        ratios = [mirrored / alone for alone, mirrored in pairs]
        alone, mirrored = (statistics.median(times) for times in zip(*pairs, strict=True))
        rows += [
            ("mnist-500 to its result, no tracking, s", f"{alone:.1f}"),
            ("the same with the mirror, s", f"{mirrored:.1f}"),
            ("ratio, median (least .. most)", _spread(ratios)),
        ]
    _print(rows, markdown=options.markdown)
    return 0


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f})"


def _print(rows: Sequence[tuple[str, str]], *, markdown: bool) -> None:
    if markdown:
        print("| what | measured |\n|---|--:|")
        print("\n".join(f"| {what} | {figure} |" for what, figure in rows))
    else:
        print("\n".join(f"{what:<46} {figure:>24}" for what, figure in rows))
    print(f"\n{machine.described()}, {machine.versions('mlflow', 'sqlalchemy')}.")


if __name__ == "__main__":
    sys.exit(main())
