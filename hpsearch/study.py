"""The study file: what is searched, on which data, with which network.

`load_study` reads a TOML file into a frozen `StudySpec` or raises a `StudyFileError` with one
line per mistake: file, key, value and what to do.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from hpsearch.errors import StudyFileError
from hpsearch.space import Box, Choices, Dimension, Interval, Value, frozen, plain

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
# Sources that come with their own test rows: the split must not name a test share for them.
SOURCES_WITH_TEST_ROWS = frozenset({"mnist"})


def _no_bool(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python takes them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]


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
    samples: Count = 1000
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
        """ "range" divides by the largest value a pixel can have; points are standardised."""
        return self.scaling or ("standard" if self.source == "moons" else "range")


class Normal(_Table):
    """`initializer = { normal = STD }`: weights from a normal distribution."""

    normal: Annotated[Number, Field(gt=0)]


class ModelSpec(_Table):
    """[model]: the network between the inputs and the classes."""

    hidden: tuple[Count, ...] = (50,)
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    initializer: Literal["he", "xavier"] | Normal = "he"


class TrainingSpec(_Table):
    """[training]: how a network is trained. Rates are per update, decay is decoupled."""

    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-3
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    l2: Annotated[Number, Field(ge=0)] = 0.0
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    epochs: Count = 10
    batch_size: Count = 32


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


def _read_space(value: Any) -> Box:
    if isinstance(value, Box):
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("name at least one dimension, such as learning_rate")
    return Box(tuple(_dimension(name, table) for name, table in value.items()))


class StudySpec(_Table):
    """A whole study file, checked. `document()` and `from_document` go to JSON and back."""

    planned_samplers: ClassVar[frozenset[str]] = frozenset({"sobol", "random"})

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    seed: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, lt=2**31)] = 0
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    space: Annotated[InstanceOf[Box], BeforeValidator(_read_space)]
    search: SearchSpec = SearchSpec()
    confirmation: ConfirmationSpec = ConfirmationSpec()

    @model_validator(mode="after")
    def _ends_are_legal(self) -> Self:
        """A dimension's ends and choices must be values its key accepts."""
        for dimension in self.space.dimensions:
            declared = dimension.range
            ends = (
                declared.options if isinstance(declared, Choices) else (declared.low, declared.high)
            )
            for end in ends:
                _legal(dimension.name, end)
        return self

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

    def with_overrides(self, source: str = "options", **overrides: Any) -> StudySpec:
        """This study with some values replaced, checked again.

        Args:
            source: What to call the place the values came from in an error.
            **overrides: `name`, `seed`, `rounds` or `trials`; None leaves a value as it is.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        document = self.model_dump() | {"space": self.space}
        for key, value in given.items():
            table = document["search"] if key in SearchSpec.model_fields else document
            table[key] = value
        return _validated(document, source)

    def differences(self, other: StudySpec) -> list[str]:
        """One line per key that differs: `[search] trials: 100 here, 50 there`."""
        return list(_differences(self.document(), other.document(), ()))


def load_study(path: Path) -> StudySpec:
    """Read and check a study file.

    Raises:
        StudyFileError: With one line per mistake: file, key, value and what to do.
    """
    return parse_study(read_study(path), str(path))


def parse_study(text: str, source: str) -> StudySpec:
    """Check the text of a study file; `source` names it in errors.

    Raises:
        StudyFileError: With one line per mistake.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError([f"{source}: not a TOML file: {error}"]) from error
    return _validated(document, source)


