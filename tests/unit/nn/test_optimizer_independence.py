"""A member takes the same steps, bit for bit, in any population, whatever its neighbours do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.nn.columns import TABLE_STEPS
from hpsearch.nn.kernels import kernels
from hpsearch.nn.optimizers import OPTIMIZERS, PopulationOptimizer, grouping_order
from hpsearch.settings import TrainingSpec

pytestmark = pytest.mark.usefixtures("each_kernels")

TOTAL_STEPS = 20

SHARES = st.sampled_from([0.0, 0.0, 0.1, 0.5])
SPECS = st.builds(
    TrainingSpec,
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    learning_rate=st.sampled_from([None, 1e-3, 1e-2, 0.3]),
    weight_decay=st.sampled_from([None, 0.0, 0.1]),
    l2=SHARES,
    l1=SHARES,
    linf=SHARES,
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    dampening=st.sampled_from([0.0, 0.9]),
    beta1=st.sampled_from([0.0, 0.9]),
    beta2=st.sampled_from([0.99, 0.999]),
    rho=st.sampled_from([None, 0.5]),
    epsilon=st.sampled_from([None, 1e-3]),
    schedule=st.sampled_from(["constant", "linear", "step", "cosine"]),
    warmup=st.sampled_from([0.0, 0.3]),
)
# Short rows, rows whose columns are written out, and rows that are not: see hpsearch.nn.columns.
SIZES = st.sampled_from([5, 33, 1100, 4200])


class Company:
    """Members in training, each on random gradients of its own."""

    def __init__(self, members, size, dtype):
        self.members = [(spec, np.random.default_rng(seed)) for spec, seed in members]
        specs = [spec for spec, _ in members]
        spans = ((0, size // 2), (size // 2, size - 2))
        self.optimizer = PopulationOptimizer(
            specs, spans, size, dtype, total_steps=TOTAL_STEPS, rules=kernels().optimizers
        )
        self.parameters = self.draw(size).astype(dtype)

    def draw(self, size):
        return np.stack([random.normal(size=size) for _, random in self.members])

    def train(self, count):
        for _ in range(count):
            gradients = self.draw(self.parameters.shape[1]).astype(self.parameters.dtype)
            self.optimizer.step(self.parameters, gradients)

    def select(self, places):
        self.members = [self.members[place] for place in places]
        self.parameters = self.parameters[places]
        self.optimizer.select(places)


def bits_alone(member, size, dtype, count):
    """Parameters of a member after this many steps without company."""
    alone = Company([member], size, dtype)
    alone.train(count)
    return alone.parameters[0].tobytes()


@given(
    st.lists(SPECS, min_size=1, max_size=6),
    SIZES,
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([1, 3, TOTAL_STEPS, TABLE_STEPS - 1, TABLE_STEPS + 1]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_company_changes_no_bit(specs, size, dtype, count, data):
    """Every member must have the bits it has alone: in company, and when others have left."""
    members = [(specs[place], place) for place in grouping_order(specs)]
    company = Company(members, size, dtype)
    company.train(count)
    staying = data.draw(st.lists(st.sampled_from(range(len(specs))), min_size=1, unique=True))
    staying = [staying[place] for place in grouping_order([members[at][0] for at in staying])]
    company.select(staying)
    company.train(2)
    for place, parameters in zip(staying, company.parameters, strict=True):
        assert parameters.tobytes() == bits_alone(members[place], size, dtype, count + 2)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "price", [{"l2": 0.5}, {"l1": 0.5}, {"linf": 0.5}, {"weight_decay": 0.5}], ids=str
)
def test_nothing_beside_a_priced_neighbour(name, price):
    """A member without penalty or decay must keep its bits beside one with it, odd ones too."""
    odd = np.array([[-0.0, np.inf, np.nan, -0.0]], dtype=np.float32)
    gradient = np.array([[-0.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    free = TrainingSpec(optimizer=name, weight_decay=0.0)
    priced = TrainingSpec(**{"optimizer": name, "weight_decay": 0.0} | price)

    def moved(*specs):
        optimizer = PopulationOptimizer(
            specs, [(0, 3)], 4, total_steps=1, rules=kernels().optimizers
        )
        parameters = np.tile(odd, (len(specs), 1))
        with np.errstate(all="ignore"):
            optimizer.step(parameters, np.tile(gradient, (len(specs), 1)))
        return [row.tobytes() for row in parameters]

    alone = moved(free)[0]
    assert moved(free, priced, free) == [alone, moved(priced)[0], alone]


def test_rules_do_not_mix():
    """Members of different rules must each follow their own, in their own rows."""
    names = ["adam", "sgd", "sgd", "momentum"]
    specs = [TrainingSpec(optimizer=name, learning_rate=0.1, momentum=0.5) for name in names]
    parameters = np.zeros((4, 1))
    optimizer = PopulationOptimizer(
        specs, [(0, 1)], 1, np.float64, total_steps=2, rules=kernels().optimizers
    )
    for _ in range(2):
        optimizer.step(parameters, np.array([[1.0], [2.0], [3.0], [4.0]]))
    # Momentum: v = -0.4, then 0.5 (-0.4) - 0.4 = -0.6.
    np.testing.assert_allclose(parameters[:, 0], [-0.2, -0.4, -0.6, -1.0], rtol=1e-6)


def test_members_of_one_rule_stand_together():
    """Members of one optimizer that stand apart must be refused, also when selecting."""
    sgd, adam = (TrainingSpec(optimizer=name) for name in ("sgd", "adam"))
    with pytest.raises(ValueError, match="must stand together, got"):
        PopulationOptimizer(
            [sgd, adam, sgd], [(0, 1)], 1, total_steps=1, rules=kernels().optimizers
        )
    optimizer = PopulationOptimizer(
        [sgd, sgd, adam], [(0, 1)], 1, total_steps=1, rules=kernels().optimizers
    )
    with pytest.raises(ValueError, match="must stand together, got"):
        optimizer.select([0, 2, 1])


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["sgd", "sgd", "adam"], [0, 1, 2]),
        (["sgd", "adam", "sgd"], [0, 2, 1]),
        (["adam", "sgd", "adam", "momentum", "sgd"], [0, 2, 1, 4, 3]),
        ([], []),
    ],
)
def test_grouping_order(names, order):
    """The order must join members of one optimizer, and change nothing else."""
    assert grouping_order([TrainingSpec(optimizer=name) for name in names]) == order


@pytest.mark.parametrize("spans", [[(1, 2)], [(0, 2), (3, 4)], [(0, 2), (2, 2)], [(0, 6)]])
def test_spans_are_checked(spans):
    """Weights that do not fill the start of a member's vector without gaps must be refused."""
    with pytest.raises(ValueError, match="weight_spans"):
        PopulationOptimizer([TrainingSpec()], spans, 5, total_steps=1, rules=kernels().optimizers)
