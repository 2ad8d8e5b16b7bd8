"""`hpsearch test`: open the sealed test split of a finished study."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpsearch.cli import options
from hpsearch.cli.options import DEFAULT_DATABASE

if TYPE_CHECKING:
    from rich.console import Console


def test(
    name: options.StudyName,
    database: options.Database = DEFAULT_DATABASE,
    data_dir: options.DataDir = None,
    again: Annotated[
        bool, typer.Option("--again", help="Open the split although the figure is known.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Score the winner on the test split; every opening is counted and reported."""
    from hpsearch.cli.output import emit
    from hpsearch.final import check_ready, open_sealed_test
    from hpsearch.launch.local import parent_died, run_in_process
    from hpsearch.report.summary import print_test
    from hpsearch.store.database import open_database
    from hpsearch.store.mirroring import read_mirror
    from hpsearch.store.openings import test_figure
    from hpsearch.store.studies import load_study

    with closing(open_database(database)) as store:
        study = load_study(store, name)
        check_ready(study)
        figure = test_figure(store, study.id)
        opens = again or not _is_of_the_winner(figure)
        if opens:
            typer.echo(f"{name}: training its winner on all rows but the test rows ...", err=True)
            run_in_process(open_sealed_test, database, name, data_dir, True, parent_died)
            figure = test_figure(store, study.id)
        mirror = read_mirror(store, study.id)
    commands = options.commands(database, None if mirror is None else mirror.destination)

    def people(console: Console) -> None:
        print_test(console, name, figure, commands)
        if not opens:
            once_more = f"`{commands.about('test', name)} --again` opens the split once more"
            console.print(f"That is known already; {once_more}, which is counted.", markup=False)
        elif mirror is not None:
            console.print(f"`{commands.sync(name)}` takes it to MLflow.", markup=False)

    emit(figure, as_json=as_json, people=people)


def _is_of_the_winner(figure: dict[str, Any] | None) -> bool:
    """Whether the figure is that of the winner of now, and no opening waits to be finished."""
    if figure is None or figure["earlier_winner"]:
        return False
    return bool(figure["opening"] == figure["openings"])
