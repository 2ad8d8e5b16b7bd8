"""What the trials of a wave are judged by, from everything finished before it."""

from __future__ import annotations

from hpsearch.search.design import SearchDesign
from hpsearch.search.discarding import (
    FEWEST_ELITES,
    Band,
    BandRule,
    Threshold,
    band,
    chance_floor,
    good_ones,
)
from hpsearch.search.narrowing import MOST_TRIALS, Known, noise_among
from hpsearch.seeds import Purpose, is_spared
from hpsearch.study import StudySpec


def planned_bands(design: SearchDesign, known: Known | None, first: int) -> tuple[Band, ...]:
    """The band of a wave whose trials are numbered from `first` on.

    None while too few trials have a score; one without points where none of those finished has.
    """
    if not design.discards or known is None:
        return ()
    finished = known.history()[-MOST_TRIALS:]
    good = good_ones(finished, noise_among(design, finished, known))
    if len(good) < FEWEST_ELITES:
        return () if good or not finished else (Band(first, ()),)
    curves = known.curves([outcome.number for outcome in good])
    found = band(first, list(curves.values()), known.validation_rows)
    return () if found is None else (found,)


def may_be_stopped(purpose: Purpose) -> bool:
    """Whether trials may be: the search's, which are judged by each other, and no others.

    The control arm has no bands: what a floor alone would leave of it is no fair comparison.
    """
    return purpose == Purpose.SEARCH


def rule_of(
    spec: StudySpec, rows: int, purpose: Purpose, number: int, band: Band | None
) -> BandRule | None:
    """What a trial is stopped by; None for those that are not.

    Args:
        spec: The study.
        rows: Validation rows.
        purpose: The trial's.
        number: Its number within the purpose.
        band: That of its wave, None where there is none.
    """
    if spec.search.discard != "auto" or not may_be_stopped(purpose):
        return None
    threshold = Threshold.of(chance_floor(spec.data.labels, rows), band)
    return BandRule(threshold, is_spared(spec.seed, purpose, number))
