"""`tbss-hpc cancel`: end a run now."""

from __future__ import annotations

from pathlib import Path

import typer

from tbss_hpc.app.cancelling import cancel_run
from tbss_hpc.cli import options
from tbss_hpc.errors import ExitCode
from tbss_hpc.store.folder import RUNS, find_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(cancel)


def cancel(run: options.Run = None, runs: options.Runs = Path(RUNS)) -> int:
    """End a run: its allocations are cancelled, and what is done stays done.

    Works also when the controller is gone. Returns when no allocation is left.
    """
    found = find_run(runs.resolve(), run)
    try:
        typer.echo(cancel_run(found))
    except KeyboardInterrupt:
        typer.echo(f"Run {found.name} was asked to end, and ends without you.")
    return ExitCode.DONE
