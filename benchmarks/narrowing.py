"""How far narrowing can be trusted: many studies on testbeds whose truth is known.

Run from the repository's folder; rounds.py is what is run, testbeds.py where:

    python benchmarks/narrowing.py --testbeds mnist-500 no-effect --studies 200 --results n.jsonl
    python benchmarks/narrowing.py --rule elites --testbeds plateau mnist-500

A study has three rounds of 100 trials and 16 repeats. Its final box is the one that is decided
after the last of them. Per testbed: in how many studies the final box holds a point within half a
standard deviation of the noise of the best within the limits; how large it is, as a share of the
declared one; in how many the edge that the optimum lies beyond was named after round 1; and for
each dimension in how many studies it ends narrower than 80 % of its declared width, and in how many
the ledger finds an effect. Every share has a 95 % interval (Wilson 1927). Every study is added to
the results' file as it ends, and is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import json_lines
import machine
import numpy as np
import testbeds
from numpy.typing import NDArray
from rounds import Rule, simulated
from testbeds import Testbed
from threadpoolctl import threadpool_limits

from hpsearch.errors import UserError
from hpsearch.search.ledger import LedgerRow, box_of
from hpsearch.search.selection import wilson_interval

ROUNDS = 3
# More than search and repeats ever need.
PLENTY = 10_000
# A box holds the best if it holds a point that no measurement could tell from it.
TOLERANCE = 0.5
NARROW = 0.8
# Points a side of the grid that a box is searched on for its best, by the number of dimensions.
GRID = {1: 2001, 2: 101, 3: 33, 4: 13, 5: 9}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ending:
    """How a study ended.

    Attributes:
        testbed: Its name.
        seed: Of the study.
        rule: Who narrowed.
        holds: Whether the final box holds a point as good as the best.
        volume: Of the final box, as a share of the declared one.
        widths: Of each dimension, as a share of its declared width.
        effects: Whether the ledger found that the dimension matters.
        edges: What the ledger of round 1 says of each dimension's edges.
    """

    testbed: str
    seed: int
    holds: bool
    volume: float
    widths: tuple[float, ...]
    effects: tuple[bool, ...]
    edges: tuple[str | None, ...]
    rule: Rule = "posterior"


def ended(name: str, rule: Rule, seed: int) -> Ending:
    """Run a study to its end."""
    with threadpool_limits(1):
        bed = testbeds.named(name)
        study = simulated(bed, seed, PLENTY, rule, rounds=ROUNDS)
        study.run()
    first, last = study.ledgers[0], study.ledgers[-1]
    low, high = _ends(bed, last)
    declared_low, declared_high = bed.declared_ends()
    widths = (high - low) / (declared_high - declared_low)
    return Ending(
        testbed=name,
        seed=seed,
        holds=bed.best - _best_in(bed, low, high) <= TOLERANCE * bed.noise,
        volume=float(np.prod(widths)),
        widths=tuple(widths.tolist()),
        effects=tuple("no evidence" not in row.reason for row in last),
        edges=tuple(row.edge for row in first),
        rule=rule,
    )


def _ends(bed: Testbed, rows: Sequence[LedgerRow]) -> tuple[Array, Array]:
    ranges = [(bed.limits[d.name], d.range) for d in box_of(rows).dimensions]
    ends = [(outer.position(inner.low), outer.position(inner.high)) for outer, inner in ranges]
    low, high = np.array(ends).T
    return low, high


def _best_in(bed: Testbed, low: Array, high: Array) -> float:
    """The best mean on a grid over a box."""
    sides = [np.linspace(a, b, GRID[bed.dimensions]) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, bed.dimensions)
    return float(bed.mean(places).max())


# ----------------------------------------------------------------------- results


class Endings:
    """All studies so far, kept in a file.

    Args:
        file: A line of JSON for each; None keeps them in memory.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = json_lines.read(file)
        self._known = {(e.testbed, e.rule, e.seed): e for e in map(_read, lines)}

    def of(self, name: str, studies: int, processes: int, rule: Rule = "posterior") -> list[Ending]:
        """So many studies of a testbed; those that are not known yet are run now."""
        missing = [seed for seed in range(studies) if (name, rule, seed) not in self._known]
        with ProcessPoolExecutor(processes) as pool:
            for ending in pool.map(partial(ended, name, rule), missing):
                self._keep(ending)
                sys.stderr.write(f"\r{name}: study {ending.seed + 1} of {studies} ")
        return [self._known[name, rule, seed] for seed in range(studies)]

    def _keep(self, ending: Ending) -> None:
        self._known[ending.testbed, ending.rule, ending.seed] = ending
        json_lines.add(self._file, ending)


