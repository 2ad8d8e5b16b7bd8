"""The study file: what it may say, what becomes of it, and what is said about mistakes."""

from __future__ import annotations

import datetime as dt
import json
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpsearch.catalog import shipped_studies
from hpsearch.errors import StudyFileError
from hpsearch.settings import Constant, Normal
from hpsearch.space import Choices, Interval
from hpsearch.study import StudySpec
from hpsearch.study_file import load_study, overridden, parse_study

GOOD = """
name = "good"
seed = 7
[data]
source = "digits"
split = { train = 0.6, validation = 0.2, test = 0.2 }
limit = 500
[model]
hidden = [50]
activation = "relu"
initializer = "he"
[training]
optimizer = "adam"
epochs = 10
batch_size = 32
[space]
learning_rate = { low = 1e-6, high = 1e-2, scale = "log" }
[search]
rounds = 3
trials = 100
sampler = "sobol"
seeds = "common"
[confirmation]
finalists = 5
seeds = 4
"""

# What to replace in the good study, by what, and the one line that must be said about it.
MISTAKES = [
    ("seed = 7", "seed = -1", "seed = -1: must be 0 or more"),
    ("seed = 7", "seed = 2147483648", "seed = 2147483648: must be below 2147483648"),
    ("seed = 7", "seed = true", "seed = true: expected a number"),
    ("seed = 7", 'seed = "7"', 'seed = "7": expected a number'),
    ("seed = 7", "seed = 2026-11-21", "seed = datetime.date(2026, 11, 21): must be a whole number"),
    (
        "seed = 7",
        "seed = 0x1" + 5000 * "0",
        "seed: must be a whole number of at most 64 bits",
    ),
    (
        'name = "good"',
        "",
        'name: missing; write name = "my-study" at the top',
    ),
    (
        'name = "good"',
        'name = "a/b"',
        'name = "a/b": a name starts with a letter or digit and has at most 100 letters',
    ),
    ('name = "good"', "name = 3", "name = 3: must be text in quotes"),
    (
        '"digits"',
        '"digit"',
        "[data] source = \"digit\": expected 'digits', 'moons', 'mnist' or 'normal'",
    ),
    ("limit = 500", "classes = 1", "[data] classes = 1: must be 2 or more"),
    ("limit = 500", "random_state = -1", "[data] random_state = -1: must be 0 or more"),
    ("test = 0.2", "test = 0.1", "[data] split: train + validation + test must be 1, got"),
    ("train = 0.6", "train = 1.6", "[data] split.train = 1.6: must be below 1"),
    ("train = 0.6", "trian = 0.6", "[data] split.trian: unknown key; did you mean 'train'?"),
    (
        "validation = 0.2, test = 0.2",
        "validation = 0.4",
        "[data]: digits needs a share of test rows, such as test = 0.2",
    ),
    ('source = "digits"', 'source = "mnist"', "[data]: mnist has test rows of its own"),
    ("limit = 500", "limit = 0", "[data] limit = 0: must be 1 or more"),
    ("limit = 500", 'limit = "all"', '[data] limit = "all": expected a number'),
    ("limit = 500", "limit = { first = 0 }", "[data] limit.first = 0: must be 1 or more"),
    ("limit = 500", "limits = 500", "[data] limits: unknown key; did you mean 'limit'?"),
    ("limit = 500", "int = 500", "[data] int: unknown key; known are source, split, limit"),
    ("limit = 500", '"a\\nb" = 1', '[data] "a\\nb": unknown key; known are source'),
    ("limit = 500", "noise = nan", "[data] noise = NaN: must be a finite number"),
    ("hidden = [50]", "hidden = 50", "[model] hidden = 50: must be a list such as [50, 20]"),
    ("hidden = [50]", "hidden = [0]", "[model] hidden.0 = 0: must be 1 or more"),
    ("hidden = [50]", "hidden = [50.5]", "[model] hidden.0 = 50.5: must be a whole number"),
    (
        '"relu"',
        '"rel"',
        "[model] activation = \"rel\": expected 'relu', 'leaky_relu', 'sigmoid' or 'tanh'; did",
    ),
    (
        '"he"',
        '"hee"',
        "[model] initializer = \"hee\": expected 'he', 'xavier' or 'glorot'; did you mean 'he'",
    ),
    ('"he"', "{ normal = 0 }", "[model] initializer.normal = 0: must be above 0"),
    ("epochs = 10", "epochs = -1", "[training] epochs = -1: must be 0 or more"),
    (
        "epochs = 10",
        "epochs = 10\niterations = 9",
        "[training]: write epochs or iterations, not both",
    ),
    (
        "epochs = 10",
        "epochs = 10\nmeasure_every = 9",
        "[training]: measure_every counts iterations",
    ),
    (
        "epochs = 10",
        "epochs = 10\ndiagnose = [11]",
        "[training] diagnose = [11]: nothing is measured",
    ),
    ("epochs = 10", 'epochs = 10\nschedule = "cos"', '[training] schedule = "cos": expected'),
    ("batch_size = 32", 'batch_size = "ful"', '[training] batch_size = "ful": expected a whole'),
    ("batch_size = 32", "draws = { weights = 1 }", "[training] draws.batches"),
    ('"he"', "{ constant = true }", "[model] initializer.constant = true: expected a number"),
    ("epochs = 10", "epoch = 10", "[training] epoch: unknown key; did you mean 'epochs'?"),
    ("epochs = 10", "epochs = 1e30", "[training] epochs = 1e+30: must be 2147483647 or less"),
    ("epochs = 10", "epochs.x.y.z = 10", "[training] epochs = "),
    ("epochs = 10", "epochs" + 50 * ".x" + " = 1", "[training] epochs: nested too deeply"),
    ("batch_size = 32", "momentum = 1", "[training] momentum = 1: must be below 1"),
    ("batch_size = 32", "learning_rate = 0", "[training] learning_rate = 0: must be above 0"),
    ("low = 1e-6", "low = 1e-1", "[space] learning_rate: low must be below high, got low=0.1"),
    ("low = 1e-6", "low = 0.0", "[space] learning_rate: a log range must start above 0, got"),
    (
        "low = 1e-6",
        "limits = [1e-5, 1], low = 1e-6",
        "[space] learning_rate: limits = [1e-05, 1]",
    ),
    ("low = 1e-6", "limits = [0, 1], low = 1e-6", "[space] learning_rate: limits = [0, 1]: a log"),
    ("low = 1e-6", "limits = [1e-7], low = 1e-6", "[space] learning_rate.limits = [1e-07]: write"),
    ("low = 1e-6", "limits = 1.0, low = 1e-6", "[space] learning_rate.limits = 1.0: write limits"),
    ("low = 1e-6", "min = 1e-6", "[space] learning_rate.min: unknown key"),
    (
        'sampler = "sobol"',
        'waves = 3\nsampler = "sobol"',
        '[search] waves = 3: only sampler = "auto" plans a round in parts',
    ),
    ("low = 1e-6, ", "", "[space] learning_rate.low: is missing"),
    ("low = 1e-6", 'low = "a"', '[space] learning_rate.low = "a": expected a number'),
    ("low = 1e-6", "lwo = 1e-6, low = 1e-5", "[space] learning_rate.lwo: unknown key; did you"),
    (
        '"log"',
        '"lg"',
        "[space] learning_rate.scale = \"lg\": expected 'linear' or 'log'; did you mean 'log'",
    ),
    ("learning_rate = {", "lerning_rate = {", "[space] lerning_rate: unknown dimension; did you"),
    (
        "learning_rate = { low = 1e-6, high = 1e-2",
        "momentum = { low = 1e-6, high = 1",
        "[space] momentum: 1.0: must be below 1",
    ),
    (
        '{ low = 1e-6, high = 1e-2, scale = "log" }',
        "0.1",
        "[space] learning_rate = 0.1: write a range { low = ..., high = ... } or { choices",
    ),
    (
        '{ low = 1e-6, high = 1e-2, scale = "log" }',
        "{ choices = [] }",
        "[space] learning_rate: choices must not be empty",
    ),
    (
        '{ low = 1e-6, high = 1e-2, scale = "log" }',
        "{ choices = [1, 1.0] }",
        "[space] learning_rate: choices must differ from each other, got [1, 1.0]",
    ),
    (
        '{ low = 1e-6, high = 1e-2, scale = "log" }',
        "{ choices = [0.1, 0] }",
        "[space] learning_rate: 0: must be above 0",
    ),
    (
        '{ low = 1e-6, high = 1e-2, scale = "log" }',
        "{ choices = [0.1], low = 1 }",
        "[space] learning_rate.low: unknown key; known are choices",
    ),
    (
        'learning_rate = { low = 1e-6, high = 1e-2, scale = "log" }',
        "epochs = { low = 1.5, high = 3 }",
        "[space] epochs: low and high must be whole numbers, got low=1.5",
    ),
    (
        'learning_rate = { low = 1e-6, high = 1e-2, scale = "log" }',
        "epochs = { choices = [2026-11-21] }",
        "[space] epochs: a choice is a string, a number, true, false, a list or a table, got",
    ),
    (
        'learning_rate = { low = 1e-6, high = 1e-2, scale = "log" }',
        "",
        "[space] name at least one dimension, such as learning_rate",
    ),
    ("rounds = 3", "rounds = 0", "[search] rounds = 0: must be 1 or more"),
    ("trials = 100", "trials = 1.5", "[search] trials = 1.5: must be a whole number"),
    ('"sobol"', '"sobl"', "[search] sampler = \"sobl\": expected 'auto', 'sobol', 'random'"),
    ('"common"', '"fresch"', "[search] seeds = \"fresch\": expected 'common', 'blocks' or 'fresh'"),
    ("finalists = 5", "finalists = -1", "[confirmation] finalists = -1: must be 0 or more"),
    (
        "split = { train = 0.6, validation = 0.2, test = 0.2 }",
        'split = "al"',
        "[data] split = \"al\": expected 'all'; did you mean 'all'?",
    ),
    (
        "split = { train = 0.6, validation = 0.2, test = 0.2 }",
        'split = "all"',
        (
            '[data] split = "all": nothing is held out, so the best score only says who fits the '
            'training rows best; write sampler = "grid" and finalists = 0 to compare'
        ),
    ),
    ("seeds = 4", "seed = 4", "[confirmation] seed: unknown key; did you mean 'seeds'?"),
    ("[search]", "[serch]", "serch: unknown key; did you mean 'search'?"),
    ("seed = 7", "seed = ", "not a TOML file: Invalid value (at line 3"),
    ("seed = 7", "seed = " + 5000 * "1", "not a TOML file: Exceeds the limit"),
    ("seed = 7", "seed = " + 5000 * "[", "nested too deeply"),
    ("[confirmation]", "[report]\nfigure = []\n[confirmation]", "[report] figure: unknown key"),
    ("[confirmation]", "[report]\nsmooth = 0\n[confirmation]", "[report] smooth = 0: must be 1"),
    ("[confirmation]", "[report]\nfigures = []\n[confirmation]", "[report] figures = []: name at"),
    (
        "[confirmation]",
        '[report]\nfigures = ["loss-curve"]\n[confirmation]',
        "[report] figures.0 = \"loss-curve\": expected 'funnel'",
    ),
    (
        "[confirmation]",
        '[report]\npanel = "learning_rat"\n[confirmation]',
        '[report]: panel = "learning_rat": no dimension of [space]; did you mean',
    ),
    (
        "[confirmation]",
        "[report.published]\na = { cots = 1 }\n[confirmation]",
        "[report] published.a.cots: unknown key; did you mean 'cost'?",
    ),
]


