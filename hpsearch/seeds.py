"""Seeds that depend on what a trial is, never on who runs it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Purpose(StrEnum):
    """Why a trial is run."""

    SEARCH = "search"
    REPEAT = "repeat"
    CONTROL = "control"
    CONFIRMATION = "confirmation"
    FINAL = "final"


# The numbers enter the seeds, so they are written down and never reordered.
_PURPOSE_KEY = {
    Purpose.SEARCH: 0,
    Purpose.REPEAT: 1,
    Purpose.CONTROL: 2,
    Purpose.CONFIRMATION: 3,
    Purpose.FINAL: 4,
}

# Streams that are no trial's: the split of the data, the planning of a round, of the control.
_SPLIT_KEY = 100
_PLAN_KEY = 101
_DECISION_KEY = 102
_CONTROL_KEY = 103


def trial_seed(study_seed: int, purpose: Purpose, round_number: int, replicate: int) -> int:
    """Seed of a trial's initial weights and minibatch order.

    Args:
        study_seed: The study's seed, 0 or above.
        purpose: Why the trial is run.
        round_number: Round the trial belongs to.
        replicate: Trials of one round with the same replicate share their seed.

    Returns:
        An integer in [0, 2**63), which fits a signed SQL BIGINT.
    """
    return _derive(study_seed, _PURPOSE_KEY[purpose], round_number, replicate)


def split_seed(study_seed: int) -> int:
    """Seed of the split into training, validation and test rows, in [0, 2**63)."""
    return _derive(study_seed, _SPLIT_KEY)


def plan_seed(study_seed: int, round_number: int, wave: int = 0) -> int:
    """Seed of the points that a round, or a later wave of it, plans; in [0, 2**63)."""
    further = (wave,) if wave else ()
    return _derive(study_seed, _PLAN_KEY, round_number, *further)


def control_seed(study_seed: int) -> int:
    """Seed of the points of the control arm, in [0, 2**63)."""
    return _derive(study_seed, _CONTROL_KEY)


def decision_seed(study_seed: int, round_number: int) -> int:
    """Seed of what is drawn to decide the box after a round, in [0, 2**63)."""
    return _derive(study_seed, _DECISION_KEY, round_number)


def _derive(*keys: int) -> int:
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))
