"""`hpsearch check`: say what is wrong with a study file, or what it would do."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    study: Annotated[str, typer.Argument(metavar="STUDY.toml", help="Study file to check.")],
) -> None:
    """Check a study file; every mistake is one line."""
    from hpsearch.cli.start import find_study_file
    from hpsearch.search.sampling import check_sampler
    from hpsearch.study_file import load_study

    path = find_study_file(study)
    spec = load_study(path)
    check_sampler(spec.search.sampler)
    names = ", ".join(spec.space.names)
    rounds = f"{spec.rounds} round" + ("s" if spec.rounds > 1 else "")
    typer.echo(
        f"{path}: fine. {spec.name}: {rounds} of {spec.trials} trials over {names}, "
        f"{spec.training.length.count} {spec.training.length.unit}s each, on {spec.data.source}."
    )
