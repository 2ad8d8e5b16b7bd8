"""Where rows come from: one class per source of the study file.

A source gives its learning rows (training and validation together) and its test rows by two
separate methods. Only `hpsearch.data.sealed` calls the second one.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpsearch.data import mnist
from hpsearch.data.rows import Rows
from hpsearch.data.splits import Stream, generator_of, without_test
from hpsearch.errors import DataError
from hpsearch.seeds import split_seed

if TYPE_CHECKING:
    from pathlib import Path

    from hpsearch.study import StudySpec


class Source(Protocol):
    """Rows with classes from 0 to `classes` - 1.

    Attributes:
        classes: Number of classes.
        features: Numbers in a row.
        largest: The largest value a feature can have, None if there is no such value.
    """

    classes: int
    features: int
    largest: float | None

    def identity(self, spec: StudySpec) -> dict[str, Any]:
        """What the rows depend on, besides the study's seed; plain JSON."""

    def learning_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:
        """All rows but the test rows, in the source's own order.

        Raises:
            DataError: If they cannot be had.
        """

    def check_sealed(self, data_dir: Path | None) -> None:
        """Make sure that the test rows can be had, without reading one.

        Raises:
            DataError: If they cannot.
        """

    def sealed_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:
        """The test rows; for `hpsearch.data.sealed` alone.

        Raises:
            DataError: If they cannot be had.
        """


class _Mixed(ABC):
    """A source without test rows of its own: a seeded share of its rows is sealed."""

    def learning_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:  # noqa: ARG002 - no files
        rows = self._all_rows(spec)
        return rows.take(without_test(rows.y, spec)[0])

    def check_sealed(self, data_dir: Path | None) -> None:  # noqa: B027 - there is nothing to do
        """No files: what gave the other rows gives these."""

    def sealed_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:  # noqa: ARG002 - no files
        rows = self._all_rows(spec)
        return rows.take(without_test(rows.y, spec)[1])

    @abstractmethod
    def _all_rows(self, spec: StudySpec) -> Rows:
        """All rows there are, in an order that never changes."""


class Digits(_Mixed):
    """1,797 handwritten digits of 8x8 pixels from 0 to 16, bundled with scikit-learn."""

    classes = 10
    features = 64
    largest: float | None = 16.0

    def identity(self, spec: StudySpec) -> dict[str, Any]:  # noqa: ARG002 - one digits only
        """The version of scikit-learn, which brings the rows."""
        return {"scikit-learn": importlib.metadata.version("scikit-learn")}

    def _all_rows(self, spec: StudySpec) -> Rows:  # noqa: ARG002 - one digits only
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return Rows(x.astype(np.uint8), y.astype(np.int64))


class Moons(_Mixed):
    """Two interleaving half circles in the plane, with normal noise."""

    classes = 2
    features = 2
    largest: float | None = None

    def identity(self, spec: StudySpec) -> dict[str, Any]:
        """The numbers they are drawn with, and who draws them."""
        return {
            "samples": spec.data.samples,
            "noise": spec.data.noise,
            "random_state": spec.data.random_state,
            "scikit-learn": importlib.metadata.version("scikit-learn"),
        }

    def _all_rows(self, spec: StudySpec) -> Rows:
        from sklearn.datasets import make_moons

        # scikit-learn takes seeds of 32 bits. Whoever writes one wants the points that it gives
        # everybody.
        seed = spec.data.random_state
        seed = split_seed(spec.seed) % 2**32 if seed is None else seed
        try:
            x, y = make_moons(spec.data.samples, noise=spec.data.noise, random_state=seed)
        except (MemoryError, OverflowError, ValueError) as error:
            raise DataError(
                f"moons: samples = {spec.data.samples} do not fit into memory; write fewer"
            ) from error
        return Rows(x, y.astype(np.int64))


class Mnist:
    """70,000 handwritten digits of 28x28 pixels from 0 to 255; the last 10,000 are sealed."""

    classes = mnist.CLASSES
    features = mnist.SIDE**2
    largest: float | None = mnist.LARGEST

    def identity(self, spec: StudySpec) -> dict[str, Any]:  # noqa: ARG002 - one MNIST only
        """The digests of the files the learning rows are read from."""
        return {name: mnist.DIGESTS[name] for name in mnist.TRAINING}

    def learning_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:  # noqa: ARG002
        """The 60,000 training images; the test files are not even looked for."""
        return mnist.read_rows(mnist.TRAINING, data_dir)

    def check_sealed(self, data_dir: Path | None) -> None:
        """Look for the test files, or download them, without decoding them."""
        mnist.check_files(mnist.TEST, data_dir)

    def sealed_rows(self, spec: StudySpec, data_dir: Path | None) -> Rows:  # noqa: ARG002
        """The 10,000 test images; the training files are not looked for."""
        return mnist.read_rows(mnist.TEST, data_dir)


class Noise(_Mixed):
    """Standard-normal numbers with labels drawn at random: nothing can be learnt from them.

    What a network does to signals and gradients can be seen on them without any data.

    Args:
        features: Numbers in a row.
        classes: Number of classes.
    """

    largest: float | None = None

    def __init__(self, features: int, classes: int) -> None:
        self.features = features
        self.classes = classes

    def identity(self, spec: StudySpec) -> dict[str, Any]:
        """How many are drawn; NumPy's version and the seed stand in the key anyway."""
        numbers = {"features": self.features, "classes": self.classes}
        return {"samples": spec.data.samples} | numbers

    def _all_rows(self, spec: StudySpec) -> Rows:
        generator, samples = generator_of(spec, Stream.ROWS), spec.data.samples
        try:
            x = generator.standard_normal((samples, self.features))
            return Rows(x, generator.integers(self.classes, size=samples, dtype=np.int64))
        except (MemoryError, ValueError) as error:
            raise DataError(
                f"normal: samples = {samples} of features = {self.features} do not fit into "
                "memory; write fewer"
            ) from error


_SOURCES: dict[str, Source] = {"digits": Digits(), "moons": Moons(), "mnist": Mnist()}


def source_of(spec: StudySpec) -> Source:
    """The source a study names."""
    if spec.data.source == "normal":
        return Noise(spec.data.features, spec.data.classes)
    return _SOURCES[spec.data.source]


def check_test_rows(spec: StudySpec, data_dir: Path | None) -> None:
    """Make sure that the test rows can be had, without reading one.

    An opening that fails for a missing file would be counted for nothing.

    Raises:
        DataError: If they cannot, with what to do.
    """
    source_of(spec).check_sealed(data_dir)
