"""`tbss-hpc attach`: watch a run."""

from __future__ import annotations

from pathlib import Path

import typer

from tbss_hpc.cli import options, screen
from tbss_hpc.store.folder import RUNS, find_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(attach)


def attach(run: options.Run = None, runs: options.Runs = Path(RUNS)) -> int:
    """Show a run until it ends; Ctrl-C ends only the showing. The exit code says how it ended."""
    return screen.follow(find_run(runs.resolve(), run))
