"""The study: what is searched, on which data, with which network.

`StudySpec` is frozen and checks itself; `study_file` reads it from TOML.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hpsearch.dimensions import SpaceReader
from hpsearch.keys import Count, CountFromZero, Number, Table, a_number
from hpsearch.settings import READ_BY, ModelSpec, TrainingSpec, TrialSettings, own_values
from hpsearch.space import Box, Interval, Value, plain, setting
from hpsearch.wording import nearest, place, shown

# Rows are planned all at once; who wants more combinations than this wants a sample of them.
_LARGEST_GRID = 100_000
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
# Sources that come with their own test rows: the split must not name a test share for them.
SOURCES_WITH_TEST_ROWS = frozenset({"mnist"})


class FirstRows(Table):
    """`limit = { first = N }`: the source's first N rows, as they stand."""

    first: Count


class Split(Table):
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


class DataSpec(Table):
    """[data]: where the rows come from and how they are split."""

    source: Literal["digits", "moons", "mnist", "normal"] = "digits"
    split: Literal["all"] | Split | None = None
    limit: Count | FirstRows | None = None
    scaling: Literal["range", "standard", "none"] | None = None
    samples: Annotated[int, BeforeValidator(a_number), Field(ge=1)] = 1000
    noise: Annotated[Number, Field(ge=0)] = 0.2
    random_state: CountFromZero | None = None
    features: Count = 100
    classes: Annotated[int, BeforeValidator(a_number), Field(ge=2, le=2**31 - 1)] = 10

    @model_validator(mode="after")
    def _fits_source(self) -> Self:
        if not isinstance(self.split, Split):
            return self
        if self.source in SOURCES_WITH_TEST_ROWS and self.split.test:
            raise ValueError(
                f"{self.source} has test rows of its own: write split = "
                "{ train = 0.8, validation = 0.2 } without test"
            )
        if self.source not in SOURCES_WITH_TEST_ROWS and not self.split.test:
            raise ValueError(f"{self.source} needs a share of test rows, such as test = 0.2")
        return self

    @property
    def shares(self) -> Split | None:
        """The split written in the file, or the default for this source; None for "all"."""
        if self.split == "all":
            return None
        if self.split is not None:
            return self.split
        if self.source in SOURCES_WITH_TEST_ROWS:
            return Split(train=0.8, validation=0.2)
        return Split(train=0.6, validation=0.2, test=0.2)

    @property
    def labels(self) -> int:
        """How many classes the rows have."""
        return {"moons": 2, "normal": self.classes}.get(self.source, 10)

    @property
    def scaler(self) -> Literal["range", "standard", "none"]:
        """How rows are scaled; pixels by their largest value, points to mean 0 and deviation 1."""
        if self.scaling is not None:
            return self.scaling
        if self.source == "normal":
            return "none"
        return "standard" if self.source == "moons" else "range"


class SearchSpec(Table):
    """[search]: how many trials, and who proposes them.

    What is None was not written; `StudySpec.rounds` and `StudySpec.trials` say what it stands for.
    """

    rounds: Count | None = None
    trials: Count | None = None
    sampler: Literal["auto", "sobol", "random", "grid", "tpe", "gp", "cmaes"] = "auto"
    waves: Count | None = None
    narrowing: Literal["auto", "posterior", "elites"] = "auto"
    seeds: Literal["common", "blocks", "fresh"] | None = None
    control: Literal["random", "tpe"] | None = None
    discard: Literal["off", "auto", "median"] = "off"
    until: Literal["rounds", "converged"] = "rounds"


class ConfirmationSpec(Table):
    """[confirmation]: how many of the best are run again, over how many fresh seeds.

    `most` says what `most_seeds` stands for where it was not written. No finalists at all are for
    studies that compare what was written down and search nothing.
    """

    finalists: CountFromZero = 10
    seeds: Count = 4
    most_seeds: Count | None = None
    winner_seeds: CountFromZero = 5

    @model_validator(mode="after")
    def _most_is_more(self) -> Self:
        if self.most_seeds is not None and self.most_seeds < self.seeds:
            raise ValueError(
                f"most_seeds = {self.most_seeds}: must be at least seeds = {self.seeds}"
            )
        return self

    @property
    def least_repeats(self) -> int:
        """How many repeats there are where nobody has to run on."""
        return self.finalists * self.seeds + (self.winner_seeds if self.finalists else 0)

    @property
    def most_repeats(self) -> int:
        """How many repeats there are where all have to run on."""
        return self.finalists * self.most + (self.winner_seeds if self.finalists else 0)

    @property
    def most(self) -> int:
        """Seeds that finalists which cannot be told apart meet: as written, or twice as many."""
        return self.most_seeds or 2 * self.seeds


