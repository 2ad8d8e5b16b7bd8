"""What is left to gain, and when that is too little to go on."""

from math import log10

import numpy as np
import pytest

from hpsearch.search.landscape import Landscape
from hpsearch.search.narrowing import Prospect
from hpsearch.search.outcomes import Outcome
from hpsearch.search.points import placed, sobol
from hpsearch.space import Box, Dimension, Interval

NOISE = 0.01
SPACE = Box((Dimension("rate", Interval(1e-4, 1e-2, "log")),))


def expected_gain(count, score, noise=NOISE):
    """After so many trials, spread evenly, whose scores scatter by `noise`."""
    rng = np.random.default_rng(3)
    places = placed(sobol(1, count, rng), SPACE)
    found = [
        Outcome(i, values, score(values) + noise * float(rng.standard_normal()), 0.1)
        for i, values in enumerate(places)
    ]
    return Landscape.of(SPACE, found, noise).expected_gain(SPACE, rng)


def peak(values):
    return 0.9 - (log10(values["rate"]) + 3) ** 2


def test_more_trials_leave_less_to_gain():
    """With every trial the place of the maximum is known better, and never is there a loss."""
    gains = [expected_gain(count, peak) for count in (8, 32, 128)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0


def test_what_is_known_leaves_hardly_anything_to_gain():
    """With little noise the best of many trials has nearly all of the maximum."""
    assert expected_gain(128, peak, noise=1e-3) < 1e-3


@pytest.mark.parametrize(
    ("prospect", "is_converged"),
    [
        (Prospect(gain=0.0024, noise=0.01, is_open=False), True),
        (Prospect(gain=0.0025, noise=0.01, is_open=False), False),
        (Prospect(gain=0.0024, noise=0.01, is_open=True), False),
        (Prospect(gain=0.0, noise=0.0, is_open=False), False),
    ],
)
def test_a_quarter_of_the_noise_is_not_worth_a_round(prospect, is_converged):
    """Unless an edge is open; where nothing scatters every gain is one."""
    assert prospect.is_converged == is_converged
