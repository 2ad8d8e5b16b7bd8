"""What is imported only by those who need it, seen from one fresh process."""

import json
import subprocess
import sys

# Each step adds to what was imported before it, so what needs least comes first.
_STEPS = """
import json, sys

def after(step):
    heavy = "numpy numba optuna sqlalchemy pydantic mlflow scipy matplotlib".split()
    print(json.dumps([step, sorted(set(heavy) & set(sys.modules))]), file=sys.stderr)

sys.argv = ["hpsearch", "--help"]
from hpsearch.cli.main import run
try:
    run()
except SystemExit:
    after("help")
import hpsearch.report.figures.drawing
after("figures")
import hpsearch.tracking.mirror, hpsearch.tracking.process, hpsearch.tracking.ui
after("tracking")
"""


def test_nobody_imports_what_others_need():
    """Help answers at once, figures are drawn without a database, looking needs no MLflow."""
    command = [sys.executable, "-c", _STEPS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = dict(json.loads(line) for line in done.stderr.splitlines())
    assert "start" in done.stdout
    assert imported["help"] == []
    assert not {"sqlalchemy", "optuna", "mlflow"} & set(imported["figures"])
    assert "mlflow" not in imported["tracking"]