FigureName = Literal[
    "funnel",
    "boxes",
    "best-trials",
    "progress",
    "finalists",
    "control",
    "loss-curves",
    "accuracy-curves",
    "panels",
    "layers",
    "importance",
    "parallel-coordinates",
    "slice",
    "table",
]


class Published(Table):
    """`published = { LABEL = { accuracy = A, cost = C } }`: what others report of one trial."""

    accuracy: Number | None = None
    cost: Number | None = None
    note: str | None = None


class ReportSpec(Table):
    """[report]: what `hpsearch report` draws. It may change at any time: nothing is trained by it.

    `figures` is None where the study chooses; see `StudySpec.figures`.
    """

    figures: tuple[FigureName, ...] | None = None
    smooth: Count = 1
    panel: str | None = None
    cost_at: CountFromZero | None = None
    published: dict[str, Published] = Field(default_factory=dict)

    @field_validator("figures")
    @classmethod
    def _not_empty(cls, figures: tuple[FigureName, ...] | None) -> tuple[FigureName, ...] | None:
        if figures is not None and not figures:
            raise ValueError("name at least one figure, or leave the key out")
        return figures


# A Gaussian process in more dimensions needs more trials than a round has.
_MOST_DIMENSIONS = 5

_SPACE = SpaceReader(ModelSpec, TrainingSpec)


