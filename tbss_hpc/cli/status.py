"""`tbss-hpc status`: how a run stands, from its files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.observer import Observer, as_json
from tbss_hpc.cli import options, screen
from tbss_hpc.errors import ExitCode
from tbss_hpc.store.folder import RUNS, find_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(status)


def status(
    run: options.Run = None,
    runs: options.Runs = Path(RUNS),
    json: options.Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Let the exit code say how the run stands.")
    ] = False,
) -> int:
    """Say how a run stands, also when its controller is gone."""
    observer = Observer(find_run(runs.resolve(), run))
    found = observer.look()
    typer.echo(as_json(found) if json else "\n".join(screen.status_text(found)))
    if not check or found.state in screen.GOING_ON:
        return ExitCode.DONE
    return screen.exit_code_of(observer.machine.end)
