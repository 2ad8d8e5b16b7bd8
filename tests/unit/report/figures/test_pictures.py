"""Figures by what they contain: axes, titles, curves and their points; never by pixels."""

import warnings
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex

from hpsearch.errors import CannotDrawError
from hpsearch.report.figures.accuracy_curves import accuracy_curves
from hpsearch.report.figures.best_trials import best_trials
from hpsearch.report.figures.canvas import COLOURS, OTHERS, folded, house_style, png
from hpsearch.report.figures.control import control
from hpsearch.report.figures.drawing import PICTURES, draw
from hpsearch.report.figures.files import NAMES
from hpsearch.report.figures.layers import layers, rebinned
from hpsearch.report.figures.loss_curves import loss_curves, smoothed
from hpsearch.report.figures.material import Material
from hpsearch.report.figures.panels import panels

STOPPED = [
    {"epoch": 1, "metrics": {"training_loss": 3.0, "training_accuracy": 0.1}},
    {"epoch": 2, "metrics": {"training_loss": None, "training_accuracy": 0.1}},
]
DIVERGED = {"state": "diverged", "score": None, "loss": None, "epochs": STOPPED}


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def points(line):
    return list(line.get_xdata()), list(line.get_ydata())


def legend(figure):
    """The texts of the figure's legend, or of its only axes'."""
    owner = figure if figure.legends else figure.axes[0]
    found = figure.legends[0] if figure.legends else owner.get_legend()
    return [text.get_text().replace("\n", " ") for text in found.get_texts()]


def test_every_figure_of_the_study_file_can_be_drawn():
    """Each name that [report] figures takes is a picture or the table, and nothing else is."""
    assert set(NAMES) == {*PICTURES, "table"}


# ------------------------------------------------------------------- best trials


def test_best_trials_are_the_20_best_in_order(make_search):
    """Of 30 trials the best 20 have an axes each, best first, titled with score and values."""
    figure = best_trials(make_search(30))
    assert len(figure.axes) == 20
    assert titles(figure)[0] == (
        "Best-1 (val acc: 0.0290)\nlearning rate 0.00129\nweight decay 1e-06"
    )
    assert titles(figure)[19].startswith("Best-20 (val acc: 0.0100)")


def test_best_trials_show_validation_solid_and_training_dashed(make_search):
    """The two curves of an axes are the trial's own measurements."""
    validation, training = best_trials(make_search(3)).axes[0].get_lines()
    assert points(validation) == ([1, 2, 3], [0.2, 0.4, pytest.approx(0.6)])
    assert points(training) == ([1, 2, 3], [0.3, 0.6, pytest.approx(0.9)])
    assert (validation.get_linestyle(), training.get_linestyle()) == ("-", "--")


def test_an_unfinished_study_says_how_far_it_is(make_search):
    """The title of a figure of 3 of 40 trials says so; that of a whole study does not."""
    material = make_search(3, search={"rounds": 1, "trials": 40})
    assert "(3 of 40 trials so far)" in best_trials(material).get_suptitle()
    assert "so far" not in best_trials(make_search(3)).get_suptitle()


def test_trials_without_a_score_are_not_among_the_best(make_grid):
    """A diverged trial is in no axes; where all diverged there is no figure, and a reason."""
    assert len(best_trials(make_grid(changed={0: DIVERGED})).axes) == 5
    with pytest.raises(CannotDrawError, match="has a score yet"):
        best_trials(make_grid(changed=dict.fromkeys(range(6), DIVERGED)))


# ------------------------------------------------------------------- loss curves


def test_loss_curves_have_one_named_curve_for_each_trial(make_grid):
    """Six trials are six curves with the labels of their values and six different colours."""
    figure = loss_curves(make_grid())
    lines = figure.axes[0].get_lines()
    assert legend(figure)[:2] == [
        "learning rate 0.1, with batch norm",
        "learning rate 0.1, without batch norm",
    ]
    assert points(lines[1]) == ([1, 2, 3], [3.0, 2.0, pytest.approx(5 / 3)])
    assert len({to_hex(line.get_color()) for line in lines}) == 6
    styles = [line.get_linestyle() for line in lines]
    assert all(one != other for one, other in pairwise(styles))
    assert figure.axes[0].get_xlabel() == "epoch"


