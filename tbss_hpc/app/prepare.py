"""From what was typed to everything that a run is made from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, structs

from tbss_hpc.app.planning import Wishes, in_batch_job, make_plan, usable_cores
from tbss_hpc.app.runs import Prepared
from tbss_hpc.app.sites import load_here
from tbss_hpc.app.work import Source, find_work
from tbss_hpc.core.site import Site
from tbss_hpc.core.units import parse_duration
from tbss_hpc.errors import UsageError
from tbss_hpc.sites import as_yaml

#: Cores to use on a machine that other people work on too.
LOGIN_NODE_CORES = 2
_CLIENTS = ("sbatch", "qsub")


class Typed(Struct, frozen=True):
    """What was typed, as text."""

    source: Source
    scheduler: str | None = None
    site: Path | None = None
    site_options: dict[str, str] = {}  #: site keys that options set
    timeout: str | None = None
    retries: int = 2
    command_time: str | None = None


def prepare(typed: Typed, environ: Mapping[str, str]) -> tuple[Prepared, list[str]]:
    """Read the work and the site, and plan; give also what the user should know.

    Raises UsageError for anything that cannot be used as it was typed.
    """
    wishes = Wishes(
        timeout_seconds=_duration("--timeout", typed.timeout),
        retries=typed.retries,
        command_seconds=_duration("--command-time", typed.command_time),
    )
    work = find_work(typed.source, environ)
    resolved = load_here(typed.scheduler, typed.site, environ, typed.site_options)
    site, notes = with_cores(resolved.site, environ)
    plan = make_plan(work, site, wishes)
    return Prepared(work, plan, site, as_yaml(resolved)), [*work.notes, *notes]


def with_cores(site: Site, environ: Mapping[str, str]) -> tuple[Site, list[str]]:
    """Say how many cores a local allocation has, unless the site or an option does."""
    if site.scheduler != "local" or site.cores is not None:
        return site, []
    cores = usable_cores()
    client = next((name for name in _CLIENTS if shutil.which(name)), None)
    if client is None or in_batch_job(environ) or cores <= LOGIN_NODE_CORES:
        return structs.replace(site, cores=cores), []
    note = (
        f"This looks like a login node ({client} is here), so only {LOGIN_NODE_CORES} of its "
        f"{cores} cores are used; submit to the cluster with --scheduler, or say --cores"
    )
    return structs.replace(site, cores=LOGIN_NODE_CORES), [note]


def _duration(option: str, text: str | None) -> float | None:
    return None if text is None else read_duration(option, text)


def read_duration(option: str, text: str) -> float:
    """Read a time that was typed. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not a time.",
            why=str(error),
            fix=f"for example {option} '30 min'",
        ) from error
