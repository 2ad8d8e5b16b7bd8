"""The study: what is searched, on which data, with which network.

`StudySpec` is frozen and checks itself; `study_file` reads it from TOML.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)

from hpsearch.space import Box, Choices, Dimension, Interval, Range, Value, frozen, plain
from hpsearch.wording import key_text, nearest, place, sentence, shown

# How often a training given in iterations is measured where the file does not say.
_MEASUREMENTS = 50
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
# Sources that come with their own test rows: the split must not name a test share for them.
SOURCES_WITH_TEST_ROWS = frozenset({"mnist"})


def _a_number(value: Any) -> Any:
    """Refuse true, false and "10" where a number is meant; they would pass for one."""
    if isinstance(value, bool | str):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Number = Annotated[float, BeforeValidator(_a_number), Field(allow_inf_nan=False)]
# The largest is that of an SQL INTEGER.
Count = Annotated[int, BeforeValidator(_a_number), Field(ge=1, le=2**31 - 1)]
CountFromZero = Annotated[int, BeforeValidator(_a_number), Field(ge=0, le=2**31 - 1)]


def _a_number_or_full(value: Any) -> Any:
    """Refuse other words than "full" in one sentence instead of two."""
    if isinstance(value, str) and value != "full":
        raise ValueError('expected a whole number or "full"')
    return value


BatchSize = Annotated[Count | Literal["full"], BeforeValidator(_a_number_or_full)]


class _Table(BaseModel):
    """A table of the study file: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FirstRows(_Table):
    """`limit = { first = N }`: the source's first N rows, as they stand."""

    first: Count


