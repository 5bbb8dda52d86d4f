"""What the commands show: plans, progress that moves, and how a run ended."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tbss_hpc.app.control import exit_code
from tbss_hpc.app.observer import Observer
from tbss_hpc.app.runs import Prepared
from tbss_hpc.core.actions import End, RunState
from tbss_hpc.core.status import Status
from tbss_hpc.errors import ExitCode
from tbss_hpc.report.progress import plan_lines
from tbss_hpc.report.status_lines import allocation_lines, count_line, running_lines
from tbss_hpc.store.folder import RunFolder

#: Seconds between looks at the files of a run that is shown.
LOOK_SECONDS = 0.5
#: Seconds between lines where nobody sees a picture that moves.
LINE_SECONDS = 30.0
#: Seconds that a controller gets, once a run has ended, to write its last files.
CLOSING_SECONDS = 60.0
#: A run that has ended, or whose controller has, changes no more.
GOING_ON = (RunState.PLANNED.value, RunState.RUNNING.value, RunState.PAUSED.value)


def is_terminal() -> bool:
    """Tell whether a person sits there."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show_plan(prepared: Prepared, notes: list[str]) -> None:
    """Print a plan and what the user should know about it."""
    for line in plan_lines(prepared.plan, prepared.work.what):
        typer.echo(line)
    for note in notes:
        typer.echo(f"  note             {note}")


def follow(run: RunFolder) -> ExitCode:
    """Show a run until it ends or the user looks away, which ends nothing."""
    observer = Observer(run)
    try:
        status = _follow_live(observer) if is_terminal() else _follow_in_lines(observer)
        _wait_for_last_files(observer)
    except KeyboardInterrupt:
        return look_away(run)
    return show_end(observer, status)


def look_away(run: RunFolder) -> ExitCode:
    """Say that a run goes on, and how to see it again."""
    typer.echo(f"\nRun {run.name} goes on without you. Come back with:")
    typer.echo(f"  tbss-hpc attach --run {run.typed}")
    return ExitCode.DONE


def _wait_for_last_files(observer: Observer) -> None:
    """Wait until tables and scores are as the end of the run left them."""
    give_up = time.monotonic() + CLOSING_SECONDS
    while observer.closing() and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)


def _follow_live(observer: Observer) -> Status:
    console = Console(highlight=False)
    status = observer.look()
    with Live(_picture(status), console=console, refresh_per_second=4, transient=True) as live:
        while status.state in GOING_ON:
            time.sleep(LOOK_SECONDS)
            status = observer.look()
            live.update(_picture(status))
    return status


def _follow_in_lines(observer: Observer) -> Status:
    status = observer.look()
    said_at = float("-inf")
    while status.state in GOING_ON:
        if time.monotonic() - said_at > LINE_SECONDS:
            typer.echo(count_line(status.counts))
            said_at = time.monotonic()
        time.sleep(LOOK_SECONDS)
        status = observer.look()
    return status


def _picture(status: Status) -> Group:
    return Group(*(Text(line) for line in status_text(status)))


def status_text(status: Status) -> list[str]:
    """Show a status in a few lines."""
    lines = [
        f"Run {Path(status.run).name}: {status.state}" + (f" ({status.why})" if status.why else "")
    ]
    lines.append(count_line(status.counts))
    lines += allocation_lines(status.allocations)
    if status.running:
        lines += ["running:", *running_lines(status.running)]
    if status.expected_end is not None:
        end = datetime.fromtimestamp(status.expected_end).astimezone()
        lines.append(f"expected to end about {end:%a %H:%M:%S}")
    if status.dashboard:
        lines.append(f"dashboard: {status.dashboard}")
    return lines


def show_end(observer: Observer, status: Status) -> ExitCode:
    """Say how a run ended, and what to look at."""
    seconds = observer.machine.now - (status.started_at or observer.machine.now)
    typer.echo(
        f"Run {observer.run.name}: {status.state} after {seconds:.0f} s. {status.why}".strip()
    )
    typer.echo(count_line(status.counts))
    for title, key in (("table", "status"), ("logs", "logs")):
        typer.echo(f"  {title:<10} {status.paths[key]}")
    if status.counts.failed or status.counts.cancelled:
        typer.echo(f"  to do      {status.paths['failed']}")
        name = f"--run {observer.run.typed}"
        typer.echo(
            f"  next       tbss-hpc logs --failed {name}, then tbss-hpc resume --failed {name}"
        )
    end = observer.machine.end
    if end is None:
        return ExitCode.STOPPED
    return exit_code(end)


def exit_code_of(end: End | None) -> ExitCode:
    """Give the exit code of a run that may not have ended properly."""
    return ExitCode.STOPPED if end is None else exit_code(end)


def has_ended(run: RunFolder) -> bool:
    """Tell whether a run is over, and not just out of sight."""
    return Observer(run).look().state not in GOING_ON
