"""Microseconds per training step per model: ours, PyTorch, JAX and scikit-learn, side by side.

Run from the repository's folder, on a quiet machine; nothing is installed, and whichever of torch,
jax and scikit-learn can be imported takes part:

    python benchmarks/training_step.py
    python benchmarks/training_step.py --markdown    # a table for docs/performance.md

Four networks, one thread. All contenders are measured in one process, taking turns, and the best
of several rounds counts; compare the ratios, the absolute figures belong to the machine. A step
holds the same work everywhere: drawing the rows, forward, loss, backward, update (ours counts the
accuracy too, and pays for setting up its population). Models that are trained together share the
order of the rows, and have a learning rate each. Compiling is timed apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby

import machine
import numpy as np
from threadpoolctl import threadpool_limits

from hpsearch.nn.examples import Examples
from hpsearch.nn.kernels import VARIABLE
from hpsearch.nn.sizing import member_bytes
from hpsearch.nn.training import Member, population_size, train
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings

STEPS = 200
LEARNING_RATE = 1e-3
# Models that JAX trains at once where ours would train fewer.
JAX_MODELS = 8


@contextmanager
def with_kernels(name: str) -> Iterator[None]:
    """Train with these kernels meanwhile."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


# Ways our step can be computed, each a context to train in. Compiling is over with the round that
# warms up.
OUR_WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "hpsearch, NumPy alone": partial(with_kernels, "numpy"),
}
if importlib.util.find_spec("numba") is not None:
    OUR_WAYS["hpsearch, fused"] = partial(with_kernels, "numba")

# Read by XLA when jax starts. The flags alone leave it a pool of one thread per core, which large
# products and independent operations are spread over; NPROC is the pool's size.
ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

PRODUCTS = "matrix products alone"


