"""Microseconds per training step per model, beside the matrix products alone.

Run from the repository's folder, on a quiet machine:

    python benchmarks/training_step.py

Four networks, one BLAS thread: the products of a step alone (forward, and both of backward, each
for one model), this package's step for 1 and 8 models and for the population size it would choose,
and PyTorch eager where it is installed. All are measured in one run, taking turns, and the best of
several rounds counts; compare the ratios, the absolute figures belong to the machine. A step holds
everything an epoch does for it: drawing the rows, forward, loss, accuracy, backward, update.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from hpsearch.nn.examples import Examples
from hpsearch.nn.training import Member, population_size, train
from hpsearch.study import ModelSpec, TrainingSpec, TrialSettings

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 200
ROUNDS = 7


@dataclass(frozen=True)
class Case:
    """One network with its batch and optimizer."""

    widths: tuple[int, ...]
    batch: int
    optimizer: str

    @property
    def settings(self) -> TrialSettings:
        """One epoch of this network; the examples are as many as the steps need."""
        return TrialSettings(
            model=ModelSpec(hidden=self.widths[1:-1]),
            training=TrainingSpec(
                optimizer=self.optimizer, batch_size=self.batch, epochs=1, learning_rate=1e-3
            ),
        )

    @property
    def examples(self) -> Examples:
        """Rows for one epoch of STEPS steps."""
        draw = np.random.default_rng(0)
        rows = self.batch * STEPS
        x = draw.random((rows, self.widths[0]), dtype=np.float32)
        return Examples(x, draw.integers(0, self.widths[-1], rows), self.widths[-1])


CASES = (
    Case((784, 100, 100, 100, 100, 100, 100, 10), 100, "sgd"),
    Case((784, 100, 100, 10), 128, "adam"),
    Case((64, 50, 10), 32, "adam"),
    Case((2, 5, 2, 2), 64, "adam"),
)


def products(case: Case) -> Callable[[], None]:
    """The matrix products of STEPS steps of one model, and nothing else."""
    draw = np.random.default_rng(0)
    y = [draw.random((case.batch, width), dtype=np.float32) for width in case.widths]
    w = [
        draw.random((i, o), dtype=np.float32)
        for i, o in zip(case.widths, case.widths[1:], strict=False)
    ]
    outputs, gradients, inputs = (
        [np.empty_like(a) for a in arrays] for arrays in (y[1:], w, y[:-1])
    )

    def run() -> None:
        for _ in range(STEPS):
            for layer, weights in enumerate(w):
                np.matmul(y[layer], weights, out=outputs[layer])
                np.matmul(y[layer].T, y[layer + 1], out=gradients[layer])
                if layer:
                    np.matmul(y[layer + 1], weights.T, out=inputs[layer])

    return run


def ours(case: Case, size: int) -> Callable[[], None]:
    """One epoch of `size` models, set-up included."""
    members = [Member(case.settings, seed=1)] * size
    examples = case.examples

    def run() -> None:
        train(members, examples, None)

    return run


def pytorch(case: Case) -> Callable[[], None]:
    """STEPS steps of one model in PyTorch eager."""
    import torch

    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in zip(case.widths, case.widths[1:], strict=False):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = kinds[case.optimizer](network.parameters(), lr=1e-3)
    x, y = torch.from_numpy(case.examples.x), torch.from_numpy(case.examples.y)

    def run() -> None:
        order = torch.randperm(len(x))
        for rows in order.split(case.batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()

    return run


def microseconds(runs: dict[str, tuple[Callable[[], None], int]]) -> dict[str, float]:
    """Best time per step per model of every run, the runs taking turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, (run, models) in runs.items():
            start = time.perf_counter()
            run()
            taken = (time.perf_counter() - start) / STEPS / models * 1e6
            best[name] = min(best[name], taken)
    return best


def main() -> None:
    """Print one line per network."""
    with_torch = importlib.util.find_spec("torch") is not None
    print("microseconds per step per model, in brackets as a multiple of the products alone")
    for case in CASES:
        chosen = population_size(case.settings, case.widths[0], case.widths[-1])
        runs = {"products alone": (products(case), 1)}
        runs |= {f"{size} at once": (ours(case, size), size) for size in sorted({1, 8, chosen})}
        if with_torch:
            runs["PyTorch eager"] = (pytorch(case), 1)
        times = microseconds(runs)
        base = times["products alone"]
        cells = [f"{name} {taken:.0f} ({taken / base:.1f})" for name, taken in times.items()]
        network = "-".join(map(str, case.widths))
        print(f"{network}, batch {case.batch}, {case.optimizer}, chosen {chosen}:")
        print("    " + ", ".join(cells))


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
