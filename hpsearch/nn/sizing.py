"""How many networks are worth training side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpsearch.nn.optimizers import OPTIMIZERS
from hpsearch.nn.population import Architecture

if TYPE_CHECKING:
    from hpsearch.settings import TrainingSpec, TrialSettings

# Twice as many gained only another 4 % on 64-50-10 and 16 % on 2-5-2-2, and a larger claim leaves
# fewer trials to other workers.
LARGEST_POPULATION = 16

# Measured on an AMD EPYC with 1 MiB of second-level cache per core (and 32 MiB behind it) over nine
# shapes from 784-10 to 784-100-100-10, sizes 1 to 16: twice the second-level cache came within a
# tenth of the best size for every shape, and was never slower than one model at a time.
CACHE_BYTES = 2 * 2**20


def population_size(
    settings: TrialSettings,
    features: int,
    classes: int,
    cache_bytes: int = CACHE_BYTES,
    *,
    shared_rows: bool = True,
) -> int:
    """How many members to train side by side: as many as the cache holds, 1 to 16.

    Stacking spares small networks the fixed cost of array operations; a population that has
    outgrown the cache loses more to memory than it gains.

    Args:
        settings: Settings of one member.
        features: Numbers in a row.
        classes: Classes of the source.
        cache_bytes: Bytes a population may work on.
        shared_rows: Whether all members see the same rows at the same time, as those of one seed
            do; else every member has a batch of its own.
    """
    fitting = cache_bytes // member_bytes(settings, features, classes, shared_rows=shared_rows)
    return max(1, min(LARGEST_POPULATION, fitting))


def member_bytes(
    settings: TrialSettings, features: int, classes: int, *, shared_rows: bool = True
) -> int:
    """Bytes one member touches in a step: parameters, gradients, state and activations.

    With rows of its own also its batch: 784-10 with batches of 100 took 101 us a step and model in
    a population of 4, 151 us in one of 16.
    """
    layout = Architecture.of(settings.model, features, classes).layout
    rule = OPTIMIZERS[settings.training.optimizer]
    arrays = 2 + rule.state_arrays + max(rule.scratch_arrays, _has_price(settings.training))
    # Hidden outputs and their gradients; the logits are turned into their own gradients.
    hidden = 2 + settings.model.batch_norm + 3 * (settings.model.dropout > 0)
    per_row = hidden * sum(settings.model.hidden) + layout.widths[-1]
    if not shared_rows:
        per_row += features
    numbers = arrays * layout.parameter_count + _rows(settings) * per_row
    return numbers * np.dtype(settings.training.precision).itemsize


def _has_price(training: TrainingSpec) -> bool:
    """Whether a penalty or a decay needs room to be worked out in."""
    rule = OPTIMIZERS[training.optimizer]
    return any(rule.value(training, name) for name in ("l2", "l1", "linf", "weight_decay"))


def _rows(settings: TrialSettings) -> int:
    """Rows of a batch; a full batch is taken to be larger than any cache."""
    size = settings.training.batch_size
    return CACHE_BYTES if size == "full" else size