# -------------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Case:
    """One network with its batch and optimizer."""

    widths: tuple[int, ...]
    batch: int
    optimizer: str

    def __str__(self) -> str:
        runs = [(width, len(list(run))) for width, run in groupby(self.widths)]
        widths = [f"{w}x{n}" if n > 2 else "-".join([str(w)] * n) for w, n in runs]
        return f"{'-'.join(widths)}, batch {self.batch}, {self.optimizer}"

    @property
    def settings(self) -> TrialSettings:
        """One epoch of this network; the examples are as many as the steps need."""
        return self._at(LEARNING_RATE)

    def members(self, size: int) -> list[Member]:
        """Models to train at once: one seed, and so one order of the rows, a rate each."""
        rates = [LEARNING_RATE * (1 + number / 100) for number in range(size)]
        return [Member(self._at(rate), seed=1) for rate in rates]

    def _at(self, learning_rate: float) -> TrialSettings:
        return TrialSettings(
            model=ModelSpec(hidden=self.widths[1:-1]),
            training=TrainingSpec(
                optimizer=self.optimizer,
                batch_size=self.batch,
                epochs=1,
                learning_rate=learning_rate,
            ),
        )

    @cached_property
    def examples(self) -> Examples:
        """Rows for one epoch of STEPS steps."""
        draw = np.random.default_rng(0)
        rows = self.batch * STEPS
        x = draw.random((rows, self.widths[0]), dtype=np.float32)
        return Examples(x, draw.integers(0, self.widths[-1], rows), self.widths[-1])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(fan-in, fan-out) of every layer."""
        return list(zip(self.widths, self.widths[1:], strict=False))

    @property
    def chosen(self) -> int:
        """How many of these models the package would train at once."""
        return population_size(self.settings, self.widths[0], self.widths[-1])

    @property
    def bytes(self) -> int:
        """What one model works on."""
        return member_bytes(self.settings, self.widths[0], self.widths[-1])


CASES = (
    Case((784, 100, 100, 100, 100, 100, 100, 10), 100, "sgd"),
    Case((784, 100, 100, 10), 128, "adam"),
    Case((64, 50, 10), 32, "adam"),
    Case((2, 5, 2, 2), 64, "adam"),
)


@dataclass(frozen=True)
class Contender:
    """Something that can train.

    Attributes:
        name: As it stands in the table.
        run: Takes STEPS steps of every model.
        models: How many it trains at once.
        compiling: Seconds spent before the first step.
    """

    name: str
    run: Callable[[], object]
    models: int = 1
    compiling: float | None = None


# -------------------------------------------------------------------- the contenders


def contenders(case: Case) -> Iterator[Contender]:
    """All that can be imported here, ready to run."""
    yield Contender(PRODUCTS, products(case))
    for size in sorted({1, case.chosen}):
        for name, way in OUR_WAYS.items():
            yield Contender(name, ours(case, size, way), size)
    if _installed("torch"):
        yield Contender("PyTorch eager", pytorch(case))
    if _installed("jax"):
        yield jax(case, None)
        yield jax(case, max(JAX_MODELS, case.chosen))
    if _installed("sklearn"):
        yield Contender("scikit-learn", scikit_learn(case))


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def products(case: Case) -> Callable[[], None]:
    """The matrix products of a step (forward, both of backward) of one model, nothing else."""
    draw = np.random.default_rng(0)
    y = [draw.random((case.batch, width), dtype=np.float32) for width in case.widths]
    w = [draw.random(shape, dtype=np.float32) for shape in case.shapes]
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


def ours(
    case: Case, size: int, way: Callable[[], AbstractContextManager[None]]
) -> Callable[[], None]:
    """One epoch of `size` models, set-up included."""
    members = case.members(size)
    examples = case.examples

    def run() -> None:
        with way():
            train(members, examples, None)

    return run


def pytorch(case: Case) -> Callable[[], float]:
    """One epoch of one model, as PyTorch's own tutorials write it."""
    import torch

    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in case.shapes:
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = kinds[case.optimizer](network.parameters(), lr=LEARNING_RATE)
    examples = case.examples
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)

    def run() -> float:
        total = torch.zeros(())
        for rows in torch.randperm(len(x)).split(case.batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    return run


def scikit_learn(case: Case) -> Callable[[], None]:
    """One epoch of one MLPClassifier: `partial_fit` shuffles, and never stops early."""
    from sklearn.neural_network import MLPClassifier

    examples = case.examples
    model = MLPClassifier(
        case.widths[1:-1],
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=LEARNING_RATE,
        momentum=0.0,
        nesterovs_momentum=False,
        tol=0.0,
        n_iter_no_change=10**9,
        random_state=0,
    )
    classes = np.arange(examples.classes)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(examples.x, examples.y, classes=classes)

    return run


# -------------------------------------------------------------------- JAX


def jax(case: Case, models: int | None) -> Contender:
    """One epoch as one compiled `lax.scan`, of one model or of several under `vmap`."""
    import jax

    draw = np.random.default_rng(0)
    examples = case.examples
    epoch = jax_epoch(case)
    lead: tuple[int, ...] = () if models is None else (models,)
    if models is not None:
        epoch = jax.vmap(epoch, in_axes=(0, 0, None, None, None))
    parameters = [
        (jax.numpy.asarray(draw.normal(0, 0.1, (*lead, *shape)).astype(np.float32)),
         jax.numpy.zeros((*lead, shape[1]), np.float32))
        for shape in case.shapes
    ]  # fmt: skip
    moments = jax.tree.map(jax.numpy.zeros_like, (parameters, parameters))
    state = (parameters, moments, jax.numpy.zeros(lead, np.float32))
    rates = jax.numpy.asarray(LEARNING_RATE * (1 + np.arange(models or 1) / 100), np.float32)
    rates = rates.reshape(lead)
    x, y = jax.numpy.asarray(examples.x), jax.numpy.asarray(examples.y.astype(np.int32))

    def order() -> np.ndarray:
        return draw.permutation(len(examples)).astype(np.int32).reshape(STEPS, case.batch)

    began = time.perf_counter()
    compiled = jax.jit(epoch, donate_argnums=0).lower(state, rates, x, y, order()).compile()
    seconds = time.perf_counter() - began
    held = [state]

    def run() -> None:
        held[0], losses = compiled(held[0], rates, x, y, order())
        jax.block_until_ready((held[0], losses))

    name = "JAX scan" if models is None else "JAX vmap and scan"
    return Contender(name, run, models or 1, seconds)


def jax_epoch(case: Case) -> Callable[..., tuple]:
    """(state, learning rate, x, y, order of the rows) to (state, loss of every step)."""
    import jax
    import jax.numpy as jnp

    update = {"sgd": jax_sgd, "adam": jax_adam}[case.optimizer]

    def loss(parameters: list, x: jax.Array, y: jax.Array) -> jax.Array:
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = parameters[-1]
        scores = jax.nn.log_softmax(x @ w + b)
        return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()

    def epoch(state: tuple, rate: jax.Array, x: jax.Array, y: jax.Array, order: jax.Array) -> tuple:
        def step(state: tuple, rows: jax.Array) -> tuple:
            value, gradients = jax.value_and_grad(loss)(state[0], x[rows], y[rows])
            return update(state, gradients, rate), value

        return jax.lax.scan(step, state, order)

    return epoch


def jax_sgd(state: tuple, gradients: list, rate: object) -> tuple:
    """W <- W - lr g."""
    import jax

    parameters, *rest = state
    return jax.tree.map(lambda p, g: p - rate * g, parameters, gradients), *rest


def jax_adam(state: tuple, gradients: list, rate: object) -> tuple:
    """Adam (Kingma and Ba 2015, algorithm 1)."""
    import jax

    parameters, (m, v), t = state
    t = t + 1
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradients)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradients)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    parameters = jax.tree.map(
        lambda p, a, b: p - rate * (a / first) / ((b / second) ** 0.5 + 1e-8), parameters, m, v
    )
    return parameters, (m, v), t