def _read(line: str) -> Ending:
    entries = json.loads(line)
    lists = {key: tuple(entries[key]) for key in ("widths", "effects", "edges")}
    return Ending(**entries | lists)


def _share(hits: Sequence[bool]) -> str:
    low, high = wilson_interval(sum(hits), len(hits))
    return f"{np.mean(hits):.3f} ({low:.3f} .. {high:.3f})"


def row(name: str, endings: Sequence[Ending]) -> list[str]:
    """A testbed's line of the table."""
    bed = testbeds.named(name)
    cut = beyond(bed)
    named = [e.edges[cut[0]] in {cut[1], "both"} for e in endings] if cut else []
    names = bed.declared.names
    narrow = [_share([e.widths[k] < NARROW for e in endings]) for k in range(len(names))]
    effect = [_share([e.effects[k] for e in endings]) for k in range(len(names))]
    return [
        name,
        _share([e.holds for e in endings]),
        f"{np.median([e.volume for e in endings]):.3f}",
        _share(named) if named else "",
        "; ".join(f"{n} {share}" for n, share in zip(names, narrow, strict=True)),
        "; ".join(f"{n} {share}" for n, share in zip(names, effect, strict=True)),
    ]


def beyond(bed: Testbed) -> tuple[int, str] | None:
    """The dimension whose declared edge the optimum lies beyond, and which edge; None for none."""
    low, high = bed.declared_ends()
    cut = [(k, "lower") for k in range(bed.dimensions) if low[k] > 0]
    cut += [(k, "upper") for k in range(bed.dimensions) if high[k] < 1]
    sides = [(k, end, _side(bed, k, end)) for k, end in cut]
    best = max(sides, key=lambda side: side[2], default=None)
    return (best[0], best[1]) if best and best[2] > bed.best - TOLERANCE * bed.noise else None


def _side(bed: Testbed, dimension: int, end: str) -> float:
    """The best mean beyond an edge of the declared box."""
    declared_low, declared_high = bed.declared_ends()
    low, high = np.zeros(bed.dimensions), np.ones(bed.dimensions)
    if end == "lower":
        high[dimension] = declared_low[dimension]
    else:
        low[dimension] = declared_high[dimension]
    return _best_in(bed, low, high)


def main() -> int:
    """Run what is not known yet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--rule", choices=("posterior", "elites"), default="posterior", help="who narrows")
    add("--testbeds", nargs="*", choices=testbeds.NAMES, default=list(testbeds.NAMES))
    add("--studies", type=int, default=200, help="of each testbed (200)")
    add("--processes", type=int, default=2, help="studies run at a time (2)")
    add("--results", type=Path, help="file that keeps all studies, a line of JSON each")
    options = parser.parse_args()
    endings = Endings(options.results)
    heads = ["testbed", "holds the best", "volume", "edge named", "narrow", "effect"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    try:
        for name in options.testbeds:
            found = endings.of(name, options.studies, options.processes, options.rule)
            print(f"| {' | '.join(row(name, found))} |", flush=True)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(f"\n{options.studies} studies each. {machine.described()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