# Choices that are tables, and the one line that must be said about them.
TABLE_MISTAKES = [
    (
        'optimizer = { choices = ["sgd", { name = "adam", learning_rat = 0.1 }] }',
        "optimizer.choices.1.learning_rat: unknown key; did you mean 'learning_rate'?",
    ),
    (
        'optimizer = { choices = [{ name = "adam", learning_rate = -0.1 }] }',
        "optimizer.choices.0.learning_rate = -0.1: must be above 0",
    ),
    (
        'optimizer = { choices = [{ name = "adan" }] }',
        "optimizer.choices.0.name = \"adan\": expected 'sgd', ",
    ),
    (
        "optimizer = { choices = [{ learning_rate = 0.1 }] }",
        'optimizer.choices.0 = {"learning_rate": 0.1}: say which optimizer as name: { name = ',
    ),
    (
        'optimizer = { choices = [{ name = "adam", optimizer = "sgd" }] }',
        'optimizer.choices.0.optimizer = "sgd": write name for the optimizer itself',
    ),
    (
        (
            'optimizer = { choices = [{ name = "adam", momentum = 0.5 }] }\n'
            "momentum = { low = 0.1, high = 0.9 }"
        ),
        "optimizer.choices.0.momentum = 0.5: momentum is a dimension of its own; remove one of the",
    ),
    (
        (
            'optimizer = { choices = [{ name = "adam", momentum = 0.5 }] }\n'
            'activation = { choices = ["tanh", { name = "relu", momentum = 0.9 }] }'
        ),
        "activation.choices.1.momentum = 0.9: optimizer brings momentum along too; remove one of",
    ),
    (
        "initializer = { choices = [{ normal = 0 }] }",
        "initializer.choices.0.normal = 0: must be above 0",
    ),
    (
        'activation = { choices = [{ name = "relu", initializer = { norml = 1 } }] }',
        "activation.choices.0.initializer.norml: unknown key; did you mean 'normal'?",
    ),
    (
        'optimizer = { choices = [{ name = "adam", l2 = 0 }, { l2 = 0, name = "adam" }] }',
        "optimizer: choices must differ from each other, got",
    ),
    ("optimizer = { choices = [{}] }", "optimizer: a table needs at least one entry, got {}"),
    (
        (
            "epochs = { choices = [5, 10] }\nactivation = { choices = ['tanh', "
            "{ name = 'relu', iterations = 5 }] }"
        ),
        'epochs = 5, activation = {"name": "relu", "iterations": 5}: write epochs or iterations',
    ),
    (
        "batch_norm = { choices = [false, true] }\nbatch_size = { low = 1, high = 9 }",
        "batch_norm = true, batch_size = 1: batch_norm needs batches of 2 rows or more",
    ),
]


