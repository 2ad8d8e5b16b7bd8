"""`hpsearch report` as a user types it, on a small real study."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.acceptance.conftest import SMALL_STUDY, Command

LOCAL = ("--tracking", "none")


def test_report_is_a_page_and_the_figures_of_the_study(small: Command):
    """Without options all lie in report/NAME, and the command prints their paths."""
    done = small("report", "small")
    assert done.returncode == 0, done.stderr
    folder = small.folder / "report/small"
    names = [
        "funnel.png",
        "boxes.png",
        "best-trials.png",
        "progress.png",
        "finalists.png",
        "report.html",
    ]
    assert done.stdout.split() == [f"report/small/{name}" for name in names]
    assert all((folder / n).read_bytes().startswith(b"\x89PNG") for n in names[:-1])
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_page_alone(small: Command):
    """--out FILE.html writes one file that has everything in itself."""
    done = small("report", "small", "--out", "pages/small.html")
    assert (done.returncode, done.stdout.split()) == (0, ["pages/small.html"])
    text = (small.folder / "pages/small.html").read_text()
    assert [p.name for p in (small.folder / "pages").iterdir()] == ["small.html"]
    assert text.count('<img src="data:image/') == 8
    assert len(text) < 3_000_000


def test_figures_as_svg(small: Command):
    """--format svg draws in lines, for who prints them large."""
    done = small("report", "small", "--figure", "funnel", "--format", "svg", "--out", "lines")
    assert done.stdout.split() == ["lines/funnel.svg"]
    assert "<svg" in (small.folder / "lines/funnel.svg").read_text()


def test_report_as_one_document(small: Command):
    """--json names every figure with its file, and what could not be drawn with the reason."""
    wanted = ("--figure", "loss-curves", "--figure", "layers", "--out", "figures")
    document = small.json("report", "small", *wanted)
    (missing,) = document.pop("missing")
    assert document == {
        "study": "small",
        "page": None,
        "figures": [{"figure": "loss-curves", "file": "figures/loss-curves.png"}],
    }
    assert missing.keys() == {"figure", "reason"}
    assert missing["figure"] == "layers"
    assert "diagnose asks for it" in missing["reason"]
    assert (small.folder / "figures/loss-curves.png").is_file()


def test_the_table_is_printed_and_written(small: Command):
    """The table of outcomes is on the terminal and a Markdown file, one line for each trial."""
    done = small("report", "small", "--figure", "table")
    assert done.returncode == 0
    assert done.stdout.count("batch size") == 16
    assert (small.folder / "report/small/table.md").read_text().count("batch size") == 16


def test_a_changed_report_takes_effect_with_the_next_start(small: Command):
    """Another [report] is neither refused nor trained for; the next `report` draws by it."""
    before = small.json("trials", "small")
    text = SMALL_STUDY + '[report]\nfigures = ["panels", "table"]\npanel = "activation"\n'
    done = small("start", small.write("small.toml", text), *LOCAL)
    assert done.returncode == 0, done.stderr
    assert "already finished" in done.stdout
    assert small.json("trials", "small") == before
    figures = [f["figure"] for f in small.json("report", "small")["figures"]]
    assert figures == ["panels", "table"]
    assert small("new", "other", "--from", "small").returncode == 0
    assert 'panel = "activation"' in (small.folder / "other.toml").read_text()


def test_before_the_first_trial_there_is_a_reason_instead(hpsearch: Command):
    """A study without a finished trial has no figure: one line says why, exit code 1."""
    from hpsearch.data.prepared import prepare
    from hpsearch.store.database import open_database
    from hpsearch.store.studies import create_study
    from hpsearch.study_file import parse_study

    spec = parse_study(SMALL_STUDY, "small.toml")
    database = open_database(f"sqlite:///{hpsearch.folder}/hpsearch.db", create=True)
    prepared = prepare(spec)
    create_study(database, spec, SMALL_STUDY, prepared.fingerprint, len(prepared.validation()))
    database.close()
    done = hpsearch("report", "small")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert "best-trials: not drawn: no finished trial has a score yet" in lines
    assert all("not drawn: " in line for line in lines)
    assert not (hpsearch.folder / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothere",), "nothere: no such study; there is small"),
        (("small", "--figure", "loss-curve"), "did you mean 'loss-curves'?"),
        (("small", "--out", "small.toml"), "--out small.toml: cannot be written"),
        (("small", "--out", "a.html", "--figure", "table"), "--out a.html: a page"),
    ],
)
def test_a_mistake_is_one_line(small: Command, arguments, words):
    """An unknown study or figure, or a folder that cannot be: one line, exit code 2."""
    done = small("report", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert words in line
    assert done.stdout == ""


def test_only_report_imports_matplotlib(small: Command):
    """`trials` draws nothing, so it does not pay for matplotlib."""
    code = (
        "import sys; sys.argv = ['hpsearch', 'trials', 'small']\n"
        "from hpsearch.cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print('matplotlib' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=small.folder, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"


def test_a_shipped_study_in_a_folder_is_found_by_name(hpsearch: Command):
    """`course/search` is checked, copied and started like any other shipped study."""
    assert hpsearch("check", "course/search").returncode == 0
    assert hpsearch("new", "mine", "--from", "course/search").returncode == 0
    assert 'name = "mine"' in (hpsearch.folder / "mine.toml").read_text()
    done = hpsearch("start", "course/search", "--data-dir", ".", *LOCAL)
    assert done.returncode == 2
    assert "train-images" in done.stderr  # the study was found; it is the data that is not there
    unknown = hpsearch("start", "course/nothere")
    assert "course/search" in json.dumps(unknown.stderr)


def test_trials_are_chosen_and_written_for_a_spreadsheet(small: Command):
    """Conditions and --top choose, --csv writes a line for each, --json the same trials."""
    some = ("trials", "small", "--where", "round=1", "--top", "3")
    chosen = small.json(*some)
    assert len(chosen) == 3
    assert [t["score"] for t in chosen] == sorted((t["score"] for t in chosen), reverse=True)
    head, *rows = small(*some, "--csv").stdout.splitlines()
    assert head.startswith("purpose,number,round,state,score")
    assert [int(row.split(",")[1]) for row in rows] == [t["number"] for t in chosen]
    refused = small("trials", "small", "--where", "rund=1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "did you mean 'round'?" in refused.stderr
