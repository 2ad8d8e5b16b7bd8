"""A trained network with all it takes to use it: settings, parameters and how rows are prepared."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hpsearch.data.scaling import Scaling
from hpsearch.errors import DataError
from hpsearch.nn.evaluation import predict
from hpsearch.settings import TrialSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_META = "model.json"
_ARRAYS = ("parameters", "example")
_FORM = 1


@dataclass(frozen=True)
class TrainedModel:
    """A network that classifies rows as they come from their source.

    Attributes:
        settings: What it was trained with.
        parameters: (P + R,) float32 or float64, as `TrainedMember.parameters`.
        scaling: What rows go through first, fitted on training rows.
        features: Numbers in a row.
        classes: How many classes there are.
        example: (n, features) float64: a few rows as they come from their source.
    """

    settings: TrialSettings
    parameters: NDArray[Any]
    scaling: Scaling
    features: int
    classes: int
    example: NDArray[np.float64]

    def predict(self, rows: NDArray[Any]) -> NDArray[np.intp]:
        """Class of every row.

        Args:
            rows: (n, features), of any numeric dtype, not scaled.

        Returns:
            (n,) intp, classes from 0.

        Raises:
            DataError: If the rows have another number of features, or are no finite numbers.
        """
        rows = np.asarray(rows)
        if rows.ndim != len(("rows", "features")) or rows.shape[1] != self.features:
            raise DataError(f"rows of {self.features} numbers are wanted, got shape {rows.shape}")
        if not np.issubdtype(rows.dtype, np.number) or not np.isfinite(rows).all():
            raise DataError("rows are wanted in which every value is a finite number")
        scaled = self.scaling.apply(rows, self.settings.training.precision)
        return predict(self.settings, self.parameters, scaled)

    def to_bytes(self) -> bytes:
        """A zip file of NumPy arrays and JSON, without a pickle; equal models give equal bytes."""
        meta = {
            "form": _FORM,
            "settings": self.settings.model_dump(mode="json"),
            "scaling": self.scaling.document(),
            "features": self.features,
            "classes": self.classes,
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, _META, json.dumps(meta).encode())
            for name in _ARRAYS:
                content = io.BytesIO()
                np.save(content, getattr(self, name), allow_pickle=False)
                _add(archive, f"{name}.npy", content.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The model whose `to_bytes()` this is.

        Raises:
            DataError: If it is none.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                meta = json.loads(archive.read(_META))
                _check_form(meta)
                arrays = {
                    name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
                    for name in _ARRAYS
                }
            return cls(
                settings=TrialSettings.model_validate(meta["settings"]),
                scaling=Scaling.from_document(meta["scaling"]),
                features=meta["features"],
                classes=meta["classes"],
                **arrays,
            )
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
            raise DataError(f"this is no model of hpsearch's: {error}") from error


def _check_form(meta: dict[str, Any]) -> None:
    if meta.get("form") != _FORM:
        raise ValueError(f"its form is {meta.get('form')}, and {_FORM} is known here")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Without the time of day, which would make equal models different files."""
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
