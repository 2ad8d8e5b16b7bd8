"""Chaos: for a while everything that can die is killed at random, and then nothing is missing.

The short form is a part of every run of the tests. The long one, ten seeds on both databases, a
minute each, is `pytest -m chaos`; with HPSEARCH_CHAOS=FILE every run adds a line of JSON to a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.conftest import (
    Command,
    comparable,
    kill_session,
    workers_of,
)

STUDY = """
name = "chaos"
[data]
source = "digits"
[model]
hidden = [100]
[training]
epochs = {epochs}
[space]
learning_rate = {{ low = 1e-4, high = 1e-2, scale = "log" }}
weight_decay = {{ low = 1e-8, high = 1e-4, scale = "log" }}
[search]
rounds = 3
trials = {trials}
[confirmation]
finalists = 2
seeds = 3
"""
# How often a search is left alone while it has no workers yet; else it would never have any.
_SPARED = 0.9
TRACKING = ("--tracking", "sqlite:///mlflow.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """Address of a database, and its server where it has one that can be restarted."""
    if request.param == "sqlite":
        yield "sqlite:///hpsearch.db", None
        return
    server = request.getfixturevalue("server")
    yield server.get_uri(), server


@pytest.mark.parametrize("seed", [0])
def test_a_short_chaos_changes_nothing(hpsearch: Command, place: tuple[str, Any], seed: int):
    """Some seconds of random deaths end with the table of an undisturbed search."""
    survives(hpsearch, place, seed, seconds=8, study=STUDY.format(epochs=20, trials=40))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(1, 11))
def test_chaos_changes_nothing(hpsearch: Command, place: tuple[str, Any], seed: int):
    """A minute of random deaths ends with the table of an undisturbed search."""
    survives(hpsearch, place, seed, seconds=60, study=STUDY.format(epochs=60, trials=200))


def survives(
    hpsearch: Command, place: tuple[str, Any], seed: int, *, seconds: float, study: str
) -> None:
    """Disturb a search, let it end, and compare all it left behind with an undisturbed one."""
    url, server = place
    file = hpsearch.write("chaos.toml", study)
    command = ("start", file, "--database", url, *TRACKING)
    did = Chaos(hpsearch, command, server, seed).rage(seconds)
    # Whatever is left of the workers finishes its claim and leaves; then nobody disturbs.
    ended = hpsearch(*command, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr

    trials = hpsearch.json("trials", "chaos", "--database", url)
    planned = study_of(file, hpsearch)
    assert Counter((t["purpose"], t["state"]) for t in trials) == planned
    undisturbed = ("--database", "sqlite:///undisturbed.db")
    assert hpsearch("start", file, *undisturbed, "--tracking", "none").returncode == 0
    assert comparable(trials) == comparable(hpsearch.json("trials", "chaos", *undisturbed))
    ledger = hpsearch.json("ranges", "chaos", "--database", url)
    assert ledger == hpsearch.json("ranges", "chaos", *undisturbed)
    shown = hpsearch.json("show", "chaos", "--database", url)
    assert (shown["state"], shown["running"], shown["test"]["openings"]) == ("complete", 0, 1)
    assert mirrored(hpsearch.folder) == Counter(t["purpose"] for t in trials)
    report(did, url=url, seed=seed, trials=len(trials), seconds=seconds)


def study_of(file: str, hpsearch: Command) -> Counter[tuple[str, str]]:
    """How many trials of each purpose the study file plans, all complete."""
    document = tomllib.loads((hpsearch.folder / file).read_text())
    search, confirmation = document["search"], document["confirmation"]
    return Counter(
        {
            ("search", "complete"): search["rounds"] * search["trials"],
            ("confirmation", "complete"): confirmation["finalists"] * confirmation["seeds"],
            ("final", "complete"): 1,
        }
    )


def mirrored(folder: Path) -> Counter[str]:
    """Finished trial runs in MLflow by purpose, asked of MLflow itself."""
    code = (
        "import json, mlflow; from mlflow import MlflowClient; "
        "client = MlflowClient('sqlite:///mlflow.db'); "
        "found = client.get_experiment_by_name('chaos'); "
        "runs, token = [], None\n"
        "while True:\n"
        "    page = client.search_runs([found.experiment_id], max_results=1000, page_token=token)\n"
        "    runs += page; token = page.token\n"
        "    if not token: break\n"
        "assert all(run.info.status != 'RUNNING' for run in runs)\n"
        "print(json.dumps([r.data.tags['hpsearch.key'] for r in runs "
        "if r.data.tags['hpsearch.kind'] == 'trial']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    keys = json.loads(done.stdout.splitlines()[-1])
    assert len(set(keys)) == len(keys)
    return Counter(key.split("/")[1] for key in keys)


class Chaos:
    """Keeps a search going and kills what it finds of it, by a seed."""

    def __init__(self, hpsearch: Command, command: Sequence[str], server: Any, seed: int) -> None:
        self._hpsearch = hpsearch
        self._command = command
        self._server = server
        self._draws = random.Random(seed)  # noqa: S311 - no secret
        self._restarts = 2 if server else 0
        self._search = self._begin()
        self.did: Counter[str] = Counter()

    def rage(self, seconds: float) -> Counter[str]:
        """Disturb for so long; every pause is drawn, so that everything is met in every state."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._search.wait(self._draws.uniform(0.1, 1.2))
            if self._search.poll() is not None:
                self._search = self._begin()
            else:
                self._disturb()
        kill_session(self._search)
        return self.did

    def _begin(self) -> subprocess.Popen[str]:
        # Nobody reads what it prints: a pipe would fill up.
        return self._hpsearch.background(*self._command, silent=True)

    def _disturb(self) -> None:
        if not workers_of(self._search) and self._draws.random() < _SPARED:
            return
        kinds: list[Callable[[], str | None]] = [
            *[self._kill_worker] * 5, self._kill_mirror, self._kill_start, self._kill_all,
            self._interrupt,
        ]  # fmt: skip
        if self._restarts:
            kinds.append(self._restart_server)
        done = self._draws.choice(kinds)()
        if done:
            self.did[done] += 1

    def _kill_worker(self) -> str | None:
        return self._kill(workers_of(self._search), "worker killed")

    def _kill_mirror(self) -> str | None:
        mirrors = [p for p in psutil.process_iter(["cmdline"]) if self._is_mirror(p)]
        return self._kill(mirrors, "mirror killed")

    def _is_mirror(self, process: psutil.Process) -> bool:
        try:
            words = " ".join(process.info["cmdline"] or ())
            return "hpsearch.tracking.mirror" in words and process.cwd() == str(
                self._hpsearch.folder
            )
        except psutil.Error:
            return False

    def _kill(self, found: list[psutil.Process], what: str) -> str | None:
        if not found:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._draws.choice(sorted(found, key=lambda p: p.pid)).kill()
        return what

    def _kill_start(self) -> str:
        self._search.kill()
        self._search.wait()
        return "start killed"

    def _kill_all(self) -> str:
        kill_session(self._search)
        return "everything killed"

    def _interrupt(self) -> str:
        self._search.send_signal(signal.SIGTERM)
        return "start terminated"

    def _restart_server(self) -> str:
        self._restarts -= 1
        self._server.stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._search.wait(self._draws.uniform(0.1, 3.0))
        self._server.start()
        return "server restarted"


def report(did: Counter[str], **facts: Any) -> None:
    """Add what was survived to the file that HPSEARCH_CHAOS names."""
    file = os.environ.get("HPSEARCH_CHAOS")
    if file:
        facts["url"] = str(facts["url"]).split(":", maxsplit=1)[0]
        with Path(file).open("a") as lines:
            lines.write(json.dumps({**facts, "did": dict(did)}) + "\n")
