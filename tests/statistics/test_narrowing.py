"""What narrowing promises, over 200 simulated studies of each testbed: an hour on two cores.

A rate falls short only if a one-sided binomial test at 1 % rejects its target. The studies are
those of benchmarks/narrowing.py: a file of its --results that HPSEARCH_NARROWING names is gone on
with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import narrowing
import pytest
import testbeds
from narrowing import Ending, Endings
from rounds import Rule
from scipy.stats import binomtest

pytestmark = pytest.mark.statistics

STUDIES = 200
RULES = ("posterior", "elites")
BEDS = ("mnist-500", "no-effect", "no-effect-cut", "interaction", "plateau", "two-optima")
# Dimensions without effect inside what the study file declares.
IDLE = {"mnist-500": 1, "no-effect": 1, "no-effect-cut": 1}


@cache
def endings(rule: Rule, name: str) -> list[Ending]:
    """200 studies of a testbed."""
    file = os.environ.get("HPSEARCH_NARROWING")
    return Endings(Path(file) if file else None).of(name, STUDIES, processes=2, rule=rule)


def at_least(share: float, hits: Sequence[bool]) -> bool:
    """Whether these hits leave it open that their rate reaches a share."""
    return bool(binomtest(sum(hits), len(hits), share, "less").pvalue > 0.01)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", BEDS)
def test_the_last_box_holds_the_best(rule, name):
    """In 95 % of the studies it has a point within half a noise of the best within the limits."""
    assert at_least(0.95, [ending.holds for ending in endings(rule, name)])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", IDLE)
def test_what_has_no_effect_stays_wide(rule, name):
    """In at most 5 % of the studies it ends narrower than 80 % of its declared width."""
    wide = [ending.widths[IDLE[name]] >= narrowing.NARROW for ending in endings(rule, name)]
    assert at_least(0.95, wide)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [name for name in IDLE if name != "mnist-500"])
def test_what_has_no_effect_is_called_so(rule, name):
    """In 95 % of the studies the ledger says that there is no evidence.

    Of mnist-500 the weight decay has an effect beyond its declared range, which a study may find.
    """
    said = [not ending.effects[IDLE[name]] for ending in endings(rule, name)]
    assert at_least(0.95, said)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", IDLE)
def test_what_has_an_effect_is_recognised(rule, name):
    """In 95 % of the studies the ledger says so."""
    assert at_least(0.95, [ending.effects[1 - IDLE[name]] for ending in endings(rule, name)])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [name for name in BEDS if testbeds.named(name).is_cut])
def test_an_optimum_beyond_an_edge_is_noticed_after_one_round(rule, name):
    """In 95 % of the studies the ledger names the edge that the optimum lies beyond."""
    dimension, end = narrowing.beyond(testbeds.named(name))
    named = [ending.edges[dimension] in {end, "both"} for ending in endings(rule, name)]
    assert at_least(0.95, named)