GRID = """
name = "grid"
[space]
optimizer = { choices = ["sgd", "adam", "momentum"] }
hidden = { choices = [[5], [50]] }
[search]
sampler = "grid"
"""
GRID_MISTAKES = [
    (
        "hidden = { choices = [[5], [50]] }",
        'l2 = { low = 1e-3, high = 1, scale = "log" }',
        (
            '[space] l2 = {"low": 0.001, "high": 1.0, "scale": "log"}: '
            "a grid takes values one by one: write l2 = { choices = [...] }"
        ),
    ),
    (
        "[search]",
        "[search]\ntrials = 5",
        "[search] trials = 5: [space] has 6 combinations; write trials = 6, or leave it out",
    ),
    (
        "[search]",
        '[search]\ndiscard = "auto"',
        (
            '[search] discard = "auto": a grid compares what was written down, all of it to its '
            "end; leave discard out"
        ),
    ),
    (
        "[search]",
        "[search]\nrounds = 3",
        "[search] rounds = 3: a grid has one round; leave rounds out",
    ),
    (
        "[search]",
        '[data]\nsplit = "all"\n[search]',
        (
            '[data] split = "all": nothing is held out, so the best score only says who fits the '
            'training rows best; write sampler = "grid" and finalists = 0 to compare'
        ),
    ),
    (
        "[[5], [50]]",
        str([[n] for n in range(1, 40_000)]),
        "[space]: 119997 combinations; a grid has at most 100000",
    ),
]


