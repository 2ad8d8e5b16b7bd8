"""The sealed test rows: read once, at the very end, by one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpsearch.data.prepared import Prepared, key_of
from hpsearch.data.sources import source_of
from hpsearch.errors import DataError
from hpsearch.nn.examples import Examples

if TYPE_CHECKING:
    from pathlib import Path

    from hpsearch.study import StudySpec


def open_test_rows(spec: StudySpec, data_dir: Path | None, prepared: Prepared) -> Examples:
    """The study's test rows. The caller must have COMMITTED THE OPENING FIRST.

    An opening that is not on record before the rows are read could be repeated at will until
    the figure pleases. This is the only function that gives test rows away; nothing that
    trains, scores or narrows may call it.

    Args:
        spec: The study; its seed and shares decide which rows are test rows.
        data_dir: As for `prepare`.
        prepared: What `prepare` returned for the same study; its statistics, taken from
            training rows, scale the test rows.

    Returns:
        x (rows, features) in the study's precision and y (rows,) int64, in memory.

    Raises:
        DataError: If the rows cannot be had, there are none, or `prepared` is of other data.
    """
    if prepared.key != key_of(spec):
        raise DataError(
            f"{prepared.folder}: prepared for other data, another seed or another NumPy than "
            f"study {spec.name!r}; prepare the study again"
        )
    if not spec.holds_out:
        raise DataError(f'{spec.name}: split = "all" holds no rows out; there is no test split')
    rows = source_of(spec).sealed_rows(spec, data_dir)
    return Examples(prepared.scaling.apply(rows.x, spec.precision), rows.y, prepared.classes)
