"""Rows and labels: what is refused before the network sees it."""

import numpy as np
import pytest

from hpsearch.nn.examples import Examples

X = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("y", "named"),
    [
        ([0, 3, 5], "labels must be classes 0 to 2, got 3 in row 1"),
        ([0, 2, -1], "labels must be classes 0 to 2, got -1 in row 2"),
        ([2**40, 0, 1], "got 1099511627776 in row 0"),
    ],
)
def test_labels_are_classes(y, named):
    """A label that is no class must be refused with its value and its row: loops index with it."""
    with pytest.raises(ValueError, match=named):
        Examples(X, np.array(y), 3)


def test_every_class_may_be_a_label():
    """The first and the last class must pass, and so must no rows at all."""
    assert len(Examples(X, np.array([0, 2, 1]), 3)) == 3
    assert len(Examples(X[:0], np.array([], np.int64), 3)) == 0


def test_rows_and_labels_belong_together():
    """As many labels as rows, and rows of a matrix, must be asked for."""
    for x, y in ((X, [0, 1]), (X[0], [0, 1])):
        with pytest.raises(ValueError, match="do not belong together"):
            Examples(x, np.array(y), 3)
