"""`tbss-hpc resume`: go on with a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.planning import in_batch_job
from tbss_hpc.app.resuming import ready_to_resume
from tbss_hpc.cli import options
from tbss_hpc.cli.submit import start
from tbss_hpc.errors import ExitCode
from tbss_hpc.store.folder import RUNS, find_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(resume)


def resume(
    run: options.Run = None,
    runs: options.Runs = Path(RUNS),
    failed: Annotated[
        bool, typer.Option("--failed", help="Try again also what had failed for good.")
    ] = False,
    wait: options.Wait = False,
    foreground: options.Foreground = False,
) -> int:
    """Go on with a run whose controller died, or that was stopped, cancelled or incomplete.

    What runs on nodes is found again and goes on; what is done is not made again.
    """
    found = find_run(runs.resolve(), run)
    nothing = ready_to_resume(found, retry_failed=failed)
    if nothing:
        typer.echo(nothing)
        return ExitCode.DONE
    return start(found, wait=wait, foreground=foreground or in_batch_job(os.environ))