class StudySpec(Table):
    """A whole study file, checked. `document()` and `from_document` go to JSON and back."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    seed: Annotated[int, BeforeValidator(a_number), Field(ge=0, lt=2**31)] = 0
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    space: Annotated[InstanceOf[Box], BeforeValidator(_SPACE.box)]
    search: SearchSpec = SearchSpec()
    confirmation: ConfirmationSpec = ConfirmationSpec()
    report: ReportSpec = ReportSpec()

    @field_validator("report")
    @classmethod
    def _panel_is_a_dimension(cls, report: ReportSpec, info: ValidationInfo) -> ReportSpec:
        box = info.data.get("space")
        if box is not None and report.panel is not None and report.panel not in box.names:
            hint = nearest(report.panel, box.names)
            raise ValueError(f"panel = {shown(report.panel)}: no dimension of [space]{hint}")
        return report

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*(self._unlike_a_grid() if self.is_grid else ()), *self._at_odds()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _at_odds(self) -> Iterator[str]:
        """Tables that contradict each other; every line says where it stands."""
        if not self.holds_out and (not self.is_grid or self.confirms):
            yield (
                '[data] split = "all": nothing is held out, so the best score only says who fits '
                'the training rows best; write sampler = "grid" and finalists = 0 to compare'
            )
        if self.confirms and any(draws is not None for draws in self._tried("draws")):
            yield (
                "[training] draws: with the same draws every repeat of a finalist is the same; "
                "write finalists = 0 under [confirmation]"
            )
        if "sigmoid" in self._tried("output") and self.data.labels != 2:  # noqa: PLR2004 - yes, no
            yield (
                f'[model] output = "sigmoid": tells two classes apart, {self.data.source} has '
                f'{self.data.labels}; write output = "softmax"'
            )
        unmeasured = set(self.training.diagnose) - {0, *self.training.length.steps}
        if unmeasured and not self._searched("epochs", "iterations", "measure_every", "diagnose"):
            yield (
                f"[training] diagnose = {list(self.training.diagnose)}: nothing is measured after "
                f"{self.training.length.unit} {min(unmeasured)}; training has "
                f"{self.training.length}"
            )
        yield from self._never_used()
        if self.data.source in {"moons", "normal"} and self.data.scaling == "range":
            yield (
                f'[data] scaling = "range": {self.data.source} has no largest value; '
                'write scaling = "standard"'
            )
        yield from self._read_by_nobody()

    def _never_used(self) -> Iterator[str]:
        """What is written for a way of searching that this study does not go."""
        if self.search.waves is not None and self.search.sampler != "auto":
            yield (
                f'[search] waves = {self.search.waves}: only sampler = "auto" plans a round in '
                "parts; write that, or leave waves out"
            )
        if self.search.discard != "off" and self.is_grid:
            yield (
                f'[search] discard = "{self.search.discard}": a grid compares what was written '
                "down, all of it to its end; leave discard out"
            )
        if self.search.until == "converged" and self.narrowing != "posterior":
            takes = ', and "auto" takes the elites here' if self.search.narrowing == "auto" else ""
            yield (
                '[search] until = "converged": only narrowing = "posterior" says what is left to '
                f"gain{takes}; write that, or leave until out"
            )
        if self.search.control is not None:
            yield from self._nothing_to_compare(self.search.control)

    def _nothing_to_compare(self, control: str) -> Iterator[str]:
        """Why a control arm would say nothing about this study."""
        if self.is_grid:
            yield (
                f'[search] control = "{control}": a grid narrows nothing, so there is nothing to '
                "compare; leave control out"
            )
        elif not self.confirms:
            yield (
                f'[search] control = "{control}": winners are compared over the seeds of their '
                "confirmation; write finalists = 5 under [confirmation], or leave control out"
            )

    def _read_by_nobody(self) -> Iterator[str]:
        """Dimensions that change no trial: their ledger would speak of what was never tried."""
        for name in self.space.names:
            key, readers = READ_BY.get(name, ("", frozenset()))
            tried = self._tried(key) if key else []
            if key and not readers & set(tried):
                yield (
                    f"[space] {name}: no trial reads it, {key} is {shown(tried[0])}; leave it out, "
                    f"or write {key} = {shown(min(readers))}"
                )
            if name in {"batch_norm", "dropout"} and not any(self._tried("hidden")):
                yield f"[space] {name}: no trial reads it, there is no hidden layer"

    def _tried(self, key: str) -> list[Any]:
        """Values a key of [model] or [training] may have in a trial: the file's, or those tried."""
        found, always = [], False
        for dimension in self.space.dimensions:
            ends = dimension.ends()
            mine = [keys[key] for keys in ends if key in keys]
            found += mine
            always = always or len(mine) == len(ends)
        owner = self.model if key in ModelSpec.model_fields else self.training
        # What every trial brings itself leaves the file's own value unused.
        return found if always else [getattr(owner, key), *found]

    def _searched(self, *keys: str) -> bool:
        """Whether any of these keys differs between trials."""
        return any(dimension.sets(*keys) for dimension in self.space.dimensions)

    def _unlike_a_grid(self) -> Iterator[str]:
        """What a grid cannot have; every line says where it stands."""
        ranges = {d.name: d.range for d in self.space.dimensions if isinstance(d.range, Interval)}
        for name, range_ in ranges.items():
            yield (
                f"[space] {name} = {shown(range_.document())}: a grid takes values one by one: "
                f"write {name} = {{ choices = [...] }}"
            )
        if self.search.rounds not in {None, 1}:
            yield f"[search] rounds = {self.search.rounds}: a grid has one round; leave rounds out"
        if ranges:
            return
        size = self.space.size
        if size > _LARGEST_GRID:
            yield f"[space]: {size} combinations; a grid has at most {_LARGEST_GRID}"
        elif self.search.trials not in {None, size}:
            yield (
                f"[search] trials = {self.search.trials}: [space] has {size} combinations; "
                f"write trials = {size}, or leave it out"
            )

    def settings(self, values: dict[str, Value]) -> TrialSettings:
        """What a trial with these values trains with.

        Args:
            values: One value for every dimension of the space; a table among them sets its own
                key and those it brings along.

        Raises:
            ValidationError: If the values cannot stand together.
        """
        keys = {k: plain(v) for n, value in values.items() for k, v in setting(n, value).items()}
        model = {k: v for k, v in keys.items() if k in ModelSpec.model_fields}
        training = {k: v for k, v in keys.items() if k in TrainingSpec.model_fields}
        return TrialSettings(
            model=ModelSpec.model_validate(self.model.model_dump() | model),
            training=TrainingSpec.model_validate(self.training.model_dump() | training),
        )

    @property
    def precision(self) -> Literal["float32", "float64"]:
        """The finer precision that any trial computes in; rows are stored in it."""
        return "float64" if "float64" in self._tried("precision") else "float32"

    @property
    def is_grid(self) -> bool:
        """Whether every combination of the choices is tried once, and nothing is narrowed."""
        return self.search.sampler == "grid"

    @property
    def confirms(self) -> bool:
        """Whether the best are run again; what was not is not tested unasked either."""
        return self.confirmation.finalists > 0

    @property
    def holds_out(self) -> bool:
        """Whether rows are kept from training, to score and to test on."""
        return self.data.shares is not None

    @property
    def rounds(self) -> int:
        """How many rounds: what the file says, or 3; a grid has one."""
        return self.search.rounds or (1 if self.is_grid else 3)

    @property
    def trials(self) -> int:
        """Trials in a round: what the file says, or 100; a grid has all combinations."""
        return self.search.trials or (self.space.size if self.is_grid else 100)

    @property
    def narrowing(self) -> Literal["posterior", "elites"]:
        """Who decides the ranges: what the file says, or what suits its space."""
        if self.search.narrowing != "auto":
            return self.search.narrowing
        numbers = any(isinstance(d.range, Interval) for d in self.space.dimensions)
        few = len(self.space.dimensions) <= _MOST_DIMENSIONS
        return "posterior" if numbers and few else "elites"

    @property
    def seeds(self) -> Literal["common", "blocks", "fresh"]:
        """Which trials share a seed: what the file says, or what suits its narrowing.

        The elites of a round are compared with each other only. The posterior pools all rounds: it
        needs many seeds, and can tell the level of each from what its trials have in common.
        """
        if self.search.seeds is not None:
            return self.search.seeds
        return "blocks" if self.narrowing == "posterior" else "common"

    @property
    def planned_trials(self) -> int:
        """Search trials over all rounds."""
        return self.rounds * self.trials

    @property
    def control_trials(self) -> int:
        """Trials of the control arm, as many as the search has; 0 where there is none."""
        return 0 if self.search.control is None else self.planned_trials

    @property
    def figures(self) -> tuple[FigureName, ...]:
        """The figures the file names, else what shows a study of this kind best."""
        if self.report.figures is not None:
            return self.report.figures
        if self.training.length.count == 0:
            return ("layers",)
        if self.is_grid:
            return ("loss-curves",)
        return tuple(name for name, shows in self._of_a_search().items() if shows)

    def _of_a_search(self) -> dict[FigureName, bool]:
        """The figures of a search, and whether they have something to show of this one."""
        intervals = [d for d in self.space.dimensions if isinstance(d.range, Interval)]
        return {
            "funnel": True,
            "boxes": len(intervals) > 1,
            "best-trials": True,
            "progress": True,
            "finalists": self.confirms,
            "control": self.search.control is not None,
        }

    def document(self) -> dict[str, Any]:
        """JSON form; `StudySpec.from_document` reads it back equal."""
        document = self.model_dump(mode="json", exclude={"space"})
        return document | {"space": self.space.document()}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The study whose `document()` this is; one of before says less, and means what it did."""
        document = document | {"space": Box.from_document(document["space"])}
        if "narrowing" not in document["search"]:
            confirmation = document["confirmation"]
            document["search"] = document["search"] | {"narrowing": "elites"}
            alike = {"most_seeds": confirmation["seeds"], "winner_seeds": 0}
            document["confirmation"] = confirmation | alike
        return cls.model_validate(document)

    def written_out(self) -> dict[str, Any]:
        """What decides the results; defaults that depend on other keys as if they stood there."""
        document = self.document()
        document.pop("report")
        shares = self.data.shares
        split = shares.model_dump() if shares else self.data.split
        data = {"split": split, "scaling": self.data.scaler}
        search = {"rounds": self.rounds, "trials": self.trials, "seeds": self.seeds}
        filled = {"data": document["data"] | data, "search": document["search"] | search}
        return document | filled | {"training": self._training_written_out()}

    def _training_written_out(self) -> dict[str, Any]:
        """[training] with what its optimizers and its length make of values left open."""
        document = self.training.model_dump(mode="json")
        optimizers = [own_values(str(name)) for name in self._tried("optimizer")]
        for key in ("learning_rate", "weight_decay", "rho", "epsilon"):
            meant = {values[key] for values in optimizers if key in values}
            if not meant:
                # No rule reads it, so a number that stands there decides nothing.
                document[key] = None
            elif document[key] is None and len(meant) == 1:
                document[key] = meant.pop()
        length = self.training.length
        unit = {"epoch": "epochs", "iteration": "iterations"}[length.unit]
        document[unit] = length.count
        return document

    def differences(self, other: StudySpec) -> list[str]:
        """One line per key that differs: `[search] trials: 100 here, 50 there`.

        [report] is left out: it changes no result.
        """
        return list(_differences(self.written_out(), other.written_out(), ()))


def _differences(here: Any, there: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        keys = dict.fromkeys([*here, *there])
        parts = [_differences(here.get(k), there.get(k), (*path, k)) for k in keys]
        return [line for part in parts for line in part]
    if here == there:
        return []
    return [f"{place(path)}: {shown(here)} here, {shown(there)} there"]