def test_iterations_are_called_iterations(make_grid):
    """A training given in iterations has them on its x axis."""
    figure = loss_curves(make_grid(training={"iterations": 30, "measure_every": 10}))
    assert figure.axes[0].get_xlabel() == "iteration"


def test_searched_lengths_have_their_own_unit(make_grid):
    """Iterations that are searched, or brought along by a choice, are what the x axis counts."""
    rates = {"learning_rate": {"choices": [0.1, 0.2]}}
    searched = make_grid({"iterations": {"choices": [20, 40]}} | rates)
    assert loss_curves(searched).axes[0].get_xlabel() == "iteration"
    brought = [{"name": "sgd", "iterations": 20}, "adam"]
    mixed = make_grid(
        {"optimizer": {"choices": brought}} | rates, changed={0: DIVERGED, 3: DIVERGED}
    )
    figure = loss_curves(mixed)
    assert figure.axes[0].get_xlabel() == "iteration or epoch"
    assert legend(figure)[0] == "sgd, learning rate 0.1 (diverged at iteration 2)"
    assert legend(figure)[3] == "adam, learning rate 0.2 (diverged at epoch 2)"


def test_a_diverged_trial_is_named_and_ends_at_a_cross(make_grid):
    """Its label says when, its curve stops at the last finite loss, and it sets no limit."""
    huge = [{"epoch": 1, "metrics": {"training_loss": 1e30}}, STOPPED[1]]
    figure = loss_curves(make_grid(changed={0: DIVERGED, 1: DIVERGED | {"epochs": huge}}))
    assert legend(figure)[0] == "learning rate 0.1, with batch norm (diverged at epoch 2)"
    curve, cross = figure.axes[0].get_lines()[:2]
    assert points(curve) == points(cross) == ([1], [3.0])
    assert cross.get_marker() == "x"
    assert figure.axes[0].get_ylim()[1] < 10


def test_of_many_curves_the_best_five_have_names(make_search):
    """300 trials: five curves in colour with labels, 295 in grey under one label."""
    figure = loss_curves(make_search(300))
    lines = figure.axes[0].get_lines()
    assert len(lines) == 300
    assert legend(figure)[5] == "295 other trials"
    assert len(legend(figure)) == 6
    assert points(lines[0])[1][-1] == min(points(line)[1][-1] for line in lines)


@pytest.mark.parametrize(
    ("window", "curve"),
    [(1, [1, 5, 3, 7]), (3, [1, 3, 5, 5]), (4, [1, 3, 5, 5]), (9, [1, 3, 4, 4])],
)
def test_smoothing_is_the_mean_around_each_measurement(window, curve):
    """The mean of so many; a curve begins where it began, and 1 leaves it as it is."""
    assert smoothed([1, 5, 3, 7], window) == curve


def test_a_smoothed_figure_says_so(make_grid):
    """`smooth = 3` draws means of three measurements, and the title says it."""
    figure = loss_curves(make_grid(report={"smooth": 3}))
    assert "mean of 3 measurements" in figure.axes[0].get_title()
    means = [2.0, (2.0 + 1.0 + 2 / 3) / 3, (1.0 + 2 / 3) / 2]
    assert points(figure.axes[0].get_lines()[0])[1] == pytest.approx(means)


# --------------------------------------------------------------- accuracy curves


def test_accuracy_curves_show_the_gap_of_each_trial(make_grid):
    """One axes for each trial; its title has the label and how far apart the curves end."""
    figure = accuracy_curves(make_grid())
    assert len(figure.axes) == 6
    assert titles(figure)[0].replace("\n", " ") == (
        "learning rate 0.1, with batch norm ends at 0.90 and 0.60: gap 0.30"
    )
    assert legend(figure) == ["training", "validation"]


def test_no_gap_has_a_minus_before_nothing(make_grid):
    """Validation ahead by 0.004 is a gap of 0.00; ahead by 0.1 it is -0.10."""
    ends = [{"training_accuracy": 0.5, "validation_accuracy": v} for v in (0.504, 0.6)]
    changed = {n: {"epochs": [{"epoch": 1, "metrics": m}]} for n, m in enumerate(ends)}
    shown = titles(accuracy_curves(make_grid(changed=changed)))
    assert [title.rsplit(": ")[-1] for title in shown[:2]] == ["gap 0.00", "gap -0.10"]