class Split(_Table):
    """Shares of the rows; they add up to 1."""

    train: Annotated[Number, Field(gt=0, lt=1)] = 0.6
    validation: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    test: Annotated[Number, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:  # noqa: PLR2004 - rounding of three decimal shares
            raise ValueError(
                f"train + validation + test must be 1, got "
                f"{self.train:g} + {self.validation:g} + {self.test:g} = {total:g}"
            )
        return self


class DataSpec(_Table):
    """[data]: where the rows come from and how they are split."""

    source: Literal["digits", "moons", "mnist"] = "digits"
    split: Split | None = None
    limit: Count | FirstRows | None = None
    scaling: Literal["range", "standard", "none"] | None = None
    samples: Annotated[int, BeforeValidator(_a_number), Field(ge=1)] = 1000
    noise: Annotated[Number, Field(ge=0)] = 0.2

    @model_validator(mode="after")
    def _fits_source(self) -> Self:
        if self.source in SOURCES_WITH_TEST_ROWS and self.split and self.split.test:
            raise ValueError(
                f"{self.source} has test rows of its own: write split = "
                "{ train = 0.8, validation = 0.2 } without test"
            )
        if self.source not in SOURCES_WITH_TEST_ROWS and self.split and not self.split.test:
            raise ValueError(f"{self.source} needs a share of test rows, such as test = 0.2")
        return self

    @property
    def shares(self) -> Split:
        """The split written in the file, or the default for this source."""
        if self.split is not None:
            return self.split
        if self.source in SOURCES_WITH_TEST_ROWS:
            return Split(train=0.8, validation=0.2)
        return Split(train=0.6, validation=0.2, test=0.2)

    @property
    def scaler(self) -> Literal["range", "standard", "none"]:
        """How rows are scaled; pixels by their largest value, points to mean 0 and deviation 1."""
        return self.scaling or ("standard" if self.source == "moons" else "range")


class Normal(_Table):
    """`initializer = { normal = STD }`: weights from a normal distribution."""

    normal: Annotated[Number, Field(gt=0)]


class Constant(_Table):
    """`initializer = { constant = VALUE }`: every weight the same, to show why that fails."""

    constant: Number


Initializer = Literal["he", "xavier", "glorot"] | Normal | Constant


class ModelSpec(_Table):
    """[model]: the network between the inputs and the classes."""

    hidden: tuple[Count, ...] = (50,)
    activation: Literal["relu", "leaky_relu", "sigmoid", "tanh"] = "relu"
    initializer: Initializer = "he"
    batch_norm: bool = False
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    output: Literal["softmax", "sigmoid"] = "softmax"


class Draws(_Table):
    """`draws = { weights = S, batches = S }`: as published code draws with NumPy's RandomState.

    Initial weights come from RandomState(weights), the order of epoch e = 0, 1, ... from
    RandomState(batches + e); the trial's own seed is then of no consequence.
    """

    weights: Annotated[int, BeforeValidator(_a_number), Field(ge=0, lt=2**31)]
    batches: Annotated[int, BeforeValidator(_a_number), Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class Length:
    """How long a network trains, and how often it is measured.

    Attributes:
        count: Epochs or iterations; 0 measures the untrained network.
        unit: What is counted; curves are numbered in it, from 1 (0 for the untrained network).
        every: Units between two measurements; the last unit is always measured.
    """

    count: int
    unit: Literal["epoch", "iteration"]
    every: int = 1

    @property
    def steps(self) -> list[int]:
        """Numbers of the measurements: every, 2 every, ..., count; [0] when nothing is trained."""
        return sorted({*range(self.every, self.count + 1, self.every), self.count})

    def __str__(self) -> str:
        often = f", measured every {self.every}" if self.every > 1 else ""
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}{often}"


class TrainingSpec(_Table):
    """[training]: how a network is trained. Rates are per update, decay is decoupled.

    What is None stands for what the optimizer's paper or its common use says.
    """

    optimizer: Literal[
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw"
    ] = "adam"
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    weight_decay: Annotated[Number, Field(ge=0)] | None = None
    l2: Annotated[Number, Field(ge=0)] = 0.0
    l1: Annotated[Number, Field(ge=0)] = 0.0
    linf: Annotated[Number, Field(ge=0)] = 0.0
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    dampening: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    rho: Annotated[Number, Field(ge=0, lt=1)] | None = None
    epsilon: Annotated[Number, Field(gt=0)] | None = None
    schedule: Literal["constant", "linear", "step", "cosine"] = "constant"
    schedule_end: Annotated[Number, Field(ge=0, le=1)] = 0.01
    step_every: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    step_factor: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    epochs: CountFromZero | None = None
    iterations: CountFromZero | None = None
    measure_every: Count | None = None
    batch_size: BatchSize = 32
    patience: Count | None = None
    precision: Literal["float32", "float64"] = "float32"
    draws: Draws | None = None
    diagnose: tuple[CountFromZero, ...] = ()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("write epochs or iterations, not both")
        if self.measure_every is not None and self.iterations is None:
            raise ValueError("measure_every counts iterations: write iterations instead of epochs")
        unmeasured = set(self.diagnose) - {0, *self.length.steps}
        if unmeasured:
            raise ValueError(
                f"diagnose = {list(self.diagnose)}: nothing is measured after {self.length.unit} "
                f"{min(unmeasured)}; training has {self.length}"
            )
        return self

    @property
    def length(self) -> Length:
        """How long to train: what the file says, or 10 epochs."""
        if self.iterations is not None:
            every = self.measure_every or max(1, self.iterations // _MEASUREMENTS)
            return Length(self.iterations, "iteration", every)
        return Length(10 if self.epochs is None else self.epochs, "epoch")


class SearchSpec(_Table):
    """[search]: how many trials, and who proposes them."""

    rounds: Count = 3
    trials: Count = 100
    sampler: Literal["sobol", "random", "tpe", "gp", "cmaes"] = "sobol"
    seeds: Literal["common", "fresh"] = "common"


class ConfirmationSpec(_Table):
    """[confirmation]: how many of the best are run again, over how many fresh seeds."""

    finalists: Count = 5
    seeds: Count = 5


class TrialSettings(_Table):
    """Everything one trial trains with: the file's values with its own put in."""

    model: ModelSpec
    training: TrainingSpec

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        if self.model.batch_norm and self.training.batch_size == 1:
            raise ValueError("batch_norm needs batches of 2 rows or more, got batch_size = 1")
        return self

    @property
    def shape(self) -> tuple[Hashable, ...]:
        """Trials of equal shapes can be stacked: their arrays are as large and as many.

        Optimizers, rates, decays, scales and patience may differ.
        """
        model, training = self.model, self.training
        return (
            model.hidden,
            model.activation,
            model.batch_norm,
            model.dropout > 0,
            model.output,
            training.length,
            training.batch_size,
            training.precision,
            training.diagnose,
        )


def _read_space(value: Any) -> Box:
    """The box of [space]; a ValueError has one line per mistake."""
    if isinstance(value, Box):
        for dimension in value.dimensions:
            _check_legal(dimension)
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("name at least one dimension, such as learning_rate")
    dimensions, problems = [], []
    for name, table in value.items():
        try:
            dimensions.append(_dimension(name, table))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return Box(tuple(dimensions))


class StudySpec(_Table):
    """A whole study file, checked. `document()` and `from_document` go to JSON and back."""

    planned_samplers: ClassVar[frozenset[str]] = frozenset({"sobol", "random"})

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    seed: Annotated[int, BeforeValidator(_a_number), Field(ge=0, lt=2**31)] = 0
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    space: Annotated[InstanceOf[Box], BeforeValidator(_read_space)]
    search: SearchSpec = SearchSpec()
    confirmation: ConfirmationSpec = ConfirmationSpec()

    def settings(self, values: dict[str, Value]) -> TrialSettings:
        """What a trial with these values trains with.

        Args:
            values: One value for every dimension of the space.
        """
        model = {n: plain(v) for n, v in values.items() if n in ModelSpec.model_fields}
        training = {n: plain(v) for n, v in values.items() if n in TrainingSpec.model_fields}
        return TrialSettings(
            model=ModelSpec.model_validate(self.model.model_dump() | model),
            training=TrainingSpec.model_validate(self.training.model_dump() | training),
        )

    @property
    def planned_trials(self) -> int:
        """Search trials over all rounds."""
        return self.search.rounds * self.search.trials

    def document(self) -> dict[str, Any]:
        """JSON form; `StudySpec.from_document` reads it back equal."""
        document = self.model_dump(mode="json", exclude={"space"})
        return document | {"space": self.space.document()}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The study whose `document()` this is."""
        space = Box.from_document(document["space"])
        return cls.model_validate(document | {"space": space})

    def _written_out(self) -> dict[str, Any]:
        """The document with the defaults that depend on the source, as if they stood there."""
        document = self.document()
        filled = {"split": self.data.shares.model_dump(), "scaling": self.data.scaler}
        return document | {"data": document["data"] | filled}

    def differences(self, other: StudySpec) -> list[str]:
        """One line per key that differs: `[search] trials: 100 here, 50 there`."""
        return list(_differences(self._written_out(), other._written_out(), ()))


# ---------------------------------------------------------------- dimensions


class _IntervalTable(_Table):
    low: Number
    high: Number
    scale: Literal["linear", "log"] = "linear"


class _ChoicesTable(_Table):
    choices: list[Any]


def _dimension(name: str, table: Any) -> Dimension:
    """One line of [space] as a dimension; mistakes are raised with the dimension's name."""
    if _owner(name) is None:
        known = [*ModelSpec.model_fields, *TrainingSpec.model_fields]
        raise ValueError(f"{key_text(name)}: unknown dimension{nearest(name, known)}")
    if not isinstance(table, dict):
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
            f"{name} = {shown(table)}: write a range {{ low = ..., high = ... }} or "
            "{ choices = [...] }; a fixed value belongs in [model] or [training]"
        )
    form = _ChoicesTable if "choices" in table else _IntervalTable
    try:
        dimension = Dimension(name, _range(name, form.model_validate(table)))
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(key_text(str(part)) for part in detail["loc"])
        message = sentence(detail, list(form.model_fields))
        raise ValueError(f"{name}.{key}: {message}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    _check_legal(dimension)
    return dimension


def _range(name: str, table: _IntervalTable | _ChoicesTable) -> Range:
    if isinstance(table, _ChoicesTable):
        return Choices(tuple(_choice(option) for option in table.choices))
    return _interval(name, table)


def _interval(name: str, table: _IntervalTable) -> Interval:
    owner = _owner(name)
    integer = owner is not None and _counts(owner.model_fields[name].annotation)
    if integer and table.low == int(table.low) and table.high == int(table.high):
        return Interval(int(table.low), int(table.high), table.scale, integer=True)
    return Interval(table.low, table.high, table.scale, integer)


def _counts(annotation: Any) -> bool:
    """Whether a key takes whole numbers, perhaps among other things."""
    forms = [annotation, *get_args(annotation)]
    forms += [form for part in forms for form in get_args(part)]
    return int in forms and float not in forms


def _choice(option: Any) -> Value:
    items = option if isinstance(option, list) else [option]
    if all(isinstance(item, str | int | float | bool) for item in items):
        return frozen(option)
    raise ValueError(f"a choice is a string, a number, true, false or a list, got {option!r}")


def _check_legal(dimension: Dimension) -> None:
    """A dimension's ends and choices must be values its key accepts."""
    declared = dimension.range
    ends = declared.options if isinstance(declared, Choices) else (declared.low, declared.high)
    for end in ends:
        _legal(dimension.name, end)


def _legal(name: str, value: Value) -> None:
    owner = _owner(name)
    if owner is None:
        return
    try:
        owner.model_validate({name: plain(value)})
    except ValidationError as error:
        raise ValueError(f"{name}: {shown(plain(value))}: {sentence(error.errors()[0])}") from error


def _owner(name: str) -> type[ModelSpec | TrainingSpec] | None:
    """The table a dimension's name belongs to."""
    if name in ModelSpec.model_fields:
        return ModelSpec
    return TrainingSpec if name in TrainingSpec.model_fields else None


def _differences(here: Any, there: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        keys = dict.fromkeys([*here, *there])
        parts = [_differences(here.get(k), there.get(k), (*path, k)) for k in keys]
        return [line for part in parts for line in part]
    if here == there:
        return []
    return [f"{place(path)}: {shown(here)} here, {shown(there)} there"]
