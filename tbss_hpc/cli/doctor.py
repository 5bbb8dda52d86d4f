"""`tbss-hpc doctor`: whether everything is there that a run will need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tbss_hpc.app.doctor import Request, examine
from tbss_hpc.app.prepare import read_duration
from tbss_hpc.cli import options
from tbss_hpc.core.finding import Finding, exit_code_of
from tbss_hpc.report.findings import finding_lines, verdict_line
from tbss_hpc.store.folder import RUNS


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)


def doctor(  # noqa: PLR0913, PLR0917 - one parameter an option
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A study folder, an FA/ folder or a file of commands; the study here if left out.",
        ),
    ] = None,
    scheduler: options.Scheduler = None,
    site: options.SiteFile = None,
    runs: options.Runs = Path(RUNS),
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait for the probe.")
    ] = "5 min",
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Submit nothing: look only at what is here.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Look at everything that a run leans on: scheduler, limits, nodes, files, network.

    One small batch job (1 core, 5 minutes at most) looks at a node. Each sentence has a mark: ✓ as
    it should be, ✗ to be mended, ? not to be known, - not looked at. The exit code is that of the
    first ✗: 2 the site file or the work, 3 the scheduler or the nodes, 5 file systems.
    """
    request = Request(
        source, scheduler, site, runs.resolve(), not no_probe, read_duration("--patience", patience)
    )
    found: list[Finding] = []
    for finding in examine(request, os.environ, _say):
        found.append(finding)
        if not json:
            typer.echo("\n".join(finding_lines(finding)))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        typer.echo(verdict_line(found))
    return exit_code_of(found)


def _say(text: str) -> None:
    """Tell what is being waited for, where it does not get between the findings."""
    typer.echo(f"  … {text}", err=True)
