"""The dashboard as a person sees it: MLflow's own pages in a real browser.

With HPSEARCH_SCREENSHOTS set, the pictures of docs/images are made anew, from the whole digits
study; otherwise a smaller one is enough.
"""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpsearch.catalog import shipped_studies
from hpsearch.data.prepared import prepare
from hpsearch.final import open_sealed_test
from hpsearch.store.database import open_database
from hpsearch.store.studies import create_study
from hpsearch.study_file import load_study, overridden
from hpsearch.tracking.mirror import sync
from hpsearch.tracking.ui import find_experiment, start_ui
from hpsearch.worker import WorkerOptions, run_worker

pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES = bool(os.environ.get("HPSEARCH_SCREENSHOTS"))
# MLflow's pages load a few MB of scripts; a busy machine may need this long.
PATIENCE_MS = 60_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium; in CI it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.environ.get("CI"):
        pytest.fail("no chromium on this machine: apt-get install -y chromium")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install -y chromium")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the study, MLflow's copy and the report are."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def mirrored(chromium, folder):  # noqa: ARG001 - nothing is trained without a browser
    """A finished study of real digits, copied to MLflow: (dashboard, report)."""
    url, uri = f"sqlite:///{folder}/hpsearch.db", f"sqlite:///{folder}/mlflow.db"
    source = shipped_studies()["digits"]
    size = {} if PICTURES else {"rounds": 3, "trials": 10}
    spec = overridden(load_study(source), **size)
    database = open_database(url, create=True)
    prepared = prepare(spec, None)
    rows = len(prepared.validation())
    create_study(database, spec, source.read_text(), prepared.fingerprint, rows)
    run_worker(WorkerOptions(url, "digits"), threading.Event())
    open_sealed_test(url, "digits", None)
    report = sync(url, "digits", uri)
    dashboard = start_ui(uri, find_experiment(database, "digits", uri), 0)
    database.close()
    yield dashboard, report
    dashboard.stop()


@pytest.fixture
def page(chromium):
    """An empty browser window, wide enough for MLflow's tables."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 860}, device_scale_factor=1.25)
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def _picture(page, name):
    if PICTURES:
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"{name}.png")


def _close_assistant(page):
    """MLflow opens a chat panel beside the runs; it only takes room."""
    close = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
    close.click()
    close.wait_for(state="hidden")


def _expand(page, name):
    """Open the runs below a run, with the sign before its name."""
    cell = page.locator("[col-id='attributes.`Run Name`']").filter(
        has=page.get_by_role("link", name=name, exact=True)
    )
    cell.get_by_role("button").click()


def test_runs_are_visible_and_nested(mirrored, page):
    """The study's page shows its run; opened, it shows the rounds, and those their trials."""
    dashboard, _ = mirrored
    page.goto(dashboard.url)
    page.get_by_role("link", name="digits", exact=True).last.wait_for()
    _close_assistant(page)
    _expand(page, "digits")
    for name in ("round 3", "confirmation", "final"):
        page.get_by_role("link", name=name, exact=True).wait_for()
    _expand(page, "round 3")
    page.get_by_role("link", name="trial 29" if not PICTURES else "trial 299").wait_for()
    _picture(page, "dashboard-runs")


def _run_page(dashboard, report, part=""):
    base = dashboard.url.split("/#")[0]
    run = f"{base}/#/experiments/{report.experiment_id}/runs/{report.run_id}"
    return f"{run}{part}?workflowType=machine_learning"


def test_ranges_are_drawn_over_the_rounds(mirrored, page):
    """The study run's page draws every range and the best score over the rounds."""
    page.goto(_run_page(*mirrored, "/model-metrics"))
    _close_assistant(page)
    page.get_by_text("range/learning_rate").first.wait_for()
    for end in ("low", "high", "log10_low", "log10_high"):
        page.get_by_text(f"digits (range/learning_rate/{end})").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for(state="attached")
    _picture(page, "dashboard-ranges")


def test_study_run_shows_note_and_files(mirrored, page):
    """The study run's page tells the winner and the test figure, and keeps the files."""
    page.goto(_run_page(*mirrored))
    page.get_by_text("the test split was opened once").first.wait_for()
    page.goto(_run_page(*mirrored, "/artifacts"))
    for name in ("study.toml", "ledger.json", "ledger.md"):
        page.get_by_text(name, exact=True).first.wait_for()


def test_the_tested_network_has_a_page(mirrored, page):
    """The registered model is there with its version and what that has scored."""
    dashboard, _ = mirrored
    page.goto(f"{dashboard.url.split('/#')[0]}/#/models/digits")
    page.get_by_text("Version 1").first.wait_for()
    page.goto(f"{dashboard.url.split('/#')[0]}/#/models/digits/versions/1")
    page.get_by_text("Test accuracy").first.wait_for()
    _close_assistant(page)
    _picture(page, "dashboard-model")


@pytest.mark.usefixtures("mirrored")
def test_the_report_shows_every_figure(folder, page):
    """No figure is missing, nothing is logged to the console, and nothing is wider than a phone."""
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    command = [sys.executable, "-m", "hpsearch", "report", "digits"]
    subprocess.run([*command, "--out", "report.html"], cwd=folder, check=True, timeout=120)
    page.goto(f"file://{folder}/report.html")
    sizes = page.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(sizes) == 8
    assert min(sizes) > 0
    _picture(page, "report")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert said == []
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
