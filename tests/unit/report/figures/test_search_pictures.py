"""The figures of a search: its funnel, boxes, progress and finalists, by what they contain."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.boxes import boxes
from hpsearch.report.figures.finalists import finalists, raced
from hpsearch.report.figures.funnel import funnel
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.optuna_views import importance, parallel_coordinates, slices
from hpsearch.report.figures.progress import progress

SPACE = {
    "learning_rate": {"low": 1e-6, "high": 1e-2, "scale": "log"},
    "weight_decay": {"low": 1e-8, "high": 1e-4, "scale": "log"},
    "activation": {"choices": ["relu", "tanh"]},
}
RANGES = {
    "learning_rate": [(1e-6, 1e-2), (1e-4, 1e-2), (1e-3, 1e-2)],
    "weight_decay": [(1e-8, 1e-4), (1e-8, 1e-4), (1e-8, 1e-5)],
}
CHOICES = [["relu", "tanh"], ["relu", "tanh"], ["tanh"]]
WINNER = {"learning_rate": 2e-3, "weight_decay": 1e-6, "activation": "tanh"}


def ledger():
    """Two rounds, and the ranges after them."""
    rows = [
        {"round": number, "dimension": name, "low": low, "high": high, "scale": "log"}
        for name, ranges in RANGES.items()
        for number, (low, high) in enumerate(ranges, start=1)
    ]
    return rows + [
        {"round": number, "dimension": "activation", "choices": choices}
        for number, choices in enumerate(CHOICES, start=1)
    ]


@pytest.fixture
def trials(make_trial):
    """Two rounds of ten trials, one of them diverged and the best two of a round its elites."""
    documents = []
    for number in range(20):
        values = {
            "learning_rate": 1e-5 * 1.4**number,
            "weight_decay": 1e-7,
            "activation": ("relu", "tanh")[number % 2],
        }
        changes = {
            "round": 1 + number // 10,
            "score": 0.5 + number / 100,
            "elite": number % 10 >= 8,
            "finished": f"2026-01-01T00:00:{number:02d}.000+00:00",
        }
        if number == 3:
            changes |= {"state": "diverged", "score": None}
        documents.append(make_trial(number, values, **changes))
    return documents


@pytest.fixture
def searched(make_spec, trials):
    """The material of that search."""
    spec = make_spec(space=SPACE, search={"rounds": 2, "trials": 10})
    return Material.of(spec, trials, {"winner": {"values": WINNER, "score": 0.64}}, ledger())


def bands(ax):
    """(left, bottom, right, top) of what is filled in an axes."""
    return [tuple(c.get_paths()[0].get_extents().extents) for c in ax.collections if is_band(c)]


def is_band(collection):
    return type(collection).__name__ in {"PolyCollection", "FillBetweenPolyCollection"}


def dots(ax):
    """(x, y) of every dot and cross of an axes."""
    found = [c for c in ax.collections if type(c).__name__ == "PathCollection"]
    return [tuple(point) for collection in found for point in collection.get_offsets()]


# ---------------------------------------------------------------------- funnel


def test_the_funnel_shows_every_trial_in_an_axes_for_every_dimension(searched):
    """A dot stands at the trial's number and value; a choice has a line of its own."""
    rate, decay, activation, *_ = funnel(searched).axes
    assert sorted(dots(rate)) == [(t.number, t.values["learning_rate"]) for t in searched.trials]
    assert {y for _, y in dots(activation)} == {0, 1}
    assert [tick.get_text() for tick in activation.get_yticklabels()] == ["relu", "tanh"]
    assert (rate.get_yscale(), decay.get_yscale(), activation.get_yscale()) == (
        "log",
        "log",
        "linear",
    )


def test_the_funnel_shows_every_round_s_range_over_its_trials(searched):
    """Round 1 fills trials 0 to 9, round 2 the next ten, and what would follow stands right."""
    rate, _, activation, *_ = funnel(searched).axes
    assert bands(rate) == [
        (-0.5, 1e-6, 9.5, 1e-2),
        (9.5, 1e-4, 19.5, 1e-2),
        pytest.approx((19.5, 1e-3, 20.9, 1e-2)),
    ]
    assert len(bands(activation)) == 5  # two choices, two choices, one


def test_the_funnel_draws_the_declared_edges(searched):
    """The ends that the study file declares cross the whole axes."""
    lines = [line.get_ydata()[0] for line in funnel(searched).axes[0].get_lines()]
    assert {1e-6, 1e-2} <= set(lines)


def test_elites_have_a_dark_ring(searched):
    """Four of the trials are elites; nobody else has a black edge."""
    rate = funnel(searched).axes[0]
    ringed = [
        c
        for c in rate.collections
        if type(c).__name__ == "PathCollection" and to_hex(c.get_edgecolors()[0]) == "#000000"
    ]
    assert sum(len(c.get_offsets()) for c in ringed) == 4


def test_the_better_a_trial_the_darker_it_is(searched):
    """Of all that have a score the best has the darkest dot."""
    rate = funnel(searched).axes[0]
    shades = {}
    for collection in rate.collections:
        values = getattr(collection, "get_array", lambda: None)()
        if values is not None:
            colours = collection.to_rgba(values)[:, :3].sum(axis=1)
            shades |= dict(zip(values.tolist(), colours.tolist(), strict=True))
    assert min(shades, key=shades.get) == max(shades)


def test_a_grid_has_no_funnel(make_spec):
    """It tries every combination, so there are no ranges to show."""
    space = {"activation": SPACE["activation"]}
    spec = make_spec(space=space, search={"sampler": "grid"}, confirmation={"finalists": 0})
    with pytest.raises(CannotDrawError, match="grid"):
        funnel(Material.of(spec, []))


# ----------------------------------------------------------------------- boxes


