"""`tbss-hpc demo`: a whole registration, from nothing, on this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from tbss_hpc.app.demo import DemoStudy, demo_study
from tbss_hpc.app.launch import launch
from tbss_hpc.app.prepare import Typed, prepare
from tbss_hpc.app.runs import create_run
from tbss_hpc.app.work import Source, Work
from tbss_hpc.cli import screen
from tbss_hpc.cli.target import score_lines
from tbss_hpc.errors import ExitCode
from tbss_hpc.store.folder import LATEST, RUNS, RunFolder, find_run
from tbss_hpc.tbss.target import score


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(demo)


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to make the study.")
    ] = Path("tbss-hpc-demo"),
    subjects: Annotated[
        int, typer.Option("--subjects", metavar="N", min=2, help="How many subjects.")
    ] = 8,
    voxel: Annotated[
        int, typer.Option("--voxel", metavar="MM", help="Size of a voxel; smaller takes longer.")
    ] = 4,
) -> int:
    """Register a synthetic study all-to-all on this machine, and name its most typical subject.

    Needs no cluster and no FSL: the embedded engine registers the pairs, for real.
    """
    begun = time.monotonic()
    typer.echo(f"Making a study of {subjects} subjects at {voxel} mm in {folder} ...")
    study = demo_study(folder, subjects, voxel, lambda _count: None)
    typed = Typed(source=Source(str(folder), "greedy"), scheduler="local")
    prepared, notes = prepare(typed, os.environ)
    screen.show_plan(prepared, notes)
    runs = folder.resolve() / RUNS
    if not prepared.plan.todo:
        typer.echo("Nothing to do: every pair is done and proved.")
        made_by = find_run(runs, None) if (runs / LATEST).exists() else None
        _summary(made_by, prepared.work, study, time.monotonic() - begun)
        return ExitCode.DONE
    run = create_run(prepared, runs, None)
    code = _launch_and_follow(run)
    if code is ExitCode.DONE and screen.has_ended(run):
        _summary(run, prepared.work, study, time.monotonic() - begun)
    return code


def _launch_and_follow(run: RunFolder) -> ExitCode:
    try:
        launch(run)
    except KeyboardInterrupt:  # the controller is on its way, and does not hear of it
        return screen.look_away(run)
    return screen.follow(run)


def _summary(run: RunFolder | None, work: Work, study: DemoStudy, seconds: float) -> None:
    if work.study is None:
        return
    scores = score(work.study, [command.name for command in work.commands])
    typer.echo()
    typer.echo("\n".join(score_lines(scores)))
    typer.echo()
    right = scores.best == study.planted
    verdict = "which is the one that was planted" if right else f"but {study.planted} was planted"
    typer.echo(f"The most typical subject is {scores.best}, {verdict}.")
    typer.echo(f"{len(work.commands)} pairs in {seconds:.0f} s.")
    if run is None:
        return
    typer.echo("Look at:")
    for title, path in (
        ("every command", run.status_table),
        ("every log", run.logs),
        ("the scores", run.score_picture),
    ):
        typer.echo(f"  {title:<14} {path}")