def problems_of(text: str) -> list[str]:
    """What is said about a study file that cannot be used."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "study.toml")
    return caught.value.problems


def changed(old: str, new: str) -> str:
    """The good study with one thing replaced."""
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1)


# -------------------------------------------------------------------- good files


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_shipped_study_parses(name):
    """The studies that ship are valid, named after folder and file, and survive JSON."""
    spec = load_study(shipped_studies()[name])
    assert spec.name == name.replace("/", "-")
    assert StudySpec.from_document(json.loads(json.dumps(spec.document()))) == spec


def test_a_name_and_a_space_are_enough():
    """Everything but the name and the space has a default."""
    spec = parse_study('name = "a"\n[space]\nl2 = { low = 0, high = 1 }', "study.toml")
    assert (spec.seed, spec.rounds, spec.trials, spec.search.sampler) == (
        0,
        3,
        100,
        "auto",
    )
    assert spec.planned_trials == 300
    assert spec.data.shares.model_dump() == {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_mnist_brings_its_own_test_rows():
    """Without a split, mnist is shared 80 to 20 and other sources 60 to 20 to 20."""
    text = 'name = "a"\n[data]\nsource = "mnist"\n[space]\nl2 = { low = 0, high = 1 }'
    shares = parse_study(text, "study.toml").data.shares
    assert (shares.train, shares.validation, shares.test) == (0.8, 0.2, 0.0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("learning_rate = { low = 1, high = 2 }", Interval(1.0, 2.0, "linear")),
        ('epochs = { low = 1, high = 100, scale = "log" }', Interval(1, 100, "log", integer=True)),
        ("batch_size = { low = 8.0, high = 9.0 }", Interval(8, 9, "linear", integer=True)),
        ('activation = { choices = ["relu", "tanh"] }', Choices(("relu", "tanh"))),
        ("hidden = { choices = [[], [50], [50, 20]] }", Choices(((), (50,), (50, 20)))),
        ("batch_size = { choices = [16, 32] }", Choices((16, 32))),
    ],
)
def test_a_line_of_the_space_becomes_a_range(line, expected):
    """Ranges are whole numbers where their key is one; a list may be a choice."""
    spec = parse_study(f'name = "a"\n[space]\n{line}', "study.toml")
    (dimension,) = spec.space.dimensions
    assert dimension.range == expected
    assert type(getattr(dimension.range, "low", None)) is type(getattr(expected, "low", None))


# ---------------------------------------------------------- settings of one trial


def test_a_trials_values_replace_those_of_the_file():
    """`settings` puts a trial's values over [model] and [training] and leaves the rest."""
    text = """
    name = "a"
    [model]
    initializer = { normal = 0.01 }
    [training]
    epochs = 7
    learning_rate = 0.5
    [space]
    learning_rate = { low = 1e-6, high = 1e-2, scale = "log" }
    hidden = { choices = [[50], [50, 20]] }
    """
    spec = parse_study(text, "study.toml")
    trial = spec.settings({"learning_rate": 0.25, "hidden": (50, 20)})
    assert trial.training.learning_rate == 0.25
    assert trial.model.hidden == (50, 20)
    assert trial.training.epochs == 7
    assert trial.model.initializer == Normal(normal=0.01)
    assert spec.settings({}).training.learning_rate == 0.5


def test_a_table_brings_keys_along():
    """A choice that is a table sets its own key and others, whatever the file says of those."""
    text = """
    name = "a"
    [training]
    learning_rate = 0.5
    [space]
    optimizer = { choices = ["sgd", { name = "adam", learning_rate = 0.001, epochs = 3 }] }
    activation = { choices = [{ name = "sigmoid", initializer = { normal = 1.0 } }, "relu"] }
    """
    spec = parse_study(text, "study.toml")
    (sgd, adam), (sigmoid, relu) = (d.range.options for d in spec.space.dimensions)
    trial = spec.settings({"optimizer": adam, "activation": sigmoid})
    assert (trial.training.optimizer, trial.training.learning_rate) == ("adam", 0.001)
    assert (trial.training.epochs, trial.model.initializer) == (3, Normal(normal=1.0))
    assert trial.model.activation == "sigmoid"
    trial = spec.settings({"optimizer": sgd, "activation": relu})
    assert (trial.training.learning_rate, trial.training.epochs) == (0.5, None)
    assert trial.model.initializer == "he"


