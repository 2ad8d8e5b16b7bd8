"""The four MNIST files: found in a folder, or downloaded once, and checked byte for byte.

The SHA-256 is that of the unpacked bytes: packed anew by somebody else, the same images are
still the same images.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.data.folders import cache_folder, data_folder
from hpsearch.data.idx import parse_idx
from hpsearch.data.rows import Rows
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

TRAINING = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SIDE, CLASSES, LARGEST = 28, 10, 255.0

# The largest of the files has 47,040,016 bytes unpacked; a packed bomb must not fill memory.
_MOST_BYTES = 64_000_000
# To connect, and between two packets.
_DOWNLOAD_SECONDS = (10, 60)
_REMEDY = (
    f"give the folder with {', '.join(f'{name}.gz' for name in DIGESTS)} "
    "as `--data-dir DIR` or in HPSEARCH_DATA"
)


def read_rows(names: tuple[str, str], data_dir: Path | None) -> Rows:
    """Images and labels of one pair of files, `TRAINING` or `TEST`.

    Args:
        names: Names of the image file and the label file, without .gz.
        data_dir: Folder that holds the files, or None for HPSEARCH_DATA or the download.

    Returns:
        Rows with x (images, 784) uint8 and y (images,) int64, in the files' order.

    Raises:
        DataError: If a file is missing, cannot be downloaded, or is not the original.
    """
    image_name, label_name = names
    images = parse_idx(_bytes_of(image_name, data_dir), image_name, dimensions=3)
    labels = parse_idx(_bytes_of(label_name, data_dir), label_name, dimensions=1)
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels):
        raise DataError(
            f"{image_name}, {label_name}: {images.shape} images and {len(labels)} labels do not "
            f"belong together; {_REMEDY}"
        )
    if labels.max() >= CLASSES:
        raise DataError(f"{label_name}: label {labels.max()} is no digit; {_REMEDY}")
    return Rows(images.reshape(len(images), -1), labels.astype(np.int64))


def check_files(names: tuple[str, str], data_dir: Path | None) -> None:
    """Make sure that two files can be had, without decoding a row of them.

    Raises:
        DataError: If one is missing or cannot be downloaded.
    """
    given = data_folder(data_dir)
    for name in names:
        if given is None:
            _downloaded(name, cache_folder() / "mnist")
        else:
            _found(name, *given)


def _bytes_of(name: str, data_dir: Path | None) -> bytes:
    """Unpacked, checked bytes of a file, from where the user says or from the download."""
    given = data_folder(data_dir)
    if given is None:
        return _downloaded(name, cache_folder() / "mnist")
    folder, said = given
    try:
        path = _found(name, folder, said)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; {_REMEDY}") from error
    return _verified(path, name)


def _found(name: str, folder: Path, said: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder ({said}); {_REMEDY}")
    for place in (folder, folder / "mnist"):
        for candidate in (place / f"{name}.gz", place / name):
            if candidate.is_file():
                return candidate
    raise DataError(f"{folder}: {name}.gz is not in this folder ({said}); {_REMEDY}")


def _verified(path: Path, name: str) -> bytes:
    """The file's unpacked bytes, if they are the original ones."""
    data = _unpacked(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != DIGESTS[name]:
        raise DataError(
            f"{path}: not the original {name}: SHA-256 {digest[:16]}... unpacked, expected "
            f"{DIGESTS[name][:16]}...; {_REMEDY}"
        )
    return data


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; {_REMEDY}") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path}: too large for an MNIST file; {_REMEDY}")
    return data


# ------------------------------------------------------------------ download


def _downloaded(name: str, folder: Path) -> bytes:
    """The file from our own cache, fetched first if it is not there or damaged."""
    kept = folder / f"{name}.gz"
    # A damaged copy is ours to replace, not the user's to repair.
    with contextlib.suppress(DataError):
        return _verified(kept, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            path, data = _fetched(name, Path(temporary))
            # In one step, so that two processes may download at once.
            path.replace(kept)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error.strerror}; set HPSEARCH_CACHE to another folder"
        ) from error
    return data


def _fetched(name: str, folder: Path) -> tuple[Path, bytes]:
    """The first mirror's copy that is the original, and its unpacked bytes."""
    refused: Exception | None = None
    for number, mirror in enumerate(MIRRORS):
        try:
            path = _fetched_from(f"{mirror}{name}.gz", f"{number}-{name}.gz", folder)
            return path, _verified(path, name)
        except (OSError, ValueError, DataError) as error:
            refused = error
    raise DataError(f"{name}.gz: cannot be downloaded ({_reason(refused)}); {_REMEDY}") from refused


def _reason(refused: Exception | None) -> str:
    """A few words; what the network library says fills half a screen."""
    if isinstance(refused, DataError):
        return "the mirror sent another file"
    known = refused.strerror if isinstance(refused, OSError) else None
    return known or type(refused).__name__


def _fetched_from(url: str, file_name: str, folder: Path) -> Path:
    import pooch

    downloader = pooch.HTTPDownloader(timeout=_DOWNLOAD_SECONDS)
    with _quiet(pooch.get_logger()):
        # No hash is given to pooch: ours is of the unpacked bytes, and checked by the caller.
        return Path(
            pooch.retrieve(
                url, known_hash=None, fname=file_name, path=folder, downloader=downloader
            )
        )


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
