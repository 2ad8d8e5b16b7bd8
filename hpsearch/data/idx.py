"""The IDX format of the MNIST files: a magic number, the sizes, then one byte per value.

Nothing is guessed: a file that is a byte too long is refused as firmly as one cut short.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Two zero bytes, 0x08 for unsigned bytes, then the number of dimensions.
_MAGIC = b"\x00\x00\x08"


def parse_idx(data: bytes, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array an unpacked IDX file holds.

    Args:
        data: The whole file, unpacked.
        name: What to call the file in an error.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        Read-only uint8 array with `dimensions` axes, none of them empty.

    Raises:
        DataError: If the magic number, the sizes or the length are wrong.
    """
    header = len(_MAGIC) + 1 + 4 * dimensions
    if data[:4] != _MAGIC + bytes([dimensions]):
        raise DataError(
            f"{name}: not an IDX file of bytes with {dimensions} dimension(s): it starts with "
            f"{data[:4].hex() or 'nothing'}; get the original MNIST file"
        )
    if len(data) < header:
        raise DataError(f"{name}: cut short within its header; get the original MNIST file")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4))
    if not all(shape):
        raise DataError(f"{name}: holds no values, shape {shape}; get the original MNIST file")
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise DataError(
            f"{name}: {len(data)} bytes where shape {shape} needs {expected}; "
            "get the original MNIST file"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)