def test_a_table_without_a_name_is_the_keys_own_value():
    """A key that accepts a table may have one among its choices."""
    line = 'initializer = { choices = ["he", { normal = 0.01 }, { constant = 0.0 }] }'
    spec = parse_study(f'name = "a"\n[space]\n{line}', "study.toml")
    (dimension,) = spec.space.dimensions
    tried = [spec.settings({"initializer": o}).model.initializer for o in dimension.range.options]
    assert tried == ["he", Normal(normal=0.01), Constant(constant=0.0)]
    assert StudySpec.from_document(json.loads(json.dumps(spec.document()))) == spec


def test_a_changed_table_is_a_difference():
    """The line about choices that differ shows the tables of both."""
    text = 'name = "a"\n[space]\noptimizer = {{ choices = [{{ name = "adam", l2 = {} }}] }}'
    one, other = (parse_study(text.format(l2), "study.toml") for l2 in (0.1, 0.2))
    assert one.differences(other) == [
        (
            '[space] optimizer.choices: [{"name": "adam", "l2": 0.1}] here, '
            '[{"name": "adam", "l2": 0.2}] there'
        )
    ]


def test_a_value_no_key_accepts_is_refused():
    """`settings` checks a trial's values as the file's own are checked."""
    spec = parse_study(GOOD, "study.toml")
    with pytest.raises(ValueError, match="greater than 0"):
        spec.settings({"learning_rate": -1.0})


# -------------------------------------------------------- differences, overrides


def test_differences_name_each_changed_key():
    """Every key that differs is one line, with both values."""
    other = parse_study(
        GOOD.replace("trials = 100", "trials = 50")
        .replace("high = 1e-2", "high = 1e-1")
        .replace("limit = 500", ""),
        "study.toml",
    )
    assert parse_study(GOOD, "study.toml").differences(other) == [
        "[data] limit: 500 here, null there",
        "[search] trials: 100 here, 50 there",
        "[space] learning_rate.high: 0.01 here, 0.1 there",
    ]


def test_a_dimension_more_or_less_is_a_difference():
    """A dimension that only one of two studies has is named."""
    more = GOOD.replace("[search]", "beta1 = { low = 0.5, high = 0.9 }\n[search]")
    (line,) = parse_study(more, "study.toml").differences(parse_study(GOOD, "study.toml"))
    assert line.startswith("[space] beta1: {")
    assert line.endswith("here, null there")


def test_comments_order_and_defaults_are_no_difference():
    """A file that says the same in other words is the same study."""
    other = "# note\n" + GOOD.replace("[confirmation]", "[confirmation] # note")
    other = other.replace("epochs = 10\nbatch_size = 32", "batch_size = 32.0\nepochs = 10")
    other = other.replace("initializer", "# initializer")
    assert parse_study(other, "b.toml").differences(parse_study(GOOD, "a.toml")) == []
    shorter = GOOD.replace("rounds = 3", "").replace("trials = 100", "")
    assert parse_study(shorter, "b.toml").differences(parse_study(GOOD, "a.toml")) == []


def test_the_report_is_no_difference():
    """Another [report] changes no result, so it keeps no study from going on."""
    other = GOOD + '[report]\nfigures = ["table"]\nsmooth = 3\n'
    assert parse_study(other, "b.toml").differences(parse_study(GOOD, "a.toml")) == []


SEARCH_FIGURES = ("funnel", "best-trials", "progress", "finalists")


@pytest.mark.parametrize(
    ("tail", "figures"),
    [
        ("", SEARCH_FIGURES),
        ('[report]\nfigures = ["table", "panels"]', ("table", "panels")),
        ("[report]\nsmooth = 3", SEARCH_FIGURES),
    ],
)
def test_a_study_chooses_its_figures(tail, figures):
    """The figures of the file, else those that show a study of its kind best."""
    assert parse_study(GOOD + tail, "study.toml").figures == figures


def test_an_untrained_network_is_shown_by_its_layers():
    """With epochs = 0 there are no curves to draw."""
    text = GOOD.replace("epochs = 10", "epochs = 0\ndiagnose = [0]")
    assert parse_study(text, "study.toml").figures == ("layers",)


def test_options_of_the_command_line_replace_the_files_values():
    """`overridden` puts given options in and leaves the others as they are."""
    spec = parse_study(GOOD, "study.toml")
    assert overridden(spec) == spec
    assert overridden(spec, rounds=None, trials=None) == spec
    new = overridden(spec, name="b", seed=1, rounds=2, trials=9)
    assert (new.name, new.seed, new.rounds, new.trials) == ("b", 1, 2, 9)
    assert new.space == spec.space
    assert (new.data, new.model, new.training) == (spec.data, spec.model, spec.training)


