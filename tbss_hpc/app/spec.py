"""What a run was made from, as its folder keeps it: the work and the plan."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tbss_hpc.app.work import Work
from tbss_hpc.core.plan import Plan
from tbss_hpc.core.site import Site
from tbss_hpc.errors import FilesError
from tbss_hpc.sites import load_site
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.tbss.pairs import log_path

T = TypeVar("T")


def write_spec(run: RunFolder, work: Work, plan: Plan, site_yaml: str) -> None:
    """Put the run's own copies of everything into its folder; commands.json comes last."""
    text = "".join(f"{command.text}\n" for command in work.commands)
    replace_file(run.commands_text, text.encode())
    replace_file(run.site, site_yaml.encode())
    replace_file(run.plan, msgspec.json.format(msgspec.json.encode(plan), indent=2))
    # A folder without commands.json is no run, so a crash before this leaves nothing half made.
    write_work(run, work)


def write_work(run: RunFolder, work: Work) -> None:
    """Keep what a run is to do, with its inputs as they are now."""
    replace_file(run.commands, msgspec.json.encode(work))


def read_work(run: RunFolder) -> Work:
    """Read what a run is to do."""
    return _decode(run.commands, Work)


def read_plan(run: RunFolder) -> Plan:
    """Read how a run is packed."""
    return _decode(run.plan, Plan)


def _decode(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise FilesError(
            f"The run in {path.parent} cannot be read.",
            why=f"{path.name}: {error}",
            fix="use the version of tbss-hpc that made it, or submit the work again: what is "
            "proved in a study is not made twice",
        ) from error


def read_run_site(run: RunFolder) -> Site:
    """Read where a run's allocations come from."""
    nowhere = run.root
    return load_site(
        scheduler=None, named=run.site, options={}, environ={}, cwd=nowhere, home=nowhere
    ).site


def logs_of(work: Work) -> dict[str, str]:
    """Say where each command's log is, relative to the run folder."""
    if work.study is None:
        return {command.id: f"logs/{command.name}.log" for command in work.commands}
    return {command.id: log_path(command) for command in work.commands}
