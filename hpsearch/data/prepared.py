"""Training and validation rows, made once and mapped into memory by every worker.

    CACHE/prepared/KEY/training_x.npy    (rows, features) float32, or float64 where trials need it
                       training_y.npy    (rows,) int64
                       validation_x.npy, validation_y.npy
                       meta.json         classes, features, fingerprint, scaling, file sizes

KEY stands for everything the rows depend on. A folder appears under its key in one rename,
whole, or not at all; who comes second uses what the first one made. No test row is ever
written here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from hpsearch.data.folders import cache_folder
from hpsearch.data.scaling import Scaling, fitted
from hpsearch.data.sources import Source, source_of
from hpsearch.data.splits import learning_parts
from hpsearch.errors import DataError
from hpsearch.nn.examples import Examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hpsearch.data.rows import Rows
    from hpsearch.study import StudySpec

# Raised whenever the same study would be split, scaled or stored differently than before.
FORMAT = 1

_META = "meta.json"
_BEING_MADE = ".making-"
_ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Prepared:
    """A study's training and validation rows on disk. Small, and safe to send to a worker.

    Attributes:
        folder: Where the arrays lie.
        key: SHA-256 of what the rows depend on; also the folder's name.
        fingerprint: SHA-256 over the arrays' names, dtypes, shapes and bytes.
        classes: Number of classes.
        features: Numbers in a row.
        scaling: How the rows were scaled, with statistics of the training rows.
    """

    folder: Path
    key: str
    fingerprint: str
    classes: int
    features: int
    scaling: Scaling

    def training(self) -> Examples:
        """Training rows as read-only memory maps.

        Raises:
            DataError: If the files are gone or damaged.
        """
        return self._examples("training")

    def validation(self) -> Examples:
        """Validation rows as read-only memory maps.

        Raises:
            DataError: If the files are gone or damaged.
        """
        return self._examples("validation")

    def _examples(self, part: str) -> Examples:
        try:
            return Examples(self._mapped(f"{part}_x"), self._mapped(f"{part}_y"), self.classes)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: the {part} rows cannot be read: {_short(error)}; "
                "delete this folder and start again"
            ) from error

    def _mapped(self, name: str) -> NDArray[Any]:
        mapped: NDArray[Any] = np.load(
            self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False
        )
        return mapped

    @classmethod
    def found(cls, folder: Path) -> Self | None:
        """What lies prepared in this folder; None if it is not there or not whole."""
        try:
            meta = json.loads((folder / _META).read_text(encoding="utf-8"))
            whole = all(
                (folder / name).stat().st_size == size for name, size in meta["files"].items()
            )
            scaling = Scaling.from_document(meta["scaling"])
            numbers = meta["fingerprint"], meta["classes"], meta["features"]
            return cls(folder, meta["key"], *numbers, scaling) if whole else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def prepare(spec: StudySpec, data_dir: Path | None = None, cache: Path | None = None) -> Prepared:
    """The study's training and validation rows, made now unless they lie ready.

    Args:
        spec: Its data part and its seed decide about the rows.
        data_dir: Folder with the source's files, for sources that have files. None stands for
            HPSEARCH_DATA, and without that for a download into the cache.
        cache: Folder to keep the rows in; None stands for HPSEARCH_CACHE, and without that for
            the user's own cache folder.

    Raises:
        DataError: If the rows cannot be had, split as the study says, or written. One line.
    """
    # A worker may be sent the folder and run somewhere else.
    home = (cache_folder(cache) / "prepared").absolute()
    key = key_of(spec)
    ready = Prepared.found(home / key)
    if ready is not None:
        return ready
    source = source_of(spec)
    training, validation = learning_parts(source.learning_rows(spec, data_dir), spec)
    scaling = fitted(spec.data.scaler, training, source.largest, spec.data.source)
    arrays = _arrays(training, validation, scaling, spec.precision)
    meta = _meta(key, source, scaling, arrays)
    try:
        _write(home / key, arrays, meta)
    except OSError as error:
        raise DataError(
            f"{home}: the prepared rows cannot be written: {_short(error)}; "
            "free some space, or set HPSEARCH_CACHE to another folder"
        ) from error
    return _surely(Prepared.found(home / key), home / key)


def key_of(spec: StudySpec) -> str:
    """SHA-256 of everything the prepared rows of this study depend on, in hexadecimal.

    NumPy counts in, because its random streams may change from one version to the next.
    """
    data = spec.data
    document = {
        "format": FORMAT,
        "numpy": np.__version__,
        "seed": spec.seed,
        "source": data.source,
        "identity": source_of(spec).identity(spec),
        "shares": data.shares.model_dump() if data.shares else data.split,
        "limit": data.model_dump(include={"limit"}),
        "scaler": data.scaler,
        "precision": spec.precision,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


# -------------------------------------------------------------------- making


def _arrays(
    training: Rows, validation: Rows, scaling: Scaling, precision: str
) -> dict[str, NDArray[Any]]:
    """The arrays by file name, in the order the fingerprint takes them."""
    return {
        "training_x": scaling.apply(training.x, precision),
        "training_y": training.y,
        "validation_x": scaling.apply(validation.x, precision),
        "validation_y": validation.y,
    }


def _meta(
    key: str, source: Source, scaling: Scaling, arrays: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "key": key,
        "classes": source.classes,
        "features": source.features,
        "fingerprint": fingerprint_of(arrays),
        "scaling": scaling.document(),
    }


def fingerprint_of(arrays: dict[str, NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of these arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _write(folder: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """All files in a temporary folder beside, then one rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=_BEING_MADE, dir=folder.parent))
    try:
        sizes = {f"{name}.npy": _saved(temporary, name, array) for name, array in arrays.items()}
        text = json.dumps(meta | {"files": sizes}, indent=1)
        with (temporary / _META).open("w", encoding="utf-8") as file:
            file.write(text)
            _to_disk(file)
        # Others may read a shared cache; mkdtemp lets in nobody else.
        temporary.chmod(0o755)
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _saved(folder: Path, name: str, array: NDArray[Any]) -> int:
    """Write one array to disk and return the file's size in bytes."""
    with (folder / f"{name}.npy").open("wb") as file:
        np.save(file, array, allow_pickle=False)
        _to_disk(file)
        return file.tell()