def test_accuracy_curves_may_share_an_axes_by_value(make_grid):
    """With `panel` an axes holds all trials of one value, each in its colour of the legend."""
    figure = accuracy_curves(make_grid(report={"panel": "learning_rate"}))
    assert titles(figure) == ["learning rate 0.1", "learning rate 0.2", "learning rate 0.3"]
    assert [len(ax.get_lines()) for ax in figure.axes] == [4, 4, 4]
    assert legend(figure) == ["training", "validation", "with batch norm", "without batch norm"]


def test_accuracy_curves_of_a_large_search_are_its_best(make_search):
    """300 axes cannot be read: the best 20 are drawn, and the title says so."""
    figure = accuracy_curves(make_search(300))
    assert len(figure.axes) == 20
    assert "20 of 300 trials" in figure.get_suptitle()
    assert titles(figure)[0].startswith("learning rate 0.00399")


def test_missing_metrics_are_no_points(make_spec, make_trial):
    """Without validation figures the training curve stands alone and no gap is claimed."""
    epochs = [{"epoch": 1, "metrics": {"training_accuracy": 0.5}}]
    trial = make_trial(0, {"learning_rate": 1e-3, "weight_decay": 0.0}, epochs=epochs)
    figure = accuracy_curves(Material.of(make_spec(), [trial]))
    assert [points(line)[0] for line in figure.axes[0].get_lines()] == [[], [1]]
    assert "gap" not in titles(figure)[0]


def test_early_stopping_shows_the_epoch_of_the_score(make_grid):
    """A trial scored at epoch 2 of 3 has its figures of epoch 2, and a dot there on both curves."""
    material = make_grid(changed={0: {"scored_at": 2, "score": 0.9}})
    figure = accuracy_curves(material)
    first, second = (title.replace("\n", " ") for title in titles(figure)[:2])
    assert first.endswith("batch norm at epoch 2: 0.60 and 0.40, gap 0.20")
    assert second.endswith("batch norm ends at 0.90 and 0.60: gap 0.30")
    assert legend(figure) == ["training", "validation", "epoch of the score"]
    best = best_trials(material)
    assert legend(best) == ["validation", "training", "epoch of the score"]
    for drawn in (figure, best):
        assert [len(ax.get_lines()) for ax in drawn.axes] == [4, 2, 2, 2, 2, 2]
        curves, dots = drawn.axes[0].get_lines()[:2], drawn.axes[0].get_lines()[2:]
        assert [points(dot) for dot in dots] == [([2], [0.4]), ([2], [0.6])]
        assert [dot.get_color() for dot in dots] == [curve.get_color() for curve in curves]


# ------------------------------------------------------------------------ panels


def test_panels_have_an_axes_per_value_and_a_curve_per_other_value(make_grid):
    """Three rates are three axes; with and without batch norm are two curves in each."""
    figure = panels(make_grid(report={"panel": "learning_rate"}))
    assert titles(figure) == ["learning rate 0.1", "learning rate 0.2", "learning rate 0.3"]
    for ax in figure.axes:
        assert [line.get_label() for line in ax.get_lines()] == [
            "with batch norm",
            "without batch norm",
        ]
        colours = [to_hex(line.get_color()) for line in ax.get_lines()]
        assert colours == [colour.lower() for colour in COLOURS[:2]]
    assert legend(figure) == ["with batch norm", "without batch norm"]


def test_sixteen_values_are_four_rows_of_four(make_grid):
    """The panel of 16 scales is square, and by itself takes the longest dimension."""
    space = {
        "batch_norm": {"choices": [True, False]},
        "learning_rate": {"choices": [round(0.01 * n, 2) for n in range(1, 17)]},
    }
    figure = panels(make_grid(space))
    assert len(figure.axes) == 16
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (4, 4)


def test_a_diverged_trial_is_counted_in_its_panel(make_grid):
    """The axes of its value says that one diverged, and marks where."""
    figure = panels(make_grid(changed={1: DIVERGED}, report={"panel": "learning_rate"}))
    assert titles(figure)[0] == "learning rate 0.1 (1 diverged)"
    assert figure.axes[0].get_lines()[-1].get_marker() == "x"


