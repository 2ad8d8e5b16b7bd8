"""How good searches are at equal trials: contenders on testbeds whose truth is known.

Run from the repository's folder; testbeds.py says what there is, contenders.py who takes part:

    python benchmarks/search_quality.py --results quality.jsonl --figure quality.png
    python benchmarks/search_quality.py --testbeds mnist-500 cliff --contenders sobol tpe --markdown

HPSEARCH_DATA names a folder with HPOBench's tables; without it their testbeds are left out. Every
contender searches every testbed once for each seed, one trial after the other, and draws the same
luck trial by trial as the others. After so many trials its recommended point, for most the best
one observed, has the *normalised regret*

    (best mean - mean score of the recommended point) / (best mean - median mean in the limits)

which is 0 for the best point within the limits and 1 for one that is drawn blindly. A name that
ends in `-wide` is a contender that is given the limits at once, not the declared box; where both
are the same it is measured once. What stands in the --results file is not measured again, so that
the program can be stopped at any time; a contender that was changed is measured anew with --again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import json_lines
import machine
import numpy as np
import rounds  # noqa: F401 - hpsearch takes part
import testbeds
from contenders import CONTENDERS, WIDE, base, missing
from numpy.typing import NDArray
from testbeds import Testbed
from threadpoolctl import threadpool_limits

from hpsearch.data.folders import data_folder
from hpsearch.errors import UserError

# After how many trials regret is looked at: all of these in the figure, those below in tables.
CHECKPOINTS = (10, 20, 30, 50, 75, 100, 150, 200, 250, 300)
TABLED = (50, 100, 200, 300)
RESAMPLES = 4000
# The lowest regret the figure shows, because 0 has no place on its axis, and the highest.
SHOWN = (1e-3, 2.0)
COLUMNS = 4

Array = NDArray[np.float64]


# ------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Outcome:
    """One search of a contender on a testbed.

    Attributes:
        testbed: Its name.
        truth: `truth_of` the testbed; another truth would be another testbed.
        contender: Its name.
        seed: Of the search.
        checkpoints: After how many trials.
        regrets: Normalised regret at each of them.
        ms: Milliseconds a trial that proposing took.
    """

    testbed: str
    truth: tuple[float, ...]
    contender: str
    seed: int
    checkpoints: tuple[int, ...]
    regrets: tuple[float, ...]
    ms: float

    @property
    def key(self) -> tuple[object, ...]:
        """What was measured: two outcomes with one key are the same search."""
        return self.testbed, self.truth, self.contender, self.seed, self.checkpoints


def truth_of(bed: Testbed) -> tuple[float, ...]:
    """Its best and median mean, and the ends of its declared box."""
    low, high = bed.declared_ends()
    return bed.best, bed.median, *low.tolist(), *high.tolist()


def searched(bed: Testbed, name: str, seed: int, checkpoints: tuple[int, ...]) -> Outcome:
    """One search, measured."""
    search = CONTENDERS[name](bed, seed, checkpoints)
    regrets = tuple(bed.regret(search.recommended).tolist())
    ms = 1e3 * search.seconds / max(checkpoints)
    return Outcome(bed.name, truth_of(bed), name, seed, checkpoints, regrets, ms)


class Results:
    """All outcomes so far; each is added to a file at once, so that nothing is lost.

    Args:
        file: Where they are kept, a line of JSON each; None keeps them in memory.
        again: Contenders whose earlier outcomes are not used.
    """

    def __init__(self, file: Path | None, again: Sequence[str] = ()) -> None:
        self._file = file
        lines = json_lines.read(file)
        known = [self._read(number, line) for number, line in enumerate(lines, start=1)]
        self._known = {outcome.key: outcome for outcome in known if outcome.contender not in again}

    def of(self, bed: Testbed, name: str, seed: int, checkpoints: tuple[int, ...]) -> Outcome:
        """The outcome of this search, measured now unless it is known."""
        key = (bed.name, truth_of(bed), name, seed, checkpoints)
        if key not in self._known:
            self._known[key] = searched(bed, name, seed, checkpoints)
            json_lines.add(self._file, self._known[key])
        return self._known[key]

    def _read(self, number: int, line: str) -> Outcome:
        try:
            entries = json.loads(line)
            lists = {key: tuple(entries[key]) for key in ("truth", "checkpoints", "regrets")}
            return Outcome(**entries | lists)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self._file}, line {number}: no outcome; delete the line") from error


@dataclass(frozen=True)
class Standing:
    """How a contender did on a testbed.

    Attributes:
        regrets: (seeds, checkpoints) normalised regret.
        ms: Milliseconds a trial that proposing took.
    """

    regrets: Array
    ms: float


# Standings by contender, in the contenders' order.
Standings = dict[str, Standing]


def measured(
    bed: Testbed, names: Sequence[str], seeds: int, checkpoints: tuple[int, ...], results: Results
) -> Standings:
    """All contenders on one testbed; those that would search one box twice share a standing."""
    standings: Standings = {}
    for name in names:
        if not bed.is_cut and name.endswith(WIDE) and base(name) in standings:
            standings[name] = standings[base(name)]
            continue
        outcomes = [results.of(bed, name, seed, checkpoints) for seed in range(seeds)]
        regrets = np.array([outcome.regrets for outcome in outcomes])
        standings[name] = Standing(regrets, float(np.mean([outcome.ms for outcome in outcomes])))
        tell(bed.name, name, standings[name])
    return standings


def tell(bed: str, name: str, standing: Standing) -> None:
    """One line of progress: the whole takes a while."""
    last = 100 * standing.regrets[:, -1].mean()
    sys.stderr.write(f"{bed}  {name}  {last:.2f} % in the end  {standing.ms:.1f} ms a trial\n")


# ------------------------------------------------------------------- comparing


def interval(differences: Array) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over testbeds of means over seeds.

    Args:
        differences: (testbeds, seeds) of two contenders that met the same seeds. Seeds are
            resampled, each testbed's on their own; testbeds are not, they are all there are.
    """
    rng = np.random.default_rng(0)
    beds, seeds = differences.shape
    means = np.zeros(RESAMPLES)
    for row in differences:
        means += row[rng.integers(seeds, size=(RESAMPLES, seeds))].mean(axis=1) / beds
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def compared(regrets: Mapping[str, Array]) -> dict[str, str]:
    """Cells of one column: mean regret in %, and how much that is above the best contender's.

    Args:
        regrets: (testbeds, seeds) normalised regret after the same number of trials, by contender.
    """
    means = {name: 100 * float(regret.mean()) for name, regret in regrets.items()}
    best = min(means, key=means.__getitem__)
    cells = {}
    for name, regret in regrets.items():
        # Who searched the same box with the same luck is the same, not equal by chance.
        if np.array_equal(regret, regrets[best]):
            cells[name] = f"**{means[name]:.2f}**"
            continue
        low, high = interval(100 * (regret - regrets[best]))
        cells[name] = f"{means[name]:.2f} ({low:+.2f} .. {high:+.2f})"
    return cells