def _to_disk(file: IO[Any]) -> None:
    """On disk before the rename, so that a power cut cannot leave a name without contents."""
    file.flush()
    os.fsync(file.fileno())


def _publish(temporary: Path, folder: Path) -> None:
    """Give the folder its name, unless somebody was faster."""
    for _ in range(3):
        try:
            temporary.rename(folder)
        except OSError:
            if Prepared.found(folder) is not None:
                return
            if not folder.exists():
                raise
            _set_aside(folder)
        else:
            return


def _set_aside(folder: Path) -> None:
    """Take a damaged folder's name away in one step, then delete it."""
    aside = Path(tempfile.mkdtemp(prefix=_BEING_MADE, dir=folder.parent))
    try:
        folder.rename(aside / "damaged")
    except FileNotFoundError:
        # Somebody else repairs the same folder; there is nothing left to take away.
        return
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(home: Path) -> None:
    """Delete what processes that died while writing left behind."""
    for folder in _abandoned(home):
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(home: Path) -> Iterator[Path]:
    oldest = time.time() - _ABANDONED_SECONDS
    for folder in home.glob(f"{_BEING_MADE}*"):
        try:
            if folder.stat().st_mtime < oldest:
                yield folder
        except OSError:
            continue  # gone a moment ago, or somebody else's: not ours to delete


def _surely(prepared: Prepared | None, folder: Path) -> Prepared:
    if prepared is None:
        raise DataError(f"{folder}: damaged while it was written; delete this folder, start again")
    return prepared


def _short(error: Exception) -> str:
    """One line about what went wrong."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0] if text else type(error).__name__
