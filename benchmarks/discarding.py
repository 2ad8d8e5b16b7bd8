"""What early discarding saves, and how often it is wrong: whole studies, trained for real.

Run from the repository's folder; MNIST is found as `hpsearch start` finds it:

    python benchmarks/discarding.py --seeds 8 --results discarding.jsonl --data-dir DIR
    python benchmarks/discarding.py --studies digits --seeds 2

The studies are those of studies/, as they are, once with discarding and once without. What decides
and plans is the product's own code. With discarding every trial is trained to its end all the same,
but the search is told what it would be told: of a trial that is stopped, what it stands for. So
nothing has to be guessed from the few that are spared:

*Updates saved* are those of search trials behind their stops, as a share of what they take when
none is stopped. *Elites stopped* is the share of the trials that end among the elites of their
round, judged by all full curves of the round, that fell below their band. *Stops wrong* is the
share of the trials below their band that are such elites. In both, a trial that was spared counts
as one that was stopped. Intervals are Wilson's (1927).

*Winner* is the mean validation accuracy of what the study chose in its end, over fresh seeds that
are the same with and without discarding; the difference is paired by the study's seed, with a 95 %
interval (Student). Every study is added to the results' file as it ends, and is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import json_lines
import machine
import numpy as np
from threadpoolctl import threadpool_limits

from hpsearch.data.prepared import prepare
from hpsearch.errors import UserError
from hpsearch.objective import PopulationObjective
from hpsearch.search.bands import rule_of
from hpsearch.search.design import SearchDesign
from hpsearch.search.discarding import METRIC, Band, Below, Points, band_for
from hpsearch.search.elites import elites
from hpsearch.search.narrowing import Known, noise_among
from hpsearch.search.outcomes import Outcome
from hpsearch.search.rounds import DoneRound, PlannedTrial, RoundPlan, close_round, first_round
from hpsearch.search.selection import Winner, wilson_interval
from hpsearch.seeds import Purpose, is_spared, trial_seed
from hpsearch.store.leases import ClaimedTrial
from hpsearch.store.results import TrialResult
from hpsearch.study import StudySpec
from hpsearch.study_file import parse_study

FOLDER = Path(__file__).resolve().parent.parent / "studies"
STUDIES = ("digits", "mnist-500")
# Of the winner, beside those that chose and measured it.
FRESH_SEEDS = 20


@dataclass(frozen=True)
class Ending:
    """How a study ended.

    Attributes:
        study: Its name.
        seed: Its seed.
        discard: "auto" or "off".
        updates: Of all search trials, none stopped.
        saved: Those behind a stop.
        below: Search trials that fell below their band.
        elites: Search trials that ended among the elites of their round.
        wrong: Trials that are both.
        winner: Mean score of the winner over fresh seeds.
    """

    study: str
    seed: int
    discard: str
    updates: int
    saved: int
    below: int
    elites: int
    wrong: int
    winner: float


@dataclass
class ShadowStudy:
    """A study that trains every trial to its end, whatever it is told of it.

    Attributes:
        spec: The study.
        objective: What trains.
        rows: Validation rows.
        told: Per purpose, what the search knows.
        ended: Per search trial, how it ended in truth.
        results: Per search trial, its whole training.
        below: The search trials that fell below their band.
        wrong: Those among the elites of their round.
        elites: How many trials ended among those.
        winner: Known in the end.
    """

    spec: StudySpec
    objective: PopulationObjective
    rows: int
    told: dict[Purpose, list[Outcome]] = field(
        default_factory=lambda: {purpose: [] for purpose in Purpose}
    )
    ended: dict[int, Outcome] = field(default_factory=dict)
    results: dict[int, TrialResult] = field(default_factory=dict)
    below: dict[int, Below] = field(default_factory=dict)
    wrong: set[int] = field(default_factory=set)
    elites: int = 0
    winner: Winner | None = None

    def run(self) -> None:
        """Round after round, to the winner."""
        design = SearchDesign.of(self.spec)
        plan: RoundPlan | None = first_round(design)
        while plan is not None:
            plan = self._round(design, plan)
        self._judge_rounds(design)

    def _round(self, design: SearchDesign, plan: RoundPlan) -> RoundPlan | None:
        outcomes = self._trained(plan.purpose, plan.trials, plan.bands)
        bands = plan.bands
        while True:
            done = DoneRound(
                plan.purpose, plan.number, plan.box, outcomes, len(outcomes), plan.model, bands
            )
            closing = close_round(design, done, self._known())
            if not closing.wave:
                self.winner = closing.winner
                return closing.following
            bands = closing.bands
            outcomes = [*outcomes, *self._trained(plan.purpose, closing.wave, bands)]

    def _known(self) -> Known:
        return Known(
            history=lambda: self.told[Purpose.SEARCH],
            repeats=lambda: self.told[Purpose.REPEAT],
            confirmed=lambda: self.told[Purpose.CONFIRMATION],
            validation_rows=self.rows,
            curves=lambda numbers: {n: self._points(n) for n in sorted(numbers)},
        )

    def _points(self, number: int) -> Points:
        per_step = self._per_step(number)
        curve = self.results[number].curve
        return tuple((step * per_step, metrics[METRIC]) for step, metrics in curve.items())

    def _per_step(self, number: int) -> int:
        result = self.results[number]
        return (result.updates or 0) // max(result.curve)

    def _trained(
        self, purpose: Purpose, trials: Sequence[PlannedTrial], bands: Sequence[Band]
    ) -> list[Outcome]:
        """What the search is told of these trials."""
        results = trained(self.objective, trials)
        for trial, result in zip(trials, results, strict=True):
            if not result.curve:
                raise RuntimeError(f"{self.spec.name}: trial {trial.number} was not trained")
        found = [_outcome(t, r) for t, r in zip(trials, results, strict=True)]
        if purpose == Purpose.SEARCH:
            self.ended |= {outcome.number: outcome for outcome in found}
            self.results |= {t.number: r for t, r in zip(trials, results, strict=True)}
            found = [self._judged(o, band_for(bands, o.number)) for o in found]
        self.told[purpose].extend(found)
        return found

    def _judged(self, outcome: Outcome, band: Band | None) -> Outcome:
        """What is told of a trial that this is its band of."""
        below = self._first_below(outcome, band)
        if below is None:
            return outcome
        self.below[outcome.number] = below
        if self._is_spared(outcome.number):
            return outcome
        return replace(outcome, score=None, loss=None, stands_for=below.stands_for)

    def _first_below(self, outcome: Outcome, band: Band | None) -> Below | None:
        rule = rule_of(self.spec, self.rows, Purpose.SEARCH, outcome.number, band)
        if rule is None:
            return None
        last = self.spec.settings(outcome.values).training.length.count
        judge = rule.judge(self._per_step(outcome.number), last)
        curve = self.results[outcome.number].curve
        for step in [step for step in curve if step < max(curve)]:
            judge(step, curve[step])
        return judge.below

    def _is_spared(self, number: int) -> bool:
        return is_spared(self.spec.seed, Purpose.SEARCH, number)

    def _judge_rounds(self, design: SearchDesign) -> None:
        """Who is among the elites of a round when nobody in it is stopped."""
        for first in range(0, len(self.ended), design.trials):
            numbers = range(first, min(first + design.trials, len(self.ended)))
            outcomes = [self.ended[n] for n in numbers]
            best = elites(outcomes, noise_among(design, outcomes, self._known()))
            self.elites += len(best)
            self.wrong |= {o.number for o in best if o.number in self.below}

    def updates(self) -> int:
        """Of all search trials, none stopped."""
        return sum(result.updates or 0 for result in self.results.values())

    def saved(self) -> int:
        """Updates behind the stops."""
        return sum(
            (max(self.results[n].curve) - below.step) * self._per_step(n)
            for n, below in self.below.items()
            if not self._is_spared(n)
        )


def trained(objective: PopulationObjective, trials: Sequence[PlannedTrial]) -> list[TrialResult]:
    """Every trial to its end, in the order of the trials."""
    values = {t.number: t.values for t in trials if t.values is not None}
    claimed = [ClaimedTrial(t.number, 0, t.number, t.seed, t.values) for t in trials]
    results = objective.run(claimed, values, lambda: False)
    return [results[t.number] for t in trials]


def _outcome(trial: PlannedTrial, result: TrialResult) -> Outcome:
    if trial.values is None:
        raise TypeError("a sampler that suggests at claim time cannot be followed here")
    score, loss = result.final_score, result.final_loss
    return Outcome(trial.number, trial.values, score, loss, trial.replicate, trial.seed)


def shadowed(name: str, seed: int, discard: str, data_dir: Path | None) -> ShadowStudy:
    """A study of studies/, not begun yet."""
    document = parse_study((FOLDER / f"{name}.toml").read_text("utf-8"), name).document()
    document["seed"] = seed
    document["search"]["discard"] = discard
    spec = StudySpec.from_document(document)
    prepared = prepare(spec, data_dir)
    return ShadowStudy(spec, PopulationObjective(spec, prepared), len(prepared.validation()))


def ended(name: str, seed: int, discard: str, data_dir: Path | None) -> Ending:
    """Run a study to its end."""
    with threadpool_limits(1):
        study = shadowed(name, seed, discard, data_dir)
        study.run()
        winner = _mean_of_winner(study)
    return Ending(
        study=name,
        seed=seed,
        discard=discard,
        updates=study.updates(),
        saved=study.saved(),
        below=len(study.below),
        elites=study.elites,
        wrong=len(study.wrong),
        winner=winner,
    )


def _mean_of_winner(study: ShadowStudy) -> float:
    """Over seeds that no trial of the study had; who diverges counts as 0."""
    if study.winner is None:
        raise RuntimeError(f"{study.spec.name}, seed {study.spec.seed}: no winner")
    values = study.winner.candidate.values
    seeds = [trial_seed(study.spec.seed, Purpose.FINAL, 2, n) for n in range(FRESH_SEEDS)]
    trials = [PlannedTrial(n, n, seed, values) for n, seed in enumerate(seeds)]
    return float(np.mean([r.final_score or 0.0 for r in trained(study.objective, trials)]))


# ----------------------------------------------------------------------- results


class Endings:
    """All studies so far, kept in a file.

    Args:
        file: A line of JSON for each; None keeps them in memory.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = json_lines.read(file)
        found = [Ending(**json.loads(line)) for line in lines]
        self._known = {(e.study, e.discard, e.seed): e for e in found}

    def of(self, name: str, options: argparse.Namespace) -> tuple[list[Ending], list[Ending]]:
        """With and without discarding, seed by seed; what is not known yet is run now."""
        wanted = [(name, d, seed) for seed in range(options.seeds) for d in ("auto", "off")]
        missing = [key for key in wanted if key not in self._known]
        with ProcessPoolExecutor(options.processes) as pool:
            running = [
                pool.submit(ended, name, seed, discard, options.data_dir)
                for _, discard, seed in missing
            ]
            for future in running:
                self._keep(future.result())
        with_, without = ([self._known[key] for key in wanted[i::2]] for i in (0, 1))
        return with_, without

    def _keep(self, ending: Ending) -> None:
        self._known[ending.study, ending.discard, ending.seed] = ending
        sys.stderr.write(f"\r{ending.study}: seed {ending.seed}, {ending.discard} ")
        json_lines.add(self._file, ending)


