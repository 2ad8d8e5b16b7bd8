"""What the trials of a wave are judged by, from everything finished before it."""

from __future__ import annotations

from hpsearch.search.design import SearchDesign
from hpsearch.search.discarding import Band, BandRule, Threshold, band, chance_floor, good_ones
from hpsearch.search.narrowing import Known, noise_among
from hpsearch.seeds import Purpose, is_spared
from hpsearch.study import StudySpec


def planned_bands(design: SearchDesign, known: Known | None, first: int) -> tuple[Band, ...]:
    """The band of a wave whose trials are numbered from `first` on; none while nothing is known."""
    if not design.discards or known is None:
        return ()
    finished = known.history()
    good = good_ones(finished, noise_among(design, finished, known))
    curves = known.curves([outcome.number for outcome in good])
    found = band(first, list(curves.values()), known.validation_rows)
    return () if found is None else (found,)


def may_be_stopped(purpose: Purpose, round_: int) -> bool:
    """Whether trials of a round are those of a search, and no repeats.

    The first round of the control arm has all its trials. How many rounds the search has says
    nothing, as it may be given more.
    """
    return purpose == Purpose.SEARCH or (purpose == Purpose.CONTROL and round_ == 1)


def rule_of(
    spec: StudySpec, rows: int, round_: tuple[Purpose, int], number: int, band: Band | None
) -> BandRule | None:
    """What a trial is stopped by; None for repeats, and where no band is.

    Args:
        spec: The study.
        rows: Validation rows.
        round_: Purpose and number of the trial's round.
        number: The trial's number within the purpose.
        band: That of its wave; the control arm, which knows nothing of the search, has none.
    """
    if spec.search.discard != "auto" or not may_be_stopped(*round_):
        return None
    threshold = Threshold.of(chance_floor(spec.data.labels, rows), band)
    return BandRule(threshold, is_spared(spec.seed, round_[0], number))
