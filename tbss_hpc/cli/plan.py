"""`tbss-hpc plan`: what would be done, in what shape, at what cost."""

from __future__ import annotations

import os

import msgspec
import typer

from tbss_hpc.app.prepare import Typed, prepare
from tbss_hpc.app.work import Source
from tbss_hpc.cli import options, screen
from tbss_hpc.report.progress import plan_as_dict


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(plan)


def plan(  # noqa: PLR0913, PLR0917 - one parameter an option
    source: options.Source = ".",
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
    command_time: options.CommandTime = None,
    json: options.Json = False,
) -> None:
    """Show what `submit` would do: commands, allocations, cost. Nothing is started or written."""
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
        command_time=command_time,
    )
    prepared, notes = prepare(typed, os.environ)
    if json:
        content = msgspec.json.encode(plan_as_dict(prepared.plan))
        typer.echo(msgspec.json.format(content, indent=2).decode())
    else:
        screen.show_plan(prepared, notes)