def _share(hits: int, count: int) -> str:
    """A share with its interval; nothing where there is none."""
    if not count:
        return "0 of 0"
    low, high = wilson_interval(hits, count)
    return f"{hits} of {count}: {hits / count:.1%} ({low:.1%} .. {high:.1%})"


def _difference(with_: Sequence[float], without: Sequence[float]) -> str:
    """Mean of the paired differences with its 95 % interval."""
    from scipy.stats import t

    differences = np.array(with_) - np.array(without)
    mean, count = differences.mean(), len(differences)
    if count < 2:
        return f"{mean:+.4f}"
    half = t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count)
    return f"{mean:+.4f} ({mean - half:+.4f} .. {mean + half:+.4f})"


def row(name: str, with_: Sequence[Ending], without: Sequence[Ending]) -> list[str]:
    """A study's line of the table."""
    shares = [e.saved / e.updates for e in with_]
    wrong = sum(e.wrong for e in with_)
    scores = [[e.winner for e in arm] for arm in (with_, without)]
    return [
        f"`{name}`",
        str(len(with_)),
        f"{np.mean(shares):.1%} ({min(shares):.0%} .. {max(shares):.0%})",
        _share(wrong, sum(e.elites for e in with_)),
        _share(wrong, sum(e.below for e in with_)),
        *(f"{np.mean(arm):.4f}" for arm in scores),
        _difference(*scores),
    ]


def table(options: argparse.Namespace) -> Iterator[str]:
    """Its lines, each as it is known."""
    head = ["study", "seeds", "updates saved", "elites stopped", "stops wrong"]
    head += ["winner with", "without", "difference"]
    yield f"| {' | '.join(head)} |\n{'|---' * len(head)}|"
    found = Endings(options.results)
    for name in options.studies:
        yield f"| {' | '.join(row(name, *found.of(name, options)))} |"


def main() -> int:
    """Run what is not known yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    add("--seeds", type=int, default=8, help="of each study (8)")
    add("--processes", type=int, default=2, help="studies run at a time (2)")
    add("--results", type=Path, help="file that keeps all studies, a line of JSON each")
    add("--data-dir", type=Path, help="folder with MNIST's files (HPSEARCH_DATA)")
    options = parser.parse_args()
    try:
        for line in table(options):
            print(line, flush=True)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(f"\nWinners over {FRESH_SEEDS} fresh seeds. {machine.described()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
