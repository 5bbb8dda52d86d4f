"""Making a run, and going on with one."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from tbss_hpc.app.spec import write_spec
from tbss_hpc.app.work import Work
from tbss_hpc.core.plan import Plan
from tbss_hpc.core.site import Site
from tbss_hpc.errors import StoppedError, TbssHpcError, UsageError
from tbss_hpc.store.folder import LATEST, RunFolder, fresh_name
from tbss_hpc.store.offer import controller_alive, read_offer
from tbss_hpc.store.study_files import Claim, StudyFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Prepared(Struct, frozen=True):
    """Everything that a run is made from."""

    work: Work
    plan: Plan
    site: Site
    site_yaml: str


def create_run(prepared: Prepared, runs: Path, name: str | None) -> RunFolder:
    """Make the folder of a new run and claim its study.

    Raises UsageError for a name that cannot be used, StoppedError if another run has the study.
    """
    run = future_run(runs, name)
    claim_study(run, prepared.work)
    try:
        run.create()
        _fill(run, prepared)
    except (TbssHpcError, OSError):
        release_study(run, prepared.work)
        raise
    return run


def _fill(run: RunFolder, prepared: Prepared) -> None:
    """Make a fresh folder a run, or remove it: half a run would only take the name."""
    try:
        write_spec(run, prepared.work, prepared.plan, prepared.site_yaml)
        run.become_latest()
    except OSError:
        shutil.rmtree(run.root, ignore_errors=True)
        raise


def future_run(runs: Path, name: str | None) -> RunFolder:
    """Name the folder of a run that is to be made.

    Raises UsageError for a name that cannot be used.
    """
    _refuse_odd_name(name)
    run = RunFolder(runs / (name or fresh_name(runs, datetime.now(UTC).astimezone())))
    run.refuse_if_exists()
    return run


def claim_study(run: RunFolder, work: Work) -> None:
    """Claim the study of a run, if it has one. Raises StoppedError if another run has it."""
    if work.study is None:
        return
    files = StudyFiles(Path(work.study.fa))
    other = files.claim(run.root)
    if other is None or other.run == str(run.root):
        return
    if _is_over(other):
        files.take_over(run.root)
        return
    name = Path(other.run).name
    raise StoppedError(
        "Another run works on this study.",
        why=f"{other.run} has claimed {work.study.fa}",
        fix=f"watch it with `tbss-hpc attach --run {other.run}`; if it was interrupted, go on with "
        f"`tbss-hpc resume --run {other.run}` or end it with `tbss-hpc cancel --run {other.run}`"
        if Path(other.run).is_dir()
        else f"its folder is gone: if nothing of {name} runs any more, remove "
        f"{work.study.fa}/.tbss-hpc/claim.json",
    )


def _is_over(claim: Claim) -> bool:
    other = RunFolder(Path(claim.run))
    offer = read_offer(other)
    if offer is None:
        # Without commands.json it never became a run: its maker was stopped on the way.
        return other.root.is_dir() and not other.commands.exists()
    return bool(offer.over)


def _refuse_odd_name(name: str | None) -> None:
    if name is not None and (name == LATEST or not _NAME.fullmatch(name)):
        raise UsageError(
            f"{name!r} cannot be the name of a run.",
            why="it becomes the name of a folder",
            fix="use letters, digits, dots, dashes and underscores",
        )


def release_study(run: RunFolder, work: Work) -> None:
    """Give the study of a run back, if it has one."""
    if work.study is not None:
        StudyFiles(Path(work.study.fa)).release(run.root)


def refuse_if_controlled(run: RunFolder) -> None:
    """Raise StoppedError if a living controller owns the run."""
    offer = read_offer(run)
    if offer is not None and not offer.over and controller_alive(offer):
        raise StoppedError(
            f"Run {run.name} is being controlled already.",
            why=f"process {offer.pid} on {offer.host}, epoch {offer.epoch}",
            fix=f"watch it with `tbss-hpc attach --run {run.typed}`",
        )