@pytest.mark.parametrize("written", ["", "rounds = 1", "trials = 6", "rounds = 1\ntrials = 6"])
def test_a_grid_has_all_combinations_in_one_round(written):
    """Rounds and trials follow from the choices, and writing them out changes nothing."""
    spec = parse_study(GRID + written, "study.toml")
    assert (spec.rounds, spec.trials, spec.planned_trials) == (1, 6, 6)
    assert spec.differences(parse_study(GRID, "study.toml")) == []
    assert StudySpec.from_document(json.loads(json.dumps(spec.document()))) == spec
    assert overridden(spec, rounds=1, trials=6, seed=1).planned_trials == 6


def test_a_comparison_may_hold_nothing_out():
    """A grid that confirms nothing may train and score on all rows, and says so in JSON."""
    text = GRID + '[confirmation]\nfinalists = 0\n[data]\nsplit = "all"'
    spec = parse_study(text, "study.toml")
    assert (spec.holds_out, spec.confirms, spec.data.shares) == (False, False, None)
    assert StudySpec.from_document(json.loads(json.dumps(spec.document()))) == spec
    confirmed = parse_study(GRID, "study.toml")
    assert (confirmed.holds_out, confirmed.confirms) == (True, True)
    lines = spec.differences(confirmed)
    assert lines == [
        '[data] split: "all" here, {"train": 0.6, "validation": 0.2, "test": 0.2} there',
        "[confirmation] finalists: 0 here, 10 there",
    ]


def test_options_must_fit_a_grid():
    """Rounds and trials of the command line are checked as the file's are."""
    spec = parse_study(GRID, "study.toml")
    with pytest.raises(StudyFileError) as caught:
        overridden(spec, rounds=2, trials=7)
    assert caught.value.problems == [
        "options: [search] rounds = 2: a grid has one round; leave rounds out",
        (
            "options: [search] trials = 7: [space] has 6 combinations; write trials = 6, "
            "or leave it out"
        ),
    ]


def test_a_bad_option_is_one_line():
    """`overridden` names the option's key and value."""
    with pytest.raises(StudyFileError) as caught:
        overridden(parse_study(GOOD, "study.toml"), trials=0)
    assert caught.value.problems == ["options: [search] trials = 0: must be 1 or more"]


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES)
def test_a_mistake_is_one_line(old, new, line):
    """Every mistake is one line that names file, key and value."""
    (said,) = problems_of(changed(old, new))
    assert "\n" not in said
    assert said.startswith(f"study.toml: {line}")


@pytest.mark.parametrize(("old", "new", "line"), GRID_MISTAKES)
def test_a_mistake_in_a_grid_is_one_line(old, new, line):
    """What a grid cannot have is named with what to write instead."""
    assert old in GRID
    (said,) = problems_of(GRID.replace(old, new, 1))
    assert said == f"study.toml: {line}"


@pytest.mark.parametrize(("lines", "expected"), TABLE_MISTAKES)
def test_a_mistake_in_a_table_is_one_line(lines, expected):
    """What a choice brings along is checked as if it stood in the file, and with the others."""
    (said,) = problems_of(f'name = "a"\n[space]\n{lines}')
    assert said.startswith(f"study.toml: [space] {expected}")


def test_every_mistake_has_its_line():
    """Mistakes in several tables, in one table and in one dimension each are all listed."""
    text = """
    name = "a/b"
    sede = 1
    [data]
    split = { train = 2, validation = "x" }
    [model]
    hidden = [0, -1]
    [space]
    lr = { low = 1, high = 2 }
    epochs = { low = 3, high = 2 }
    momentum = { low = 0, high = 1 }
    learning_rate = { low = 1e-3, high = 1e-2 }
    """
    said = problems_of(text)
    places = [line.removeprefix("study.toml: ").split(" = ")[0].split(": ")[0] for line in said]
    assert places == [
        "name",
        "[data] split.train",
        "[data] split.validation",
        "[model] hidden.0",
        "[model] hidden.1",
        "[space] lr",
        "[space] epochs",
        "[space] momentum",
        "sede",
    ]


def test_an_empty_file_says_what_is_needed():
    """Nothing at all lacks a name and a space."""
    assert len(problems_of("")) == 2


# ------------------------------------------------------------------- generated

NUMBERS = {
    "learning_rate": st.floats(1e-12, 10),
    "weight_decay": st.floats(0, 1),
    "l2": st.floats(0, 1),
    "l1": st.floats(0, 1),
    "linf": st.floats(0, 1),
}
COUNTS = {"epochs": st.integers(1, 10_000), "batch_size": st.integers(1, 10_000)}
CHOICES = {
    "activation": ["relu", {"name": "sigmoid", "dropout": 0.5}, {"name": "tanh", "dropout": 0.1}],
    "optimizer": ["sgd", {"name": "sgd", "rho": 0.5}, {"name": "adam", "rho": 0.9}],
    "initializer": ["he", "xavier", {"normal": 0.01}, {"constant": 0}],
    "hidden": [[], [5], [50, 20], [100] * 6],
    "batch_size": [8, 16, 32],
    "learning_rate": [0.1, 0.01, 1],
}