# -------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Timing:
    """A contender's best round.

    Attributes:
        microseconds: Per step per model.
        cores: CPU time by wall time; above 1 it was not one thread.
    """

    microseconds: float
    cores: float


def measured(field: list[Contender], rounds: int) -> list[Timing]:
    """Every contender's best round, the contenders taking turns; a first round warms up."""
    best = [Timing(float("inf"), 0.0)] * len(field)
    for number in range(rounds + 1):
        for place, contender in enumerate(field):
            timing = _timed(contender)
            if number and timing.microseconds < best[place].microseconds:
                best[place] = timing
    return best


def _timed(contender: Contender) -> Timing:
    busy, began = time.process_time(), time.perf_counter()
    contender.run()
    seconds = time.perf_counter() - began
    cores = (time.process_time() - busy) / seconds
    return Timing(seconds / STEPS / contender.models * 1e6, cores)


# -------------------------------------------------------------------- measuring an epoch

# The digits study: rows of its training and validation splits.
DIGITS = Case((64, 50, 10), 32, "adam")
DIGITS_ROWS = (1079, 359)


def validation_share(way: Callable[[], AbstractContextManager[None]], rounds: int) -> float:
    """What measuring on the validation rows adds to an epoch, as a share of the whole."""
    members = DIGITS.members(DIGITS.chosen)
    x, y, classes = DIGITS.examples.x, DIGITS.examples.y, DIGITS.examples.classes
    training, validation = (Examples(x[:n], y[:n], classes) for n in DIGITS_ROWS)
    best = {"without": float("inf"), "with": float("inf")}
    with way():
        for _ in range(10 * rounds):
            for name, rows in (("without", None), ("with", validation)):
                began = time.thread_time()
                train(members, training, rows)
                best[name] = min(best[name], time.thread_time() - began)
    return 1 - best["without"] / best["with"]


# -------------------------------------------------------------------- printing

HEADINGS = (
    "",
    "models at once",
    "µs a step a model",
    "by the products",
    "by hpsearch",
    "cores busy",
    "compiling",
)


def rows(field: list[Contender], timings: list[Timing]) -> Iterator[tuple[str, ...]]:
    """One row per contender; the ratios are to the products and to our best."""
    times = [timing.microseconds for timing in timings]
    base = times[0]
    best = min(t for t, c in zip(times, field, strict=True) if c.name in OUR_WAYS)
    for contender, timing in zip(field, timings, strict=True):
        taken = timing.microseconds
        yield (
            contender.name,
            str(contender.models),
            f"{taken:.0f}" if taken >= 100 else f"{taken:.1f}",
            f"{taken / base:.2f}",
            f"{taken / best:.2f}",
            f"{timing.cores:.2f}",
            "" if contender.compiling is None else f"{contender.compiling:.1f} s",
        )


def heading(case: Case) -> str:
    """The network, and what decides how many are trained at once."""
    return f"{case}: {case.bytes / 1000:.0f} kB a model, hpsearch trains {case.chosen} at once"


def as_text(title: str, table: list[tuple[str, ...]]) -> str:
    """Aligned columns under a title."""
    lines = [HEADINGS, *table]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    cells = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    ]
    return "\n".join([title, *(f"    {line.rstrip()}" for line in cells), ""])


def as_markdown(title: str, table: list[tuple[str, ...]]) -> str:
    """A Markdown table under a bold title."""
    rule = ["---"] + ["--:"] * (len(HEADINGS) - 1)
    lines = ["| " + " | ".join(line) + " |" for line in (HEADINGS, rule, *table)]
    return "\n".join([f"**{title}**", "", *lines, ""])


def main() -> None:
    """Print one table per network, as each is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--rounds", type=int, default=10, help="turns of every contender (10)")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD)
    render = as_markdown if options.markdown else as_text
    for case in CASES:
        field = list(contenders(case))
        with threadpool_limits(1):  # after everything was imported: it limits what it finds
            timings = measured(field, options.rounds)
        print(render(heading(case), list(rows(field, timings))), flush=True)
    for name, way in OUR_WAYS.items():
        with threadpool_limits(1):
            share = validation_share(way, options.rounds)
        print(f"{name}: validation is {share:.0%} of an epoch of digits ({DIGITS})")
    used = machine.versions("numpy", "numba", "torch", "jax", "scikit-learn")
    print(f"{machine.described()}; {used}.")


if __name__ == "__main__":
    main()
