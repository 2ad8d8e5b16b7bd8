"""`hpsearch check`: say what is wrong with a study file, or what it would do."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    study: Annotated[str, typer.Argument(metavar="STUDY.toml", help="Study file to check.")],
) -> None:
    """Check a study file; every mistake is one line."""
    from hpsearch.cli.start import find_study_file
    from hpsearch.report.control import control_plan
    from hpsearch.report.lengths import length_text, rounds_text
    from hpsearch.report.numbers import dimension_text
    from hpsearch.search.sampling import check_sampler
    from hpsearch.study_file import load_study

    path = find_study_file(study)
    spec = load_study(path)
    check_sampler(spec.search.sampler)
    names = ", ".join(spec.space.names)
    control = control_plan(spec)
    typer.echo(
        f"{path}: fine. {spec.name}: {rounds_text(spec)} over {names}, {length_text(spec)} each, "
        f"on {spec.data.source}{control and f'; then {control}'}."
    )
    width = max(map(len, spec.space.names))
    for dimension in spec.space.dimensions:
        typer.echo(f"  {dimension.name:<{width}}  {dimension_text(dimension)}")
