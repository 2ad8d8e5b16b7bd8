"""What drawing figures needs, and what it does without."""

import subprocess
import sys


def test_figures_are_drawn_without_a_database():
    """Importing what draws the figures imports neither SQLAlchemy nor Optuna nor MLflow."""
    code = (
        "import sys, hpsearch.report.figures.drawing\n"
        "print(sorted({'sqlalchemy', 'optuna', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
