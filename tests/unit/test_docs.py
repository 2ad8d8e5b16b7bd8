"""The pages in docs/ are whole: every command, option and key, valid examples, no dead link."""

from __future__ import annotations

import json
import re
import threading
import tomllib
from pathlib import Path

import pytest
import typer

from hpsearch import dimensions, settings, study
from hpsearch.cli.main import app
from hpsearch.data.prepared import prepare
from hpsearch.final import open_sealed_test
from hpsearch.search.elites import CHANCE, chance_of_absence, chance_of_hull, endpoint_margin
from hpsearch.store.database import open_database
from hpsearch.store.reading import ranges_document, study_document, trials_document
from hpsearch.store.studies import create_study, load_study
from hpsearch.study_file import parse_study
from hpsearch.worker import WorkerOptions, run_worker

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
STUDY_FILE = (DOCS / "study-file.md").read_text(encoding="utf-8")
COMMANDS = (DOCS / "commands.md").read_text(encoding="utf-8")

COMMAND_TREE = typer.main.get_command(app)
# Each table of the study file with the heading its keys are documented under.
TABLES = {
    "Top level": study.StudySpec,
    "[data]": study.DataSpec,
    "[model]": settings.ModelSpec,
    "[training]": settings.TrainingSpec,
    "[search]": study.SearchSpec,
    "[confirmation]": study.ConfirmationSpec,
    "[report]": study.ReportSpec,
}
INLINE_TABLES = {
    "[data]": [study.Split, study.FirstRows],
    "[model]": [settings.Normal, settings.Constant],
    "[training]": [settings.Draws],
    "[report]": [study.Published],
    "[space]": [dimensions.IntervalTable, dimensions.ChoicesTable],
}
KEYS = [
    (heading, name)
    for heading, table in TABLES.items()
    for name in table.model_fields
    if f"[{name}]" not in TABLES and name != "space"
]
KEYS += [
    (heading, name)
    for heading, tables in INLINE_TABLES.items()
    for table in tables
    for name in table.model_fields
]
OPTIONS = [
    (name, option)
    for name, command in COMMAND_TREE.commands.items()
    for parameter in command.params
    for option in parameter.opts
    if option.startswith("--") and option != "--help"
]
# A study with every kind of range that is over in a second.
SMALL = """
name = "a"
[data]
limit = 200
[space]
l2 = { low = 0, high = 1 }
epochs = { low = 1, high = 3 }
hidden = { choices = [[2], [3]] }
[search]
sampler = "sobol"
narrowing = "elites"
rounds = 1
trials = 4
[confirmation]
finalists = 2
seeds = 2
most_seeds = 2
winner_seeds = 0
"""


def section(page: str, heading: str) -> str:
    """The text under a heading of the second level."""
    parts = re.split(r"(?m)^## (.+)$", page)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert heading in sections, f"no heading {heading!r}; there are {sorted(sections)}"
    return sections[heading]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks that are marked with these words."""
    return re.findall(rf"(?ms)^```{re.escape(language)}\n(.*?)^```$", page)


# ------------------------------------------------------------------- study file


def test_the_pages_know_all_tables():
    """A table that joins the study file must join the tables checked here."""
    named = {f"[{name}]" for name in study.StudySpec.model_fields} - {"[name]", "[seed]"}
    assert named == {*TABLES, "[space]"} - {"Top level"}


@pytest.mark.parametrize(("heading", "key"), KEYS)
def test_every_key_is_documented(heading, key):
    """A key of the study file stands in code letters under its table's heading."""
    text = section(STUDY_FILE, heading)
    assert re.search(rf"`(\{{ )?{key}( = [^`]+)?`", text), f"{key} is not under {heading}"


@pytest.mark.parametrize("heading", list(TABLES))
def test_defaults_are_documented_as_they_are(heading):
    """The default in a key's row is the one the program has."""
    for line in section(STUDY_FILE, heading).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        field = TABLES[heading].model_fields.get(cells[0].strip("`"))
        said = re.fullmatch(r"`(.+)`", cells[3]) if field and len(cells) > 3 else None
        if field is None or said is None:
            continue
        default = field.default
        expected = list(default) if isinstance(default, tuple) else default
        assert tomllib.loads(f"x = {said[1]}")["x"] == expected, line


@pytest.mark.parametrize(
    ("heading", "table", "key"),
    [(h, t, k) for h, t in TABLES.items() for k in t.model_fields if h != "Top level"],
)
def test_every_named_value_is_documented(heading, table, key):
    """A key that takes one of a few words has all of them under its table's heading."""
    schema = json.dumps(table.model_json_schema()["properties"][key])
    for words in re.findall(r'"enum": (\[[^\]]*\])', schema):
        for word in json.loads(words):
            assert f'"{word}"' in section(STUDY_FILE, heading), f"{key} = {word!r}"


def test_a_whole_example_is_a_study():
    """Blocks marked as complete studies are valid as they stand, and there is one."""
    examples = blocks(STUDY_FILE, "toml complete")
    assert examples
    for text in examples:
        parse_study(text, "docs/study-file.md")


@pytest.mark.parametrize("text", blocks(STUDY_FILE, "toml"))
def test_a_short_example_is_part_of_a_study(text):
    """Other blocks become a study once a name and a space are added."""
    document = tomllib.loads(text)
    head = "" if "name" in document else 'name = "a"\n'
    tail = "" if "space" in document else "\n[space]\nl2 = { low = 0, high = 1 }\n"
    parse_study(head + text + tail, "docs/study-file.md")


