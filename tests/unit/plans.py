"""A plan to start from: a hundred subjects on SLURM."""

from __future__ import annotations

from tbss_hpc.core.durations import Estimate
from tbss_hpc.core.plan import Plan, Shape
from tbss_hpc.core.retry import RetryPolicy

HOUR = 3600.0
PAIR = Estimate(300.0, 600.0, "a guide")

SHAPE = Shape(
    slots=8,
    cores=8,
    cores_per_command=1,
    memory_bytes=None,
    walltime_seconds=12 * HOUR,
    wrap=(),
    setup=(),
    interface=None,
    ports=None,
    scratch=None,
    loopback=False,
    idle_seconds=60.0,
    lease_seconds=600.0,
    patience_seconds=600.0,
    start_seconds=300.0,
)
PLAN = Plan(
    scheduler="slurm",
    commands=10_000,
    already_done=0,
    estimate=PAIR,
    allocations=10,
    shape=SHAPE,
    retry=RetryPolicy(),
    timeout_seconds=None,
    core_hours_limit=None,
    submissions_per_minute=30,
    token="abcde",  # noqa: S106 - a part of names
)
