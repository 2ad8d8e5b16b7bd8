"""NumPy's operations and the fused kernels: which are chosen, and that both compute the same."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest

from hpsearch.errors import UserError
from hpsearch.nn import kernels as module
from hpsearch.nn.activations import ACTIVATIONS
from hpsearch.nn.examples import Examples
from hpsearch.nn.kernels import VARIABLE, kernels, kernels_name
from hpsearch.nn.losses import LOSSES
from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.training import Member, train
from hpsearch.nn.warm_up import load_kernels
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings
from hpsearch.worker import machine_fingerprint

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")

# Every activation, output, rule, penalty and layer at least once: (model, training).
NETWORKS = [
    *[({"activation": name}, {}) for name in ACTIVATIONS],
    *[({"activation": name, "output": "sigmoid"}, {}) for name in ACTIVATIONS],
    *[({"activation": "tanh"}, {"optimizer": name}) for name in OPTIMIZERS],
    *[
        (
            {"activation": "tanh"},
            {"optimizer": name, "l2": 0.1, "l1": 0.01, "linf": 0.1, "weight_decay": 0.5},
        )
        for name in OPTIMIZERS
    ],
    *[({"batch_norm": True, "activation": name}, {}) for name in ACTIVATIONS],
    *[({"dropout": 0.3, "activation": name}, {}) for name in ACTIVATIONS],
    ({"batch_norm": True, "dropout": 0.3, "output": "sigmoid"}, {"optimizer": "adam"}),
    ({"hidden": ()}, {"optimizer": "adam", "schedule": "cosine", "warmup": 0.5}),
    ({"hidden": (100, 60), "activation": "tanh"}, {"optimizer": "adam"}),
    ({"activation": "sigmoid"}, {"optimizer": "momentum", "batch_size": 7}),
]


def two_classes(rows, features=5):
    """Random rows of two random classes."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, features)).astype(np.float32)
    return Examples(x, draw.integers(0, 2, rows), 2)


def trained(monkeypatch, name, members, rows=50):
    """What training makes of members with these kernels."""
    monkeypatch.setenv(VARIABLE, name)
    return train(members, two_classes(rows), two_classes(rows // 2))


@needs_numba
@pytest.mark.parametrize(("model", "training"), NETWORKS, ids=str)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_both_compute_the_same(monkeypatch, model, training, precision, tolerance):
    """Parameters and curves after a few steps must agree within the precision's rounding."""
    spec = {"optimizer": "sgd", "learning_rate": 0.01, "batch_size": 10, "epochs": 2} | training
    settings = TrialSettings(
        model=ModelSpec(**({"hidden": (9, 4)} | model)),
        training=TrainingSpec(**spec, precision=precision),
    )
    members = [Member(settings, seed) for seed in (1, 2)]
    numpy, fused = (trained(monkeypatch, name, members) for name in ("numpy", "numba"))
    for ours, reference in zip(fused, numpy, strict=True):
        np.testing.assert_allclose(
            ours.parameters, reference.parameters, rtol=tolerance, atol=tolerance / 10
        )
        for epoch, metrics in reference.curve.items():
            assert ours.curve[epoch] == pytest.approx(metrics, rel=tolerance)


@needs_numba
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_not_a_number_stays_visible(monkeypatch, activation, output):
    """A row that is not a number must make its member diverge, with either kernels."""
    x = np.array([[0.5, np.nan], [1.0, 2.0]], np.float32)
    examples = Examples(x, np.array([0, 1]), 2)
    model = ModelSpec(hidden=(3,), activation=activation, output=output)
    member = Member(TrialSettings(model=model, training=TrainingSpec(epochs=1)), 0)
    for name in ("numpy", "numba"):
        monkeypatch.setenv(VARIABLE, name)
        (result,) = train([member], examples, examples)
        assert result.diverged


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponentials_are_as_exact_as_their_precision(dtype):
    """Sigmoid and tanh must be right to a few units in the last place, at any size."""
    from hpsearch.nn.fused import compiled

    sizes = np.concatenate([np.logspace(-30, 4, 4000), [0.0, 1e30]])
    x = np.concatenate([-sizes[::-1], sizes]).astype(dtype)
    close = 5 * np.finfo(dtype).eps
    none = np.zeros((1, 1), dtype)
    for kernel, function in (
        (compiled.tanh_forward, math.tanh),
        (compiled.sigmoid_forward, lambda z: 1 / (1 + math.exp(-max(z, -87.0)))),
    ):
        values = x.copy().reshape(1, 1, -1)
        kernel(values, none, -1)
        np.testing.assert_allclose(values.reshape(-1), [function(float(z)) for z in x], rtol=close)


def after_loss(name, logits, targets, numpys):
    """Losses, predictions and gradients of rows (rows, outputs), row by row."""
    from hpsearch.nn.fused import FUSED_LOSSES

    table = LOSSES if numpys else FUSED_LOSSES
    rows, outputs = logits.shape
    z, noted = logits[:, None].copy(), np.empty((2, rows, 1), logits.dtype)
    loss = table[name](rows, 1, outputs, logits.dtype)
    with np.errstate(all="ignore"):
        loss.forward(z, targets[:, None], noted[0], noted[1])
        loss.backward(z)
        losses = np.log(noted[1], dtype=np.float64) - noted[0]
    return losses[:, 0], loss.predictions[:, 0], z[:, 0]


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "outputs"), [("softmax", 3), ("sigmoid", 1)])
def test_losses_agree_at_infinity(name, outputs, dtype):
    """Both losses must be the same numbers, or not-a-number alike, whatever the logits are."""
    numbers = [-np.inf, np.inf, np.nan, 0.0, -0.0, 3.0, -3.0, 1000.0, -1000.0]
    rows = list(product(numbers, repeat=outputs))
    logits = np.array([row for row in rows for _ in range(2)], dtype)
    targets = np.arange(len(logits)) % 2
    fused, numpys = (after_loss(name, logits, targets, which) for which in (False, True))
    close = 10 * np.finfo(dtype).eps
    for ours, reference in zip(fused, numpys, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=close, atol=close)