# --------------------------------------------------------------------- commands


@pytest.mark.parametrize("name", sorted(COMMAND_TREE.commands))
def test_every_command_is_documented(name):
    """A command has a section of its own and a row in the first table."""
    assert f"hpsearch {name}" in section(COMMANDS, f"hpsearch {name}")
    assert f"| `hpsearch {name}` |" in COMMANDS


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_is_documented(name, option):
    """An option of a command stands in that command's section."""
    assert re.search(rf"`{option}( [A-Z]+)?`", section(COMMANDS, f"hpsearch {name}"))


def test_no_command_is_documented_that_is_gone():
    """Sections of commands and their options exist in the program."""
    named = set(re.findall(r"(?m)^## hpsearch (\S+)$", COMMANDS))
    assert named == set(COMMAND_TREE.commands)
    for name in named:
        said = set(re.findall(r"(?m)^\|[^|]*`(--[a-z-]+)", section(COMMANDS, f"hpsearch {name}")))
        assert said <= {option for owner, option in OPTIONS if owner == name}


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_environment_variables_are_documented(name, option):
    """A variable that sets an option's default is in the table of variables."""
    for parameter in COMMAND_TREE.commands[name].params:
        if option in parameter.opts and parameter.envvar:
            variables = section(COMMANDS, "Environment variables")
            assert f"`{parameter.envvar}` | default of `{option}`" in variables


def keys_in(document) -> set[str]:
    """All keys of a JSON document, but not names of dimensions or what they map to."""
    if isinstance(document, list):
        return {key for item in document for key in keys_in(item)}
    if not isinstance(document, dict):
        return set()
    # Values and ranges are keyed by the study's own dimensions; a range's keys are ours.
    named = {"values": [], "ranges": list(document.get("ranges", {}).values())}
    inner = {key for name, value in document.items() for key in keys_in(named.get(name, value))}
    return set(document) | inner


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """The documents of a study that was searched, confirmed and tested, by command."""
    url, spec = (
        f"sqlite:///{tmp_path_factory.mktemp('docs') / 'a.db'}",
        parse_study(SMALL, "a.toml"),
    )
    prepared = prepare(spec)
    database = open_database(url, create=True)
    try:
        create_study(database, spec, SMALL, prepared.fingerprint, len(prepared.validation()))
        run_worker(WorkerOptions(url, spec.name), threading.Event())
        open_sealed_test(url, spec.name, None)
        study = load_study(database, spec.name)
        return {
            "show": study_document(database, study),
            "ranges": ranges_document(database, study),
            "trials": trials_document(database, study),
        }
    finally:
        database.close()


# Fields that only a study with everything in it has.
FULL = {
    "show": {"ties", "standard_error", "interval", "openings", "finished", "best_score"},
    "ranges": {"low", "choices", "integer", "previous", "reason"},
    "trials": {"metrics", "epoch", "validation_accuracy", "message"},
}


@pytest.mark.parametrize("command", list(FULL))
def test_every_field_of_a_document_is_documented(documents, command):
    """A field of a finished study's JSON documents stands in the section of its command."""
    fields = keys_in(documents[command])
    assert fields >= FULL[command]
    text = section(COMMANDS, f"hpsearch {command}")
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


# ------------------------------------------------------------ narrowing and links


def test_the_gates_table_is_what_the_rule_says():
    """The widest hull that is narrowed, for each number of elites in the table."""
    page = (DOCS / "narrowing.md").read_text(encoding="utf-8")
    table = page.split("| elites | width must be below |")[1].split("\n\n")[0]
    rows = re.findall(r"(?m)^\| (\d+) \| ([\d.]+) % \|$", table)
    assert len(rows) > 3
    for count, percent in rows:
        width = float(percent) / 100
        assert chance_of_hull(width - 0.0005, int(count)) < CHANCE
        assert chance_of_hull(width + 0.0005, int(count)) > CHANCE


def test_the_margins_table_is_what_the_rule_says():
    """How far a range may go on beyond the hull, for each number of elites in the table."""
    page = (DOCS / "narrowing.md").read_text(encoding="utf-8")
    table = page.split("| elites | margin on each side, of the hull's length |")[1].split("\n\n")[0]
    rows = re.findall(r"(?m)^\| (\d+) \| ([\d.]+) % \|$", table)
    assert len(rows) > 3
    for count, percent in rows:
        assert float(percent) == pytest.approx(100 * endpoint_margin(int(count)), abs=0.05)


def test_the_choices_table_is_what_the_rule_says():
    """The fewest elites that drop a choice, where all were tried equally often."""
    page = (DOCS / "narrowing.md").read_text(encoding="utf-8")
    table = page.split("| choices | elites needed |")[1].split("\n\n")[0]
    rows = [(int(k), int(n)) for k, n in re.findall(r"(?m)^\| (\d+) \| (\d+) \|$", table)]
    assert len(rows) > 3
    for choices, count in rows:
        assert chance_of_absence(1 / choices, count) < CHANCE / choices
        assert chance_of_absence(1 / choices, count - 1) >= CHANCE / choices


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_broken(page):
    """A link to a file of this project leads to a file, and to a heading that it has."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        if heading and file.suffix == ".md":
            assert heading in slugs(file.read_text(encoding="utf-8")), f"{page.name}: {target}"


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings: lower case, words joined by hyphens, as GitHub does."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
