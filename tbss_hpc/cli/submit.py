"""`tbss-hpc submit`: plan, ask once, start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.control import control_here, exit_code, log_to
from tbss_hpc.app.launch import launch
from tbss_hpc.app.planning import in_batch_job
from tbss_hpc.app.prepare import Typed, prepare
from tbss_hpc.app.rehearsal import rehearse
from tbss_hpc.app.runs import Prepared, create_run, future_run
from tbss_hpc.app.work import Source
from tbss_hpc.cli import options, screen
from tbss_hpc.errors import ExitCode
from tbss_hpc.store.folder import RUNS, RunFolder


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(submit)


def submit(  # noqa: PLR0913, PLR0917 - one parameter an option
    source: options.Source = ".",
    run: options.NewRun = None,
    engine: options.Engine = None,
    chdir: options.Chdir = None,
    expect: options.Expect = None,
    expect_file: options.ExpectFile = None,
    scheduler: options.Scheduler = None,
    site: options.SiteFile = None,
    workers: options.Workers = None,
    queue: options.Queue = None,
    account: options.Account = None,
    cores: options.Cores = None,
    memory: options.Memory = None,
    walltime: options.Walltime = None,
    cores_per_command: options.CoresPerCommand = None,
    timeout: options.Timeout = None,
    retries: options.Retries = 2,
    command_time: options.CommandTime = None,
    runs: options.Runs = Path(RUNS),
    yes: options.Yes = False,
    wait: options.Wait = False,
    foreground: options.Foreground = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
) -> int:
    """Run every command of SOURCE, in a few allocations, until each is done or given up.

    At a terminal the plan is shown, one question asked, and progress shown; Ctrl-C or a closed
    terminal ends only the showing. Elsewhere the run is started and its name printed.
    """
    typed = Typed(
        source=Source(source, engine, chdir, tuple(expect or ()), expect_file),
        scheduler=scheduler,
        site=site,
        site_options=options.site_options(
            workers=workers,
            queue=queue,
            account=account,
            cores=cores,
            memory=memory,
            walltime=walltime,
            cores_per_command=cores_per_command,
        ),
        timeout=timeout,
        retries=retries,
        command_time=command_time,
    )
    prepared, notes = prepare(typed, os.environ)
    if dry_run:
        screen.show_plan(prepared, notes)
        typer.echo("\n".join(rehearse(prepared, future_run(runs.resolve(), run))))
        return ExitCode.DONE
    if not _agreed(prepared, notes, yes=yes):
        return ExitCode.DONE
    made = create_run(prepared, runs.resolve(), run)
    return start(made, wait=wait, foreground=foreground or in_batch_job(os.environ))


def _agreed(prepared: Prepared, notes: list[str], *, yes: bool) -> bool:
    """Show the plan and ask; False where there is nothing to be done."""
    if screen.is_terminal():
        screen.show_plan(prepared, notes)
    if prepared.plan.todo == 0:
        typer.echo("Nothing to do: every command is done and proved.")
        return False
    if screen.is_terminal() and not yes:
        typer.confirm("Start?", default=True, abort=True)
    return True


def start(run: RunFolder, *, wait: bool, foreground: bool) -> int:
    """Start a controller for a run, here or detached, and show what is worth showing."""
    if foreground:
        typer.echo(run.name)
        log_to(sys.stdout)
        return exit_code(control_here(run))
    try:
        launch(run)
    except KeyboardInterrupt:  # the controller is on its way, and does not hear of it
        return screen.look_away(run)
    if screen.is_terminal():
        return screen.follow(run)
    typer.echo(run.name)
    return screen.follow(run) if wait else ExitCode.DONE
