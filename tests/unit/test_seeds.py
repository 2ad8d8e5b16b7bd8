"""Seeds depend on what a trial is, and are the same on every machine and in every version."""

from itertools import product

import pytest

from hpsearch.seeds import Purpose, plan_seed, split_seed, trial_seed


def test_seeds_never_change():
    """Seeds are stored nowhere else than in results that must be reproducible: these stand."""
    assert trial_seed(0, Purpose.SEARCH, 1, 0) == 4_324_601_099_084_218_337
    assert split_seed(0) == 6_929_975_111_325_745_075
    assert plan_seed(0, 1) == 3_807_504_009_974_157_747


def test_every_trial_has_a_seed_of_its_own():
    """Study, purpose, round and replicate each change the seed, in all combinations."""
    keys = list(product(range(4), Purpose, range(1, 5), range(10)))
    assert len({trial_seed(*key) for key in keys}) == len(keys)


def test_streams_do_not_meet():
    """The split and the plans of a study share no seed with its trials."""
    trials = {
        trial_seed(s, p, r, n) for s, p, r, n in product(range(3), Purpose, range(3), range(5))
    }
    others = {split_seed(s) for s in range(3)} | {
        plan_seed(s, r) for s in range(3) for r in range(5)
    }
    assert len(others) == 3 + 15
    assert not trials & others


@pytest.mark.parametrize("study_seed", [0, 1, 2**31 - 1])
def test_seeds_fit_a_signed_bigint(study_seed):
    """Every seed can be stored by every database."""
    for seed in (trial_seed(study_seed, Purpose.FINAL, 99, 999), plan_seed(study_seed, 99)):
        assert isinstance(seed, int)
        assert 0 <= seed < 2**63
