"""Every mistake a user can make: one clear line, exit code 2, nothing made, no traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from hpsearch.catalog import shipped_studies
from tests.acceptance.conftest import GRID_STUDY, SMALL_STUDY, Command

DIGITS = shipped_studies()["digits"].read_text()

# (what to replace in the digits study, by what, words the line must have)
STUDY_MISTAKES = [
    ("epochs = 10", "epoch = 10", ["[training] epoch", "did you mean 'epochs'"]),
    ("low = 1e-6", "low = 1.0", ["learning_rate", "low must be below high", "low=1.0"]),
    ("low = 1e-6", "low = 0.0", ["learning_rate", "log range must start above 0"]),
    ("test = 0.2", "test = 0.1", ["[data] split", "= 0.9"]),
    ("trials = 100", "trials = 0", ["[search] trials = 0", "must be 1 or more"]),
    ('"adam"', '"adamm"', ["[training] optimizer", "adamm", "did you mean 'adam'"]),
    ('name = "digits"', 'name = "a/b"', ["a/b", "a name starts with"]),
    ("seed = 0", "seed = ", ["not a TOML file", "line 3"]),
    (
        '"log", limits = [1e-7',
        '"lg", limits = [1e-7',
        ["[space] learning_rate.scale", "did you mean 'log'"],
    ),
    (
        "[space]",
        '[space]\noptimizer = { choices = [{ name = "sgd", momentm = 0.9 }] }',
        ["[space] optimizer.choices.0.momentm", "did you mean 'momentum'"],
    ),
    (
        "[space]",
        '[space]\noptimizer = { choices = [{ name = "sgd", learning_rate = 0.1 }] }',
        ["[space] optimizer.choices.0.learning_rate = 0.1", "a dimension of its own"],
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), STUDY_MISTAKES)
def test_a_mistake_in_the_study_file_is_one_line(hpsearch: Command, old, new, words):
    """`start` and `check` name file, key and value, and nothing is created."""
    assert old in DIGITS
    file = hpsearch.write("bad.toml", DIGITS.replace(old, new, 1))
    for command in ("check", "start"):
        line = hpsearch.refusal(command, file)
        assert line.startswith(f"hpsearch: {file}: ")
        for word in words:
            assert word in line
    assert [p.name for p in hpsearch.folder.iterdir()] == [file]


# (what to replace in the grid, by what, words the line must have)
GRID_MISTAKES = [
    ('["he", { normal', '["he", { norml', ["[space] initializer.choices.1.norml", "'normal'"]),
    ("[search]", "[search]\ntrials = 5", ["[search] trials = 5", "write trials = 4"]),
    ("[search]", "[search]\nrounds = 2", ["[search] rounds = 2", "a grid has one round"]),
    (
        "[search]",
        "l2 = { low = 0, high = 1 }\n[search]",
        ["[space] l2 = {", "write l2 = { choices = [...] }"],
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), GRID_MISTAKES)
def test_a_mistake_in_a_grid_is_one_line(hpsearch: Command, old, new, words):
    """What a grid cannot have is named with what to write instead, and nothing is created."""
    assert old in GRID_STUDY
    file = hpsearch.write("bad.toml", GRID_STUDY.replace(old, new, 1))
    line = hpsearch.refusal("start", file)
    for word in [f"hpsearch: {file}: ", *words]:
        assert word in line
    assert [p.name for p in hpsearch.folder.iterdir()] == [file]


def test_check_lists_every_mistake(hpsearch: Command):
    """A file with three mistakes gets three lines."""
    text = DIGITS.replace("epochs = 10", "epoch = 10").replace('"relu"', '"rel"')
    file = hpsearch.write("bad.toml", text.replace("rounds = 3", "rounds = 0"))
    done = hpsearch("check", file)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_a_missing_file_says_how_to_write_one(hpsearch: Command):
    """A path that is not there is named, with the command that writes a study file."""
    line = hpsearch.refusal("start", "nothere.toml")
    assert "nothere.toml" in line
    assert "hpsearch new" in line


@pytest.mark.parametrize("command", ["show", "ranges", "trials", "test", "worker", "sync"])
def test_a_missing_database_is_not_made_by_looking(hpsearch: Command, command):
    """Commands that read say that there is no database, and make none."""
    assert "no database here" in hpsearch.refusal(command, "digits")
    assert not list(hpsearch.folder.iterdir())


def test_an_unknown_study_names_the_nearest(small: Command):
    """A misspelt name is answered with the study that was probably meant."""
    assert small.refusal("show", "smal") == "hpsearch: smal: no such study; there is small"


def unusable_databases(folder: Path) -> dict[str, str]:
    """Database addresses that cannot be used, with a word of the expected line."""
    (folder / "text.db").write_text("This is a text file, not a database. " * 40)
    (folder / "folder.db").mkdir()
    return {
        "sqlite:///text.db": "not an SQLite database",
        "sqlite:///folder.db": "is a folder",
        "sqlite://slash.db": "with three slashes",
        "sqlite:///": "names no file",
        "sqlite:///no/such/folder/x.db": "does not exist",
        "mysql://localhost/x": "mysql",
        "nonsense": "not a database address",
        "postgresql://nobody@127.0.0.1:1/none": "127.0.0.1:1/none: no server answers there",
    }


def test_unusable_databases_are_one_line(hpsearch: Command):
    """A database that cannot be opened is named with what to do, and nothing is made."""
    cases = unusable_databases(hpsearch.folder)
    before = sorted(p.name for p in hpsearch.folder.iterdir())
    for address, word in cases.items():
        line = hpsearch.refusal("start", "digits", "--database", address, "--tracking", "none")
        assert word in line
    assert sorted(p.name for p in hpsearch.folder.iterdir()) == before


def test_one_database_for_both_is_refused(hpsearch: Command):
    """--database and --tracking on one file are refused before either is made."""
    same = "sqlite:///both.db"
    line = hpsearch.refusal("start", "digits", "--database", same, "--tracking", same)
    assert "is the --database too" in line
    assert not list(hpsearch.folder.iterdir())


def test_mnist_without_files_says_what_to_do(hpsearch: Command):
    """A data folder without the files names the folder and the option."""
    line = hpsearch.refusal("start", "mnist-500", "--data-dir", "empty", "--tracking", "none")
    assert "empty" in line
    assert not list(hpsearch.folder.iterdir())


def test_a_port_in_use_is_one_line(hpsearch: Command):
    """`ui` on a taken port says so and names the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = hpsearch.refusal("ui", "--port", port, "--no-browser")
    assert port in line
    assert "--port" in line


