"""The `tbss-hpc` program."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from tbss_hpc import __version__
from tbss_hpc.cli import (
    attach,
    cancel,
    cleanup,
    demo,
    doctor,
    logs,
    plan,
    resume,
    site,
    status,
    submit,
    target,
)
from tbss_hpc.errors import ExitCode, TbssHpcError, refused_by_file_system

app = typer.Typer(
    name="tbss-hpc",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run TBSS's all-to-all registrations, or any list of commands, in a few long batch jobs."
    "\n\nNothing is lost and nothing is run twice at once; every result is proved. Try"
    " `tbss-hpc demo` first: it needs neither a cluster nor FSL.",
)
for module in (
    demo,
    doctor,
    plan,
    submit,
    attach,
    status,
    logs,
    cancel,
    resume,
    target,
    site,
    cleanup,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tbss-hpc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run what was typed; end with a documented exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        result = app(standalone_mode=False)
    except TbssHpcError as error:
        typer.echo(str(error), err=True)
        return error.exit_code
    except typer.TyperException as error:
        # Not click's own class: typer has its own copy of click, and no public name for this one.
        error.show() if hasattr(error, "show") else typer.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        result = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except OSError as error:
        refusal = refused_by_file_system(error)
        if refusal is None:
            return _confess()
        typer.echo(str(refusal), err=True)
        return refusal.exit_code
    except Exception:  # noqa: BLE001 - anything else is a bug, and is said to be one
        return _confess()
    if result == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this number
        typer.echo("Interrupted; nothing was started.", err=True)
    return result if isinstance(result, int) else ExitCode.DONE


def _confess() -> int:
    traceback.print_exc()
    typer.echo(f"This is a bug in tbss-hpc {__version__}; please report it.", err=True)
    return ExitCode.BUG


if __name__ == "__main__":
    main()
