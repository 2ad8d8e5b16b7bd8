"""The documentation as a site: `sphinx-build -W docs FOLDER`; every warning is an error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "hpsearch"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hpsearch"
html_show_copyright = False
html_show_sphinx = False
highlight_language = "text"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
copybutton_prompt_text = "$ "

# Written by Typer from the code, in place of what stands in this page.
_OF_THE_CODE = "reference-commands"


def _read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Links to files beside docs/ lead to their pages here; to files that are none, nowhere."""
    if name == _OF_THE_CODE:
        source[0] += _commands()
    text = re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md", r"](\1.md", source[0])
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", text)


def _commands() -> str:
    """Every command with its options, as `--help` knows them."""
    command = [sys.executable, "-m", "typer", "hpsearch.cli.main", "utils", "docs"]
    done = subprocess.run(
        [*command, "--name", "hpsearch"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    # Its own title is the page's already.
    return done.stdout.partition("\n")[2]


def setup(app: Sphinx) -> None:
    """Read pages through the above."""
    app.connect("source-read", _read)