def columns(checkpoints: Sequence[int]) -> dict[int, int]:
    """Number of trials -> its place among the checkpoints, for those that tables show."""
    return {trials: checkpoints.index(trials) for trials in TABLED if trials in checkpoints}


Rows = list[tuple[str, ...]]


def testbed_table(bed: str, standings: Standings, checkpoints: Sequence[int]) -> Rows:
    """A row per contender; who shares another's standing has none."""
    shown = {
        n: [s] for n, s in standings.items() if base(n) == n or s is not standings.get(base(n))
    }
    return rows(bed, shown, checkpoints)


def overall_table(standings: Mapping[str, Standings], checkpoints: Sequence[int]) -> Rows:
    """A row per contender: the mean over all testbeds."""
    names = next(iter(standings.values()))
    together = {name: [one[name] for one in standings.values()] for name in names}
    return rows(f"mean of {len(standings)} testbeds", together, checkpoints)


def rows(
    heading: str, standings: Mapping[str, Sequence[Standing]], checkpoints: Sequence[int]
) -> Rows:
    """Heading and one line per contender: regret after each number of trials, time a trial."""
    cells = []
    for place in columns(checkpoints).values():
        regrets = {n: np.stack([s.regrets[:, place] for s in ss]) for n, ss in standings.items()}
        cells.append(compared(regrets))
    times = {name: f"{np.mean([s.ms for s in ss]):.1f}" for name, ss in standings.items()}
    first = (heading, *(f"{trials} trials" for trials in columns(checkpoints)), "ms a trial")
    return [first, *((n, *(column[n] for column in cells), times[n]) for n in standings)]


# -------------------------------------------------------------------- printing