@needs_numba
@pytest.mark.parametrize(("dtype", "least"), [(np.float32, -87.0), (np.float64, -708.0)])
@pytest.mark.parametrize(("name", "others"), [("softmax", [0.0]), ("sigmoid", [])])
def test_what_is_too_small_counts_as_nothing(name, others, dtype, least):
    """Below the exponential's bound the gradient must be 0, or a share of it would be denormal."""
    logits = np.array([[*others, least * share] for share in (1.01, 2, 1e30, np.inf)], dtype)
    _, _, gradients = after_loss(name, logits, np.zeros(len(logits), np.int64), numpys=False)
    assert not gradients[:, -1].any()


def test_numba_is_the_default_where_it_is_installed(monkeypatch):
    """Without the variable numba's kernels are used if they can be, else NumPy's."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert kernels_name() == ("numpy" if find_spec("numba") is None else "numba")
    monkeypatch.setattr(module, "_has_numba", lambda: False)
    assert kernels_name() == "numpy"
    assert kernels().name == "numpy"


def test_mistakes_in_the_variable_are_named(monkeypatch):
    """An unknown name, or numba where it is not installed, must say so and what to do."""
    monkeypatch.setenv(VARIABLE, "fortran")
    with pytest.raises(UserError, match='must be "numpy" or "numba", got "fortran"'):
        kernels()
    monkeypatch.setenv(VARIABLE, "numba")
    monkeypatch.setattr(module, "_has_numba", lambda: False)
    with pytest.raises(UserError, match=r"pip install .hpsearch\[fast\]"):
        kernels()


class Unloadable:
    """Finds numba, and fails as an llvmlite whose library is not there."""

    tried = 0

    def find_spec(self, name, *_):
        """Count the attempts to import numba, and let none succeed."""
        if name == "numba":
            self.tried += 1
            raise OSError("libllvmlite.so: cannot open shared object file")


@pytest.fixture
def broken_numba(monkeypatch):
    """A numba that is installed and cannot be loaded."""
    finder = Unloadable()
    monkeypatch.setattr(module, "_has_numba", lambda: True)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for cached in (module._numba, module._warn):
        cached.cache_clear()
    yield finder
    for cached in (module._numba, module._warn):
        cached.cache_clear()


def test_a_numba_that_does_not_work_is_no_numba(monkeypatch, broken_numba):
    """Where it cannot be loaded NumPy's are the default, which is said once and tried once."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.warns(RuntimeWarning, match="libllvmlite.*reinstall numba") as warned:
        assert [kernels().name for _ in range(3)] == ["numpy"] * 3
    assert len(warned) == broken_numba.tried == 1


def test_a_numba_that_is_asked_for_must_work(monkeypatch, broken_numba):
    """Asked for by name it must say why it cannot be had, and what to do."""
    monkeypatch.setenv(VARIABLE, "numba")
    for _ in range(2):
        with pytest.raises(UserError, match=r"libllvmlite.*reinstall numba or set .*=numpy"):
            kernels()
    assert broken_numba.tried == 1


@pytest.mark.usefixtures("broken_numba")
def test_a_numba_without_its_parts_is_no_numba(monkeypatch):
    """An import error must be taken as the operating system's errors are."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.warns(RuntimeWarning, match="import of numba halted"):
        assert kernels().name == "numpy"


@pytest.mark.parametrize("name", ["numpy", pytest.param("numba", marks=needs_numba)])
def test_a_worker_says_which_it_used(monkeypatch, name):
    """The kernels are part of what the bits of a result depend on."""
    monkeypatch.setenv(VARIABLE, name)
    said = machine_fingerprint()["kernels"]
    assert said == kernels().name
    assert said.split()[0] == name


@needs_numba
def test_everything_is_compiled_ahead(monkeypatch):
    """After loading, no float32 training may compile a kernel: forked workers find them ready."""
    monkeypatch.setenv(VARIABLE, "numba")
    load_kernels()
    from hpsearch.nn.fused import compiled

    def ready():
        return {
            name: len(thing.signatures)
            for name, thing in vars(compiled).items()
            if hasattr(thing, "signatures") and not name.startswith("_")
        }

    before = ready()
    assert all(before.values())
    for optimizer in OPTIMIZERS:
        spec = TrainingSpec(
            optimizer=optimizer, epochs=2, batch_size=3, schedule="linear", l2=0.1, weight_decay=0.1
        )
        members = [Member(TrialSettings(model=ModelSpec(), training=spec), s) for s in (1, 1, 2)]
        train(members, two_classes(10), two_classes(4))
    assert ready() == before


@needs_numba
@pytest.mark.parametrize("read_only", [False, True])
def test_kernels_need_no_folder_of_their_own(tmp_path, read_only):
    """Compiled code goes where numba is told; where nothing can be written it is not kept."""
    code = (
        "import numpy as np, numba.core.caching as caching\n"
        f"if {read_only}: caching.CacheImpl._locator_classes = []\n"
        "from hpsearch.nn.fused import compiled\n"
        "values = np.full((1, 1, 1), -1.0)\n"
        "compiled.relu_forward(values, values[0], -1)\n"
        "print(values[0, 0, 0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout == "0.0\n"
    assert bool(list(tmp_path.rglob("*.nbi"))) != read_only