# (what was typed, words the line must have)
COMMAND_MISTAKES = [
    (["strt"], ["No such command 'strt'", "start"]),
    (["start", "--trials", "0"], ["--trials", "hpsearch start --help"]),
    (["start", "--tials", "3"], ["--tials", "--trials"]),
    (["show"], ["NAME"]),
    (["start", "--launcher", "moon"], ["--launcher", "local"]),
    (["start", "nowhere"], ["nowhere", "digits, mnist-500, moons"]),
    (["ui", "--tracking", "none"], ["--tracking none"]),
    (["new", "a\\1"], ["a name starts with"]),
    (["new", 'a"b'], ["a name starts with"]),
]


@pytest.mark.parametrize(("typed", "words"), COMMAND_MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line(hpsearch: Command, typed, words):
    """A wrong command, option or value is answered in one line that says what is right."""
    line = hpsearch.refusal(*typed)
    for word in words:
        assert word in line
    assert not list(hpsearch.folder.iterdir())


@pytest.mark.parametrize(
    "typed",
    [
        ["start", "bad.toml"],
        ["start", "--trials", "0"],
        ["start", "digits", "--database", "nonsense"],
        ["show", "digits"],
    ],
)
def test_a_process_of_its_own_says_the_same(hpsearch: Command, typed):
    """One mistake of each kind in a real process: what was said above is what a user sees."""
    hpsearch.write("bad.toml", DIGITS.replace("epochs = 10", "epoch = 10"))
    done, here = hpsearch.apart(*typed), hpsearch(*typed)
    assert (done.returncode, done.stdout) == (here.returncode, here.stdout)
    assert done.stderr.replace("python -m hpsearch", "hpsearch") == here.stderr


def test_kernels_that_are_none_are_named(hpsearch: Command, monkeypatch):
    """HPSEARCH_KERNELS is checked before anything is created."""
    monkeypatch.setenv("HPSEARCH_KERNELS", "fortran")
    file = hpsearch.write("small.toml", SMALL_STUDY)
    said = 'HPSEARCH_KERNELS must be "numpy" or "numba", got "fortran"'
    assert hpsearch.refusal("start", file) == f"hpsearch: {said}"
    assert [p.name for p in hpsearch.folder.iterdir()] == [file]
