"""How much memory a member is reckoned to touch, and how many members follow from it."""

import pytest

from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.sizing import member_bytes, population_size
from hpsearch.settings import ModelSpec, TrainingSpec, TrialSettings


def trial(hidden=(), **training):
    """A member's settings."""
    return TrialSettings(model=ModelSpec(hidden=hidden), training=TrainingSpec(**training))


def test_rows_of_its_own_count():
    """A member that sees rows of its own must be charged for its batch, and only then."""
    settings = trial(optimizer="adam", batch_size=100)
    shared = member_bytes(settings, 784, 10)
    assert member_bytes(settings, 784, 10, shared_rows=False) - shared == 100 * 784 * 4


def test_rows_of_its_own_make_smaller_populations():
    """784-10 on batches of 100 of their own was fastest with 4 members, on common ones with 16."""
    settings = trial(optimizer="adam", batch_size=100)
    assert population_size(settings, 784, 10, shared_rows=False) == 4
    assert population_size(settings, 784, 10) == 16


@pytest.mark.parametrize("price", ["l2", "l1", "linf", "weight_decay"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_penalties_and_decay_need_room(name, price):
    """A penalty or decay works in one array more, where the rule has none to lend."""
    free = trial(optimizer=name, batch_size=1, weight_decay=0.0)
    priced = trial(optimizer=name, batch_size=1, **{"weight_decay": 0.0} | {price: 0.1})
    array = (20 * 3 + 3) * 4
    more = 0 if OPTIMIZERS[name].scratch_arrays else array
    assert member_bytes(priced, 20, 3) - member_bytes(free, 20, 3) == more
