"""`tbss-hpc logs`: what a command printed, and how its attempts ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.observer import Observer
from tbss_hpc.app.reading import failed as failed_ones
from tbss_hpc.app.reading import find_command, log_of, read_log
from tbss_hpc.cli import options
from tbss_hpc.core.ledger import Standing
from tbss_hpc.errors import UsageError
from tbss_hpc.store.folder import RUNS, find_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(logs)


def logs(
    command: Annotated[
        str | None,
        typer.Argument(metavar="PAIR|L<line>", help="Which command: G_to_F, or L17 for line 17."),
    ] = None,
    run: options.Run = None,
    runs: options.Runs = Path(RUNS),
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", help="Only this attempt.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="The last attempt of every command that failed.")
    ] = False,
) -> None:
    """Show the log of a command, all its attempts one after another."""
    observer = Observer(find_run(runs.resolve(), run))
    observer.look()
    if command is not None:
        _show(observer, find_command(observer, command), attempt)
    elif failed:
        for standing in failed_ones(observer):
            _show(observer, standing, standing.reports[-1].attempt.number)
    else:
        raise UsageError(
            "Say which command's log to show.",
            fix="tbss-hpc logs G_to_F, tbss-hpc logs L17, or tbss-hpc logs --failed",
        )


def _show(observer: Observer, standing: Standing, attempt: int | None) -> None:
    for piece in read_log(log_of(observer, standing), attempt):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