def test_of_many_trials_in_panels_the_best_five_have_names(make_mixed):
    """100 rates under two activations: five names and one for the others, and no warning."""
    material = make_mixed(100)
    for number, figure in ((1, panels(material)), (2, accuracy_curves(panelled(material)))):
        assert [len(ax.get_lines()) for ax in figure.axes] == [50 * number, 50 * number]
        names = [text for text in legend(figure) if text.startswith("learning rate")]
        assert names == [f"learning rate {0.00199 - n * 1e-5:.3g}" for n in range(5)]
        assert legend(figure)[-1] == "95 other trials"
        greys = [line for ax in figure.axes for line in ax.get_lines() if is_grey(line)]
        assert len(greys) == 95 * number
        with warnings.catch_warnings(action="error"):
            png(figure)
        key = figure.legends[0].get_window_extent()
        assert figure.bbox.x0 <= key.x0 < key.x1 <= figure.bbox.x1


def panelled(material):
    """The same study with `panel` set, as accuracy curves want it."""
    report = material.spec.report.model_copy(update={"panel": "activation"})
    return replace(material, spec=material.spec.model_copy(update={"report": report}))


def is_grey(line):
    return to_hex(line.get_color()) == to_hex(OTHERS["color"])


def test_a_few_trials_in_panels_all_have_names(make_mixed):
    """Seven trials have seven colours, in panels as in accuracy curves."""
    for figure in (panels(make_mixed(7)), accuracy_curves(panelled(make_mixed(7)))):
        assert sum(text.startswith("learning rate") for text in legend(figure)) == 7
        assert "other" not in " ".join(legend(figure))


def test_panels_of_a_range_cannot_be_drawn(make_search):
    """A dimension that is a range has no values to put side by side; the reason says so."""
    with pytest.raises(CannotDrawError, match="no dimension has choices"):
        panels(make_search(3))
    with pytest.raises(CannotDrawError, match="weight_decay is a range"):
        panels(make_search(3, report={"panel": "weight_decay"}))


# ------------------------------------------------------------------------ layers


def test_layers_are_columns_and_trials_are_rows(make_grid, layer):
    """Two diagnosed trials of three layers are six histograms with their figures in the title."""
    measured = [layer(1), layer(2, mean=0.25, dead=0.5), layer(3, dead=0.0, saturated=None)]
    diagnosed = {"diagnoses": [{"step": 0, "layers": measured}]}
    figure = layers(make_grid(changed={0: diagnosed, 5: diagnosed}))
    assert len(figure.axes) == 6
    assert titles(figure)[:3] == [
        "layer 1: 0.5 ± 0.25\n12 % saturated",
        "layer 2: 0.25 ± 0.25\n50 % dead\n12 % saturated",
        "layer 3: 0.5 ± 0.25\n0 % dead",
    ]
    assert "learning rate 0.1" in figure.axes[0].get_ylabel()
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert sum(heights) == pytest.approx(1)


@pytest.mark.parametrize(
    ("steps", "labels"),
    [
        ((0, 3), ["untrained: learning rate 0.1, with batch norm", "epoch 3: learning rate 0.1,"]),
        ((0,), ["learning rate 0.1, with batch norm"]),
        ((3,), ["epoch 3: learning rate 0.1, with batch norm"]),
    ],
)
def test_each_diagnosed_step_is_a_row(make_grid, layer, steps, labels):
    """A row's label begins with its epoch, which is never what is cut off; 0 is untrained."""
    found = {"diagnoses": [{"step": step, "layers": [layer(1)]} for step in steps]}
    shown = [label_of_row(ax) for ax in layers(make_grid(changed={0: found})).axes]
    assert len(shown) == len(steps)
    assert all(text.startswith(label) for text, label in zip(shown, labels, strict=True))


def label_of_row(ax):
    return ax.get_ylabel().replace("\n", " ")


def test_of_many_diagnosed_trials_the_best_are_rows(make_search, layer):
    """20 trials of 5 steps: the best two, all their rows together, and a row as high as ever."""
    steps = [{"step": step, "layers": [layer(1)]} for step in range(5)]
    material = make_search(20)
    trials = tuple(replace(trial, diagnoses=tuple(steps)) for trial in material.trials)
    figure = layers(replace(material, trials=trials))
    assert [label_of_row(ax)[:11] for ax in figure.axes] == [
        *("untrained: ", "epoch 1: le", "epoch 2: le", "epoch 3: le", "epoch 4: le"),
    ] * 2
    assert ["0.00119" in label_of_row(ax) for ax in figure.axes] == [True] * 5 + [False] * 5
    assert all("0.00118" in label_of_row(ax) for ax in figure.axes[5:])
    assert figure.get_suptitle().replace("\n", " ").endswith("best 2 of 20 trials")
    assert figure.get_figheight() == pytest.approx(10 * 1.9 + 0.8)


