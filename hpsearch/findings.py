"""What a look at a database or a study finds, one finding a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # worth a look; nothing is lost or in doubt
    WRONG = "wrong"


# How a command is told that nothing is to be copied to MLflow.
_NO_TRACKING = " --tracking none"
_BY_WEIGHT = (Verdict.WRONG, Verdict.WARNING, Verdict.OK)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at, in a word or two.
        verdict: How it stands.
        said: One line about it.
        study: The study it is about, None where it is about all of them.
        command: What to type to mend it, None where there is nothing to mend.
    """

    check: str
    verdict: Verdict
    said: str
    study: str | None = None
    command: str | None = None

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "check": self.check,
            "study": self.study,
            "verdict": self.verdict,
            "said": self.said,
            "command": self.command,
        }


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict among findings; ok where there are none."""
    found = {finding.verdict for finding in findings}
    return next((verdict for verdict in _BY_WEIGHT if verdict in found), Verdict.OK)


@dataclass(frozen=True)
class Commands:
    """Commands that mend what was found, as they have to be typed here.

    Attributes:
        database: The `--database` to add, with a space before it; empty where it is the default.
        tracking: The same for `--tracking`.
    """

    database: str = ""
    tracking: str = ""

    def start(self, study: str, *options: str) -> str:
        """Go on with a study."""
        return " ".join(["hpsearch start", study, *options]) + self.database + self.tracking

    def run_again(self, study: str) -> str:
        """Run a study once more from its beginning, under another name."""
        return self.start(study, "--name", f"{study}-again")

    def test(self, study: str) -> str:
        """Open the test split, or finish an opening."""
        return self.about("test", study)

    def sync(self, study: str) -> str:
        """Bring MLflow up to date; where none is wanted, the default one, as `sync` needs one."""
        tracking = "" if self.tracking == _NO_TRACKING else self.tracking
        return f"hpsearch sync {study}{self.database}{tracking}"

    def ui(self, study: str) -> str | None:
        """Open the dashboard; None where nothing is copied to MLflow."""
        if self.tracking == _NO_TRACKING:
            return None
        return f"hpsearch ui {study}{self.database}{self.tracking}"

    def about(self, command: str, study: str) -> str:
        """A command that only needs the study and its database."""
        return f"hpsearch {command} {study}{self.database}"

    def extended(self, study: str, rounds: int, *options: str) -> str:
        """Give a study that may be finished so many rounds in all."""
        return self.start(study, "--rounds", str(rounds), *options)

    def wider(self, study: str) -> str:
        """Write a study file like this study's, to change its ranges."""
        return f"hpsearch new {study}-wider --from {study}{self.database}"

    def list_studies(self) -> str:
        """Open the database as every command does."""
        return f"hpsearch list{self.database}"
