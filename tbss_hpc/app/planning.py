"""From what is to be done and where, to a plan."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping

from msgspec import Struct

from tbss_hpc.app.work import Work
from tbss_hpc.core.durations import Estimate, guessed, learned
from tbss_hpc.core.plan import Plan, Shape, allocations_worth_asking, usable_seconds, walltime_for
from tbss_hpc.core.retry import RetryPolicy
from tbss_hpc.core.site import Site, slots
from tbss_hpc.core.units import in_words
from tbss_hpc.errors import UsageError

#: Letters of the names of allocations: short, and told apart in any font.
_TOKEN = 7
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class Wishes(Struct, frozen=True):
    """What the user asked for on the command line, besides the site."""

    timeout_seconds: float | None = None
    retries: int = 2
    command_seconds: float | None = None


def make_plan(work: Work, site: Site, wishes: Wishes) -> Plan:
    """Pack the work into allocations.

    Raises UsageError where the work cannot be planned.
    """
    estimate = _estimate(work, wishes)
    if estimate is None and site.scheduler != "local":
        raise UsageError(
            "Nobody knows how long these commands take.",
            why="a batch job must not start a command that its walltime would cut",
            fix="say what one takes, for example --command-time '5 min'",
        )
    per_allocation = slots(site)
    todo = len(work.commands) - len(work.done)
    allocations = allocations_worth_asking(todo, per_allocation, site.workers)
    walltime = _walltime(site, todo, allocations * per_allocation, estimate)
    return Plan(
        scheduler=site.scheduler,
        commands=len(work.commands),
        already_done=len(work.done),
        estimate=estimate,
        allocations=allocations,
        shape=shape_of(site, per_allocation, walltime),
        retry=RetryPolicy(command_retries=wishes.retries),
        timeout_seconds=wishes.timeout_seconds,
        core_hours_limit=site.core_hours,
        submissions_per_minute=site.submissions_per_minute,
        token=fresh_token(site.name),
    )


def fresh_token(name: str) -> str:
    """Begin the names of a run's allocations: the site's word, and letters by chance."""
    by_chance = (secrets.choice(_LETTERS) for _ in range(_TOKEN - len(name)))
    return name + "".join(by_chance)


def _estimate(work: Work, wishes: Wishes) -> Estimate | None:
    engine = work.engine.name if work.engine is not None else None
    if wishes.command_seconds is not None:
        return guessed(engine, wishes.command_seconds, work.voxels)
    earlier = learned(work.seconds, "pairs of earlier runs on this study")
    return earlier or guessed(engine, None, work.voxels)


def _walltime(site: Site, todo: int, places: int, estimate: Estimate | None) -> float | None:
    """Size the allocations. Raises UsageError if a command does not fit into the longest one."""
    if site.walltime is None or site.scheduler == "local":
        return None
    usable = usable_seconds(site.walltime)
    if estimate is not None and estimate.seconds > usable:
        raise UsageError(
            "A command is too long for this queue.",
            why=f"it takes about {in_words(estimate.seconds)} ({estimate.source}), and an "
            f"allocation of {in_words(site.walltime)} leaves {in_words(max(usable, 0))} for it",
            fix="set `walltime` in the site file, and the queue if need be, higher",
        )
    return walltime_for(todo, places, estimate, site.walltime)


def shape_of(site: Site, per_allocation: int, walltime: float | None) -> Shape:
    """Say what an allocation looks like."""
    local = site.scheduler == "local"
    return Shape(
        slots=per_allocation,
        cores=site.cores or per_allocation * site.cores_per_command,
        cores_per_command=site.cores_per_command,
        memory_bytes=site.memory,
        walltime_seconds=walltime,
        wrap=tuple(shlex.split(site.wrap)) if site.wrap is not None else (),
        setup=site.setup,
        interface=site.interface,
        ports=site.ports,
        scratch=site.scratch,
        loopback=local,
        idle_seconds=site.idle,
        lease_seconds=site.lease,
        patience_seconds=site.controller_patience,
        start_seconds=site.start_patience,
    )


def usable_cores() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_batch_job(environ: Mapping[str, str]) -> bool:
    """Tell whether this process is part of a batch job."""
    return any(name in environ for name in ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID"))