def intervals(values):
    """Tables of two different ends on a scale both allow."""
    ends = st.lists(values, min_size=2, max_size=2, unique=True).map(sorted)
    return ends.flatmap(
        lambda pair: st.sampled_from(["linear", "log"] if pair[0] > 0 else ["linear"]).map(
            lambda scale: {"low": pair[0], "high": pair[1], "scale": scale}
        )
    )


def choices(options):
    """Tables with some of the options, in any order."""
    return st.lists(st.sampled_from(options), min_size=1, unique_by=str).map(
        lambda chosen: {"choices": chosen}
    )


@st.composite
def documents(draw):
    """Study files as TOML reads them, all of them valid."""
    ranges = {name: intervals(values) for name, values in (NUMBERS | COUNTS).items()}
    for name, options in CHOICES.items():
        ranges[name] = ranges.get(name, st.nothing()) | choices(options)
    names = draw(st.lists(st.sampled_from(sorted(ranges)), min_size=1, unique=True))
    limit = st.integers(1, 900) | st.builds(lambda n: {"first": n}, st.integers(1, 900))
    initializer = st.sampled_from(["he", "xavier", {"normal": 0.01}])
    return {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        "seed": draw(st.integers(0, 2**31 - 1)),
        "data": draw(st.fixed_dictionaries({}, optional={"limit": limit})),
        "model": draw(st.fixed_dictionaries({}, optional={"initializer": initializer})),
        "training": draw(st.fixed_dictionaries({}, optional=NUMBERS | COUNTS)),
        "space": {name: draw(ranges[name]) for name in names},
        "search": draw(st.fixed_dictionaries({}, optional={"trials": st.integers(1, 1000)})),
    }


@settings(max_examples=200, deadline=None, derandomize=True)
@given(documents())
def test_a_study_survives_json(document):
    """What `document()` says, read back from JSON text, is the same study."""
    spec = parse_study(as_toml(document), "study.toml")
    again = StudySpec.from_document(json.loads(json.dumps(spec.document())))
    assert again == spec
    assert again.document() == spec.document()
    assert again.differences(spec) == []
    middle = spec.space.at([0.5] * len(spec.space.dimensions))
    assert again.settings(middle) == spec.settings(middle)


