"""`tbss-hpc cleanup`: make certain that runs which nobody controls have nothing in the queue."""

from __future__ import annotations

from pathlib import Path

import typer

from tbss_hpc.app.cleaning import clean_up
from tbss_hpc.cli import options
from tbss_hpc.store.folder import RUNS


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(cleanup)


def cleanup(run: options.Run = None, runs: options.Runs = Path(RUNS)) -> None:
    """Cancel what the runs here have left in the queue, by recorded id and by name.

    Runs that a living controller owns are left alone. Without --run: all runs here.
    """
    for line in clean_up(runs.resolve(), run):
        typer.echo(line)