def as_text(lines: Rows) -> str:
    """Aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def as_markdown(lines: Rows) -> str:
    """A Markdown table."""
    heading, *others = lines
    ruled = [heading, ("---", *["--:"] * (len(heading) - 1)), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)


def picture(standings: Mapping[str, Standings], checkpoints: Sequence[int]) -> bytes:
    """PNG: mean regret over trials, an axes for each testbed; dashes search the limits at once."""
    from matplotlib.lines import Line2D

    from hpsearch.report.figures import canvas

    names = list(next(iter(standings.values())))
    colours = dict(zip(dict.fromkeys(map(base, names)), cycle(canvas.COLOURS), strict=False))
    styles = {n: (colours[base(n)], "--" if n.endswith(WIDE) else "-") for n in names}
    title, labels = "Regret of the recommended point", ("trials", "normalised regret")
    with canvas.house_style():
        figure, axes = canvas.panes(title, len(standings), COLUMNS, labels)
        for ax, (bed, contenders) in zip(axes, standings.items(), strict=True):
            ax.set_title(bed)
            ax.set_yscale("log")
            ax.set_ylim(*SHOWN)
            ax.yaxis.set_major_formatter(lambda regret, _: f"{100 * regret:g} %")
            for name, standing in contenders.items():
                mean = np.maximum(standing.regrets.mean(axis=0), SHOWN[0])
                colour, dashes = styles[name]
                ax.plot(checkpoints, mean, color=colour, linestyle=dashes)
        handles = [Line2D([], [], label=n, color=c, linestyle=d) for n, (c, d) in styles.items()]
        canvas.key_below(figure, handles, len(handles))
        return canvas.png(figure)


# --------------------------------------------------------------------- choices


def present(names: Sequence[str], data_dir: Path | None) -> Iterator[Testbed]:
    """The testbeds of these names; all that are there if none is named."""
    there = data_folder(data_dir) is not None
    if not names and not there:
        sys.stderr.write("HPOBench's testbeds are left out: set HPSEARCH_DATA\n")
    every = [name for name in testbeds.NAMES if there or name not in testbeds.TABLES]
    for name in names or every:
        yield testbeds.named(name, data_dir)


def able(names: Sequence[str]) -> list[str]:
    """Those of the contenders that can take part here, in their own order; why others cannot."""
    for line in filter(None, map(missing, names)):
        sys.stderr.write(f"{line}\n")
    return [name for name in CONTENDERS if name in names and missing(name) is None]


def parsed() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--testbeds", nargs="*", choices=testbeds.NAMES, default=[], metavar="NAME", help="(all)")
    add(
        "--contenders",
        nargs="*",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help="(all)",
    )
    add("--seeds", type=int, default=20, help="searches of each testbed by each contender (20)")
    add("--trials", type=int, choices=CHECKPOINTS, default=CHECKPOINTS[-1], help="of a search")
    add("--data-dir", type=Path, help="folder with hpobench/*.npz (HPSEARCH_DATA)")
    add("--results", type=Path, help="file that keeps all outcomes, a line of JSON each")
    add("--again", nargs="*", choices=CONTENDERS, default=[], metavar="NAME", help="measure anew")
    add("--figure", type=Path, help="PNG to draw: regret over trials")
    add("--markdown", action="store_true", help="print Markdown tables")
    return parser.parse_args()


def main() -> int:
    """Measure what is not known yet, and print a table for each testbed and one for all."""
    options = parsed()
    render = as_markdown if options.markdown else as_text
    checkpoints = tuple(n for n in CHECKPOINTS if n <= options.trials)
    names = able(options.contenders)
    if not names:
        return 2
    standings: dict[str, Standings] = {}
    try:
        results = Results(options.results, options.again)
        with threadpool_limits(1):
            for bed in present(options.testbeds, options.data_dir):
                standings[bed.name] = measured(bed, names, options.seeds, checkpoints, results)
                print(render(testbed_table(bed.name, standings[bed.name], checkpoints)), end="\n\n")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if len(standings) > 1:
        print(render(overall_table(standings, checkpoints)), end="\n\n")
    used = machine.versions("optuna", "cmaes", "torch", "scipy")
    print(f"Regret in %, of {options.seeds} searches each. {machine.described()}; {used}.")
    if options.figure is not None:
        options.figure.write_bytes(picture(standings, checkpoints))
    return 0


if __name__ == "__main__":
    sys.exit(main())