KEYS = st.sampled_from(
    [
        *["name", "seed", "data", "model", "training", "space", "search", "confirmation"],
        *["source", "split", "limit", "first", "hidden", "initializer", "normal", "train", "test"],
        *["learning_rate", "epochs", "low", "high", "scale", "choices", "trials", "seeds", "int"],
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LEAVES = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["log", "linear", "digits", "mnist", "he", "relu", "sobol", "fresh", "a\nb"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.dates(min_value=dt.date(1900, 1, 1)),
    st.times().map(lambda time: time.replace(microsecond=0)),
)
TABLES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.dictionaries(KEYS, TABLES, max_size=6))
@example({"space": {"hidden": {"choices": [[["a"]]]}}})
@example({"model": {"initializer": {"normal": {"normal": {}}}}})
@example({"data": {"limit": [], "Normal": 1, "FirstRows": {}}})
def test_any_document_is_a_study_or_a_mistake(document):
    """Whatever a TOML file says, it is a study or a StudyFileError with one line a mistake."""
    text = as_toml(document)
    assert tomllib.loads(text).keys() == document.keys()
    check_what_is_said(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(documents(), st.data())
def test_a_study_with_one_thing_replaced_is_a_study_or_a_mistake(document, data):
    """Any value in a valid file may become any other value without another exception."""
    table = data.draw(st.sampled_from([document, *(v for v in document.values() if v == {} or v)]))
    if not isinstance(table, dict):
        table = document
    key = data.draw(st.sampled_from([*table]) | KEYS if table else KEYS)
    table[key] = data.draw(TABLES)
    check_what_is_said(as_toml(document))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_is_a_study_or_a_mistake(text):
    """Text that is no TOML is one line too."""
    check_what_is_said(text)


def check_what_is_said(text: str) -> None:
    """A study, or at least one line about the file; any other exception fails the test."""
    try:
        parse_study(text, "study.toml")
    except StudyFileError as error:
        problems = error.problems
    else:
        return
    assert problems
    for line in problems:
        assert line.startswith("study.toml: ")
        assert len(line.splitlines()) == 1


def as_toml(document: dict) -> str:
    """The document as TOML text: one `key = value` a line, tables inline."""
    return "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in document.items())


def toml_value(value) -> str:
    """One value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return toml_key(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float):
        # TOML has "nan" and "inf", and wants a digit after the point.
        return repr(value)
    return json.dumps(value)


def toml_key(key: str) -> str:
    """A key or string in quotes, every unusual character in TOML's long escape."""
    plain = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./ ")
    return '"' + "".join(c if c in plain else f"\\U{ord(c):08x}" for c in key) + '"'


def test_defaults_of_an_optimizer_written_out_are_no_difference():
    """What the optimizer and the length would make of a key left open may stand there as well."""
    plain = 'name = "a"\n[space]\nl2 = { low = 0, high = 1 }\n[training]\n'
    for optimizer, values in {
        "adam": "learning_rate = 0.001\nweight_decay = 0\nepsilon = 1e-8\nepochs = 10",
        "adamw": "weight_decay = 0.01",
        "adadelta": "learning_rate = 1.0\nrho = 0.95",
    }.items():
        short = parse_study(f'{plain}optimizer = "{optimizer}"', "a.toml")
        long = parse_study(f'{plain}optimizer = "{optimizer}"\n{values}', "b.toml")
        assert short.differences(long) == []
    # Where both are searched a number is not what all of them would have taken.
    both = plain.replace("[training]", 'optimizer = { choices = ["adam", "adadelta"] }\n')
    (line,) = parse_study(f"{both}[training]\nlearning_rate = 0.001", "a.toml").differences(
        parse_study(both, "b.toml")
    )
    assert line == "[training] learning_rate: 0.001 here, null there"


ODD = [
    (
        '[data]\nsource = "moons"\nscaling = "range"\n[space]\nl2 = { low = 0, high = 1 }',
        '[data] scaling = "range": moons has no largest value; write scaling = "standard"',
    ),
    (
        "[training]\ndraws = { weights = 1, batches = 2 }\n[space]\nl2 = { low = 0, high = 1 }",
        "[training] draws: with the same draws every repeat of a finalist is the same",
    ),
    (
        '[model]\noutput = "sigmoid"\n[space]\nl2 = { low = 0, high = 1 }',
        '[model] output = "sigmoid": tells two classes apart, digits has 10; write output',
    ),
    (
        '[space]\nl2 = { choices = [0, { name = 1, output = "sigmoid" }] }',
        '[model] output = "sigmoid": tells two classes apart',
    ),
    (
        (
            "[training]\niterations = 9\nmeasure_every = 3\ndiagnose = [2]\n"
            "[space]\nl2 = { low = 0, high = 1 }"
        ),
        "[training] diagnose = [2]: nothing is measured after iteration 2; training has 9 iter",
    ),
]


@pytest.mark.parametrize(("text", "complaint"), ODD)
def test_tables_at_odds_are_one_line(text, complaint):
    """Tables that contradict each other are refused before anything is trained."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(f'name = "a"\n{text}', "study.toml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"study.toml: {complaint}")


@pytest.mark.parametrize(
    "text",
    [
        "[training]\niterations = 200\n[space]\nmeasure_every = { choices = [10, 20] }",
        "[training]\nepochs = 200\n[space]\ndiagnose = { choices = [[0], [0, 200]] }",
        (
            "[training]\niterations = 100\ndiagnose = [100]\n[space]\n"
            "iterations = { low = 100, high = 1000 }"
        ),
        (
            '[training]\niterations = 500\n[space]\noptimizer = { choices = ["adam", '
            '{ name = "sgd", measure_every = 50 }] }'
        ),
        '[data]\nsource = "moons"\n[space]\noutput = { choices = ["softmax", "sigmoid"] }',
    ],
)
def test_values_are_judged_beside_those_of_the_file(text):
    """A value that needs another key is right where the file has that key."""
    spec = parse_study(f'name = "a"\n{text}', "study.toml")
    for position in (0.0, 0.3, 0.7, 1.0):
        spec.settings(spec.space.at([position]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("beta1", '[training]\noptimizer = "sgd"\n[space]\nbeta1 = { low = 0.1, high = 0.9 }'),
        ("step_factor", "[space]\nstep_factor = { low = 0.1, high = 0.9 }"),
        ("dropout", "[model]\nhidden = []\n[space]\ndropout = { low = 0.1, high = 0.9 }"),
        (
            "rho",
            '[space]\nrho = { low = 0.1, high = 0.9 }\noptimizer = { choices = ["sgd", "adam"] }',
        ),
    ],
)
def test_dimensions_that_change_nothing_are_refused(name, text):
    """A dimension that no trial reads would be reported on as if it had been tried."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(f'name = "a"\n{text}', "study.toml")
    assert str(caught.value).startswith(f"study.toml: [space] {name}: no trial reads it")


def test_a_dimension_that_some_trials_read_is_fine():
    """Where one of the optimizers tried reads it, a hyperparameter may be searched."""
    parse_study(
        'name = "a"\n[space]\nmomentum = { low = 0.1, high = 0.9 }\n'
        'optimizer = { choices = ["sgd", "momentum"] }',
        "study.toml",
    )


def test_tables_that_do_not_fit_by_themselves_blame_no_dimension():
    """What [model] and [training] get wrong between them is not said of a searched value."""
    text = (
        'name = "a"\n[model]\nbatch_norm = true\n[training]\nbatch_size = 1\n'
        "[space]\nl2 = { low = 0, high = 1 }"
    )
    with pytest.raises(StudyFileError, match=r"study.toml: \[training\]: batch_norm needs batches"):
        parse_study(text, "study.toml")
