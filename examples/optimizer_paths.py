"""Four update rules on their way down f(x, y) = x^2 / 20 + y^2, drawn over its contours.

The bowl is twenty times as steep across as along: the gradient hardly ever points to the lowest
point, and what a rule makes of that shows in its path. The four start at (-7, 2) as four members
of one population, updated by the optimizers that train networks.

    python examples/optimizer_paths.py [PNG]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.nn.optimizers import PopulationOptimizer
from hpsearch.settings import TrainingSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PICTURE = Path("docs/images/course/paths.png")
START = (-7.0, 2.0)
UPDATES = 30
RULES = {
    "SGD": TrainingSpec(optimizer="sgd", learning_rate=0.95),
    "Momentum": TrainingSpec(optimizer="momentum", learning_rate=0.1, momentum=0.9),
    "AdaGrad": TrainingSpec(optimizer="adagrad", learning_rate=1.5),
    "Adam": TrainingSpec(optimizer="adam", learning_rate=0.3),
}
REMARKS = {
    "SGD": "zigzags across, creeps along",
    "Momentum": "swings through on its velocity",
    "AdaGrad": "brakes where it was steep",
    "Adam": "equal steps, then a gentle swing",
}


def height(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """f(x, y) = x^2 / 20 + y^2."""
    return x**2 / 20 + y**2


def paths() -> NDArray[np.float64]:
    """Where every rule has been: (rules, UPDATES + 1, 2)."""
    optimizer = PopulationOptimizer(
        list(RULES.values()), [(0, 2)], 2, np.float64, total_steps=UPDATES
    )
    points = np.tile(START, (len(RULES), 1))
    seen = [points.copy()]
    for _ in range(UPDATES):
        optimizer.step(points, points * np.array([1 / 10, 2]))  # (df/dx, df/dy) = (x / 10, 2 y)
        seen.append(points.copy())
    return np.stack(seen, axis=1)


def draw(axes: Axes, name: str, path: NDArray[np.float64]) -> None:
    """One path (updates + 1, 2) over the contours."""
    x, y = np.meshgrid(np.linspace(-8, 3, 221), np.linspace(-2.5, 2.5, 201))
    # Ellipses at equal distances from each other, not at equal differences in height.
    levels = np.arange(0.25, 4, 0.25) ** 2
    axes.contour(x, y, height(x, y), levels=levels, colors="#c9d1d9", linewidths=0.8)
    axes.plot(0, 0, marker="+", color="#24292f", markersize=10, zorder=2)
    axes.plot(*path.T, color="#c2410c", linewidth=1.4, marker="o", markersize=3.2, zorder=3)
    axes.plot(*path[0], marker="o", color="#24292f", markersize=6, zorder=4)
    lr = RULES[name].learning_rate
    axes.set_title(f"{name}, learning rate {lr:g}: {REMARKS[name]}", fontsize=10, loc="left")
    axes.set(xlim=(-8, 3), ylim=(-2.5, 2.5), xlabel="x", ylabel="y")
    axes.spines[["top", "right"]].set_visible(False)


def main(picture: Path) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), layout="constrained", dpi=110)
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, name, path in zip(grid.flat, RULES, paths(), strict=True):
        draw(axes, name, path)
        axes.label_outer()
    figure.suptitle(f"f(x, y) = x² / 20 + y², {UPDATES} updates from (-7, 2)", fontsize=12)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else PICTURE)
