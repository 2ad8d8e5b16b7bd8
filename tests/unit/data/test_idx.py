"""The IDX parser takes exactly what the format says and refuses everything else."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.data.idx import parse_idx
from hpsearch.errors import DataError


def idx(*shape: int, data: bytes | None = None) -> bytes:
    """An IDX file of this shape; without data its values count from 0."""
    values = bytes(i % 256 for i in range(int(np.prod(shape)))) if data is None else data
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + values


def test_values_come_back_in_their_shape():
    """Bytes are read row by row, and the array cannot be written to."""
    array = parse_idx(idx(2, 3, 4), "images", 3)
    assert array.dtype == np.uint8
    assert np.array_equal(array, np.arange(24).reshape(2, 3, 4))
    assert not array.flags.writeable


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00\x08",
        idx(3),
        idx(2, 2, 2)[:-1],
        idx(2, 2, 2) + b"\x00",
        idx(2, 2, 2)[:10],
        idx(0, 28, 28),
        idx(0, 2**32 - 1, 2**32 - 1, data=b""),
        idx(2**32 - 1, 2**32 - 1, 2**32 - 1, data=b"abc"),
        b"\x00\x00\x0d\x03" + idx(2, 2, 2)[4:],
        b"\x1f\x8b\x08\x00" + idx(2, 2, 2)[4:],
    ],
    ids=lambda data: data[:20].hex() or "empty",
)
def test_what_is_not_exactly_such_a_file_is_refused(data):
    """Wrong magic, sizes or length: one line that names the file."""
    with pytest.raises(DataError, match=r"^train-images: [^\n]+$"):
        parse_idx(data, "train-images", 3)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\x08\x03" + tail))
def test_no_bytes_bring_about_another_error(data):
    """Whatever a file holds, it is an array or a DataError."""
    for dimensions in (1, 3):
        with contextlib.suppress(DataError):
            assert parse_idx(data, "file", dimensions).ndim == dimensions


@given(st.data())
def test_no_damaged_file_is_taken_for_a_whole_one(data):
    """A file with a header byte changed, or cut, or longer, is refused or has another shape."""
    whole = idx(3, 4, 5)
    at = data.draw(st.integers(0, 15))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for damaged in (bytes(changed), cut, whole + cut + b"\0"):
        with pytest.raises(DataError):
            parse_idx(damaged, "file", 3)
