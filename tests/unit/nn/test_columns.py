"""Columns: whatever their form, they hold each member's number."""

import numpy as np
import pytest

from hpsearch.nn.columns import TABLE_STEPS, column, columns_by_step

VALUES = [[0.3], [0.1, 0.1, 0.1], [0.1, 0.2, 0.1], [0.1, 0.1, 0.2], [0.0] * 7 + [0.1]]


@pytest.mark.parametrize("values", VALUES, ids=str)
@pytest.mark.parametrize("row_length", [1, 100, 3000, 5000, 10_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_form_holds_the_numbers(values, row_length, dtype):
    """Every element of a member's row must meet the member's number, in the array's own dtype."""
    form = column(values, row_length, dtype)
    assert form.dtype == dtype
    spread = np.broadcast_to(form, (len(values), row_length))
    expected = np.array(values, dtype)[:, None]
    assert (spread == expected).all()


def test_tables_keep_members_apart_that_meet_only_at_first():
    """Members whose numbers agree at the first step of a table may differ at the next."""
    numbers = columns_by_step(lambda k: np.stack([k, k % 2], axis=1).astype(float), 0, np.float64)
    seen = [np.broadcast_to(next(numbers), (2, 1))[:, 0].tolist() for _ in range(TABLE_STEPS + 3)]
    assert seen == [[k, k % 2] for k in range(TABLE_STEPS + 3)]