def read_study(path: Path) -> str:
    """Text of a study file.

    Raises:
        StudyFileError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"{path}: no such study file; `hpsearch new NAME` writes one"
        raise StudyFileError([message]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError([f"{path}: cannot be read: {error}"]) from error


def _validated(document: dict[str, Any], source: str) -> StudySpec:
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        problems = dict.fromkeys(_problem(detail, source) for detail in error.errors())
        raise StudyFileError(list(problems)) from error


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
        raise ValueError(f"{name}: unknown dimension{_nearest(name, known)}")
    if not isinstance(table, dict):
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
            f"{name} = {table!r}: write a range {{ low = ..., high = ... }} or "
            "{ choices = [...] }; a fixed value belongs in [model] or [training]"
        )
    try:
        if "choices" in table:
            choices = _ChoicesTable.model_validate(table).choices
            return Dimension(name, Choices(tuple(_choice(option) for option in choices)))
        interval = _IntervalTable.model_validate(table)
        return Dimension(name, _interval(name, interval))
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise ValueError(f"{name}.{key}: {_sentence(detail)}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _interval(name: str, table: _IntervalTable) -> Interval:
    owner = _owner(name)
    integer = owner is not None and owner.model_fields[name].annotation is int
    if integer and table.low == int(table.low) and table.high == int(table.high):
        return Interval(int(table.low), int(table.high), table.scale, integer=True)
    return Interval(table.low, table.high, table.scale, integer)


def _choice(option: Any) -> Value:
    items = option if isinstance(option, list) else [option]
    if all(isinstance(item, str | int | float | bool) for item in items):
        return frozen(option)
    raise ValueError(f"a choice is a string, a number, true, false or a list, got {option!r}")


def _legal(name: str, value: Value) -> None:
    owner = _owner(name)
    if owner is None:
        return
    try:
        owner.model_validate({name: plain(value)})
    except ValidationError as error:
        raise ValueError(
            f"space.{name}: {json.dumps(plain(value))}: {_sentence(error.errors()[0])}"
        ) from error


def _owner(name: str) -> type[ModelSpec | TrainingSpec] | None:
    """The table a dimension's name belongs to."""
    if name in ModelSpec.model_fields:
        return ModelSpec
    return TrainingSpec if name in TrainingSpec.model_fields else None


# ------------------------------------------------------ sentences for people


def _problem(detail: ErrorDetails, source: str) -> str:
    """`FILE: [table] key = value: what is wrong`, in one line."""
    path = [str(part) for part in detail["loc"] if not _is_union_branch(str(part))]
    message = _sentence(detail, path)
    if detail["type"] == "extra_forbidden":
        return f"{source}: {_place(path)}: {message}"
    if detail["type"] == "missing":
        return f"{source}: {_place(path)}: missing; {_missing(path)}"
    if path in ([], ["space"]) or detail["type"] == "value_error":
        text = message if message.startswith("space.") else f"{_place(path)}: {message}"
        text = text.removeprefix(": ")
        return f"{source}: {re.sub(r'^space[.]', '[space] ', text)}"
    return f"{source}: {_place(path)} = {_shown(detail['input'])}: {message}"


def _is_union_branch(part: str) -> bool:
    """Pydantic names the branch of a union in the path; people did not write it."""
    return part in {"FirstRows", "Normal"} or "[" in part


def _place(path: list[str]) -> str:
    tables = {"data", "model", "training", "space", "search", "confirmation"}
    if path and path[0] in tables:
        rest = ".".join(path[1:])
        return f"[{path[0]}] {rest}".rstrip()
    return ".".join(path)


def _missing(path: list[str]) -> str:
    if path == ["name"]:
        return 'write name = "my-study" at the top'
    if path == ["space"]:
        return 'write learning_rate = { low = 1e-6, high = 1e-2, scale = "log" } under [space]'
    return "this key is needed"


def _sentence(detail: ErrorDetails, path: list[str] | None = None) -> str:
    """What is wrong, from pydantic's type of error, in words of the study file."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        return f"unknown key{_nearest(name, _known_keys(path or []))}"
    if kind == "string_pattern_mismatch":
        return (
            "a name starts with a letter or digit and has at most 100 letters, digits, "
            "'.', '_' and '-'"
        )
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        nearest = _nearest(str(detail["input"]), re.findall(r"'([^']*)'", context["expected"]))
        return f"expected {context['expected']}{nearest}"
    message = detail["msg"].replace("Input should be", "must be")
    return message[:1].lower() + message[1:]


def _known_keys(path: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "data": DataSpec,
        "model": ModelSpec,
        "training": TrainingSpec,
        "search": SearchSpec,
        "confirmation": ConfirmationSpec,
    }
    if path[:2] == ["data", "split"]:
        return list(Split.model_fields)
    if path and path[0] in tables and len(path) > 1:
        return list(tables[path[0]].model_fields)
    return list(StudySpec.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return repr(value)


def _differences(here: Any, there: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        keys = dict.fromkeys([*here, *there])
        parts = [_differences(here.get(k), there.get(k), (*path, k)) for k in keys]
        return [line for part in parts for line in part]
    if here == there:
        return []
    return [f"{_place(list(path))}: {_shown(here)} here, {_shown(there)} there"]
