"""`tbss-hpc site`: the site file, as it is understood."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.sites import check_site, show_site
from tbss_hpc.cli import options

commands = typer.Typer(
    no_args_is_help=True, help="Show and check the site file that describes your cluster."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(commands, name="site")


@commands.command()
def show(scheduler: options.Scheduler = None, site: options.SiteFile = None) -> None:
    """Show every value of the site, and where it comes from."""
    typer.echo(show_site(scheduler, site, os.environ), nl=False)


@commands.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The site file to check.")],
) -> None:
    """Check a site file; every mistake is shown with its line."""
    typer.echo(check_site(file))