def test_the_boxes_of_all_rounds_lie_over_the_trials(searched):
    """A rectangle for each round and one for what would follow, in the two dimensions."""
    figure = boxes(searched)
    found = [patch.get_bbox().extents.tolist() for patch in figure.axes[0].patches]
    expected = zip(RANGES["learning_rate"], RANGES["weight_decay"], strict=True)
    assert found == [pytest.approx([x[0], y[0], x[1], y[1]]) for x, y in expected]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["elite", "no score", "declared", "round 2", "next", "winner"]


def test_one_range_alone_has_no_boxes(make_spec, trials):
    """A plane needs two ranges; choices are none."""
    space = {"learning_rate": SPACE["learning_rate"], "activation": SPACE["activation"]}
    spec = make_spec(space=space, search={"rounds": 2, "trials": 10})
    with pytest.raises(CannotDrawError, match="no two ranges"):
        boxes(Material.of(spec, trials, None, ledger()))


# -------------------------------------------------------------------- progress


def test_progress_is_the_best_of_so_many_trials_and_seconds(searched):
    """The step never falls, ends at the best score, and both axes tell the same story."""
    trials, seconds = progress(searched).axes
    for ax, last in ((trials, 20), (seconds, 19.0)):
        step = ax.get_lines()[0]
        x, y = list(step.get_xdata()), list(step.get_ydata())
        assert y == sorted(y)
        assert (x[-1], y[-1]) == (last, pytest.approx(0.69))


def test_progress_shows_what_the_winner_is_worth(searched):
    """The single best score is a lucky one: a line shows the score over fresh seeds."""
    heights = [line.get_ydata()[0] for line in progress(searched).axes[0].get_lines()]
    assert 0.64 in heights


def test_without_a_score_there_is_no_progress(make_spec):
    """There is a reason instead."""
    with pytest.raises(CannotDrawError, match="score"):
        progress(Material.of(make_spec(), []))


# ------------------------------------------------------------------- finalists


@pytest.fixture
def confirmed(make_spec, make_trial, trials):
    """Two finalists over three common seeds, and the winner over two of its own.

    Before that, another confirmation had another winner: its seeds are 0 to 4.
    """
    other = WINNER | {"learning_rate": 1e-3}
    scores = {(1, 0): 0.9, (0, 0): 0.1, (1, 3): 0.9}
    scores |= {(0, 5): 0.6, (0, 6): 0.62, (0, 7): 0.64, (1, 5): 0.5, (1, 6): 0.52, (1, 7): 0.54}
    scores |= {(0, 8): 0.58, (0, 9): 0.6}
    repeats = [
        make_trial(n, (WINNER, other)[who], purpose="confirmation", replicate=seed, score=score)
        for n, ((who, seed), score) in enumerate(scores.items())
    ]
    test = {"score": 0.57, "interval": [0.5, 0.63], "rows": 100}
    study = {"winner": {"values": WINNER, "score": 0.59}, "test": test}
    confirmation = {"finalists": 2, "seeds": 3, "most_seeds": 3, "winner_seeds": 2}
    search = {"rounds": 2, "trials": 10}
    spec = make_spec(space=SPACE, search=search, confirmation=confirmation)
    return Material.of(spec, [*trials, *repeats], study, ledger())


def test_the_race_is_told_from_what_came_before_and_after_it(confirmed):
    """Seeds of an earlier confirmation count no more, and the winner's own had no part in it."""
    winner, other = raced(confirmed)
    assert winner.values == WINNER
    assert (winner.scores, winner.own) == ((0.6, 0.62, 0.64), (0.58, 0.6))
    assert (other.scores, other.own) == ((0.5, 0.52, 0.54), ())


def test_finalists_have_a_mean_and_an_interval_each(confirmed):
    """Best first, then the winner over its own seeds, then the test figure."""
    (ax,) = finalists(confirmed).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(names) == 4
    assert names[0].startswith("learning rate 0.002")
    assert names[2:] == [
        "the winner over seeds of its own (2 seeds)",
        "the winner on 100 sealed test rows",
    ]
    means = [container[0].get_xdata()[0] for container in ax.containers]
    assert means == [pytest.approx(m) for m in (0.62, 0.52, 0.59, 0.57)]


def test_nothing_confirmed_is_a_reason(make_spec, trials):
    """A search whose finalists were not run again yet has no such figure."""
    spec = make_spec(space=SPACE, search={"rounds": 2, "trials": 10})
    with pytest.raises(CannotDrawError, match="no finalist has a score yet"):
        finalists(Material.of(spec, trials))
    unconfirmed = make_spec(space=SPACE, confirmation={"finalists": 0})
    with pytest.raises(CannotDrawError, match="nothing is confirmed"):
        finalists(Material.of(unconfirmed, trials))


# --------------------------------------------------------------- Optuna's views


@pytest.mark.parametrize("view", [importance, parallel_coordinates, slices])
def test_optuna_draws_its_views_of_the_search(searched, view):
    """All dimensions are there by name, and nothing of pyplot's stays open."""
    from matplotlib import pyplot as plt
    from matplotlib import rcParams

    before = dict(rcParams)
    figure = view(searched)
    texts = {text.get_text() for ax in figure.axes for text in ax.findobj(Text)}
    assert texts >= set(SPACE)
    assert plt.get_fignums() == []
    assert dict(rcParams) == before


def test_equal_scores_have_no_importance(make_spec, make_trial):
    """There is nothing to explain; one line says so."""
    trials = [
        make_trial(n, {"learning_rate": 1e-3 + n * 1e-5, "weight_decay": 1e-6}) for n in range(12)
    ]
    with pytest.raises(CannotDrawError, match="scores that differ"):
        importance(Material.of(make_spec(), trials))