def test_a_trial_of_too_many_steps_shows_the_first(make_grid, layer):
    """20 diagnoses of one trial are 12 rows, and the title says so."""
    steps = [{"step": step, "layers": [layer(1)]} for step in range(20)]
    figure = layers(make_grid(changed={0: {"diagnoses": steps}}))
    assert len(figure.axes) == 12
    assert "first 12 of 20 steps" in figure.get_suptitle().replace("\n", " ")


def test_layers_that_are_not_finite_are_said_to_be(make_grid, layer):
    """A layer without finite activations has a title and no bars."""
    lost = layer(2, mean=None, std=None, histogram=None)
    broken = {"diagnoses": [{"step": 0, "layers": [layer(1), lost]}]}
    figure = layers(make_grid(changed={0: broken}))
    assert titles(figure)[1].startswith("layer 2: not finite")
    assert not figure.axes[1].patches


def test_the_output_layer_is_no_column(make_grid, layer):
    """What goes into the softmax is no activation: it would stretch the axis of all others."""
    measured = [
        layer(1),
        layer(2, activation=None, histogram={"low": -9, "high": 9, "counts": [1]}),
    ]
    figure = layers(make_grid(changed={0: {"diagnoses": [{"step": 0, "layers": measured}]}}))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_xlim() == (0, 1)
    with pytest.raises(CannotDrawError, match="hidden layers"):
        layers(make_grid(changed={0: {"diagnoses": [{"step": 0, "layers": measured[1:]}]}}))


def test_without_a_diagnosis_the_key_is_named(make_grid):
    """Nothing to draw is answered by the key that asks for it."""
    with pytest.raises(CannotDrawError, match="diagnose asks for it"):
        layers(make_grid())


def test_a_dead_layer_does_not_stretch_its_row(make_grid, layer):
    """Beside outputs of up to 0.01 a layer of zeros, or of 0.01, is one whole bar in that range."""
    live = {"low": 0.0, "high": 0.01, "counts": [1] * 30}
    constants = [{"low": v, "high": v, "counts": [30] + [0] * 29} for v in (0.0, 0.01)]
    measured = [layer(n, histogram=h) for n, h in enumerate([live, *constants], start=1)]
    figure = layers(make_grid(changed={0: {"diagnoses": [{"step": 0, "layers": measured}]}}))
    assert figure.axes[0].get_xlim() == (0, 0.01)
    heights = [[bar.get_height() for bar in ax.patches] for ax in figure.axes]
    assert heights[1] == pytest.approx([1] + [0] * 29)
    assert heights[2] == pytest.approx([0] * 29 + [1])


@pytest.mark.parametrize(
    ("histogram", "shares"),
    [
        ({"low": 0.0, "high": 4.0, "counts": [1, 1, 1, 1]}, [0.25, 0.25, 0.25, 0.25]),
        ({"low": 0.0, "high": 2.0, "counts": [3, 1]}, [0.75, 0.25, 0.0, 0.0]),
        ({"low": 1.0, "high": 1.5, "counts": [5, 5]}, [0.0, 1.0, 0.0, 0.0]),
        ({"low": 0.0, "high": 4.0, "counts": [1]}, [0.25, 0.25, 0.25, 0.25]),
        ({"low": 0.0, "high": 0.0, "counts": [7]}, [1.0, 0.0, 0.0, 0.0]),
        ({"low": 2.5, "high": 2.5, "counts": [7, 0, 0]}, [0.0, 0.0, 1.0, 0.0]),
        ({"low": 4.0, "high": 4.0, "counts": [7, 0, 0]}, [0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_layers_of_a_row_share_their_bars(histogram, shares):
    """A histogram is laid on the row's bars with nothing lost, however narrow it is."""
    assert rebinned(histogram, 0.0, 4.0, 4) == pytest.approx(shares)


# ------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_no_figure_breaks_on_an_empty_study(name, make_spec):
    """Before any trial is finished each figure has a reason instead of a picture."""
    drawings = draw(Material.of(make_spec(), []), [name])
    assert drawings.files == {}
    assert set(drawings.missing) == {name}


def test_one_figure_keeps_no_other_back(make_grid):
    """What can be drawn is drawn; what cannot has its reason."""
    drawings = draw(make_grid(), ["layers", "loss-curves", "table"])
    assert list(drawings.files) == ["loss-curves.png", "table.md"]
    assert list(drawings.missing) == ["layers"]
    assert drawings.files["loss-curves.png"].startswith(b"\x89PNG")


def test_the_same_study_gives_the_same_bytes(make_grid):
    """A picture holds no date and no version: drawn again it is the same file."""
    pictures = ["accuracy-curves", "panels"]
    assert draw(make_grid(), pictures) == draw(make_grid(), pictures)


def test_the_house_style_stays_in_the_house(make_grid):
    """Drawing leaves matplotlib's settings, the user's own, as they were."""
    before = dict(mpl.rcParams)
    with house_style():
        png(loss_curves(make_grid()))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", "short"),
        ("learning rate 0.1, weight decay 2", "learning rate 0.1,\nweight decay 2"),
        ("a, hidden [100, 100, 100]", "a,\nhidden [100, 100,\n100]"),
        ("a, b, c, d", "a, b, c, d"),
    ],
)
def test_long_labels_are_folded_after_commas(text, lines):
    """Lines of about 20 characters, broken where one value ends and the next begins."""
    assert folded(text, 20) == lines


# -------------------------------------------------------------------- control arm


@pytest.fixture
def make_controlled(make_spec, make_trial):
    """Builds the material of a search of 2 rounds of 2 trials, and of its control arm."""

    def make(searched, controlled):
        def trials(scores, **changes):
            values = {"learning_rate": 1e-3, "weight_decay": 1e-6}
            return [make_trial(n, values, score=s, **changes) for n, s in enumerate(scores)]

        repeat = make_trial(4, {}, purpose="control", round=2, score=1.0)
        documents = [*trials(controlled, purpose="control"), *trials(searched), repeat]
        spec = make_spec(search={"rounds": 2, "trials": 2, "control": "random"})
        return Material.of(spec, documents)

    return make


def test_control_shows_the_best_of_both_so_far(make_controlled):
    """A step wherever the best score rises; repeats of the control's best are left out."""
    material = make_controlled([0.5, 0.4, 0.7, 0.6], [0.3, 0.8, 0.2, 0.1])
    figure = control(material)
    searched, controlled, border = figure.axes[0].get_lines()
    assert points(searched) == ([1, 2, 3, 4], [0.5, 0.5, 0.7, 0.7])
    assert points(controlled) == ([1, 2, 3, 4], [0.3, 0.8, 0.8, 0.8])
    assert points(border)[0] == [2, 2]
    assert legend(figure) == [
        "search",
        "control: random, without narrowing",
        "next round of the search",
    ]


def test_control_begins_where_there_is_a_score(make_controlled):
    """Trials without a score count as trials and change nothing; what is to come is said."""
    figure = control(make_controlled([None, 0.4, 0.3, 0.5], [None, None, 0.2]))
    searched, controlled, _ = figure.axes[0].get_lines()
    assert points(searched) == ([2, 3, 4], [0.4, 0.4, 0.5])
    assert points(controlled) == ([3], [0.2])
    assert legend(figure)[1].endswith("(3 of 4 trials so far)")


def test_control_needs_a_control_arm_with_a_score(make_search, make_controlled):
    """One line says what is missing."""
    with pytest.raises(
        CannotDrawError, match="no control arm; `hpsearch start FILE --control random"
    ):
        control(make_search(3))
    for found in ([], [None, None]):
        with pytest.raises(CannotDrawError, match="no trial of the control arm has a score"):
            control(make_controlled([0.5], found))


def test_a_study_with_a_control_arm_draws_it_unasked(make_spec):
    """Beside the figure that it would draw without."""
    search = {"rounds": 1, "trials": 2}
    without = make_spec(search=search).figures
    assert make_spec(search=search | {"control": "tpe"}).figures == (*without, "control")
