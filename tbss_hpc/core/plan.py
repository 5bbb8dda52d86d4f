"""The plan of a run: how the work is packed into allocations, and what it costs."""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from tbss_hpc.core.durations import Estimate
from tbss_hpc.core.retry import RetryPolicy

HOUR = 3600.0
#: Seconds between an allocation's start and its first command (measured: 2 s; file systems vary).
START_UP_SECONDS = 60.0
#: Commands take longer on a busy node than on the one where their time was learned.
SPARE = 1.25
#: Walltimes are asked for in quarters of an hour.
WALLTIME_STEP = 900.0


class Shape(Struct, frozen=True):
    """What every allocation of a run looks like; its worker reads this from plan.json."""

    slots: int  #: commands at a time
    cores: int
    cores_per_command: int
    memory_bytes: int | None
    walltime_seconds: float | None  #: None where nothing ends the allocation (local)
    wrap: tuple[str, ...]  #: words before every command's `bash -c`
    setup: tuple[str, ...]  #: shell lines that make the commands' environment
    interface: str | None  #: network interface for Dask's connections; None: found by Dask
    ports: tuple[int, int] | None  #: lowest and highest port to listen on; None: any
    scratch: str | None  #: folder on the node for temporary files; None: the node's own
    loopback: bool  #: controller and workers share one host
    idle_seconds: float  #: a worker without work for so long gives its allocation back
    lease_seconds: float  #: a worker that cannot write the run folder for 0.8 of it kills all
    patience_seconds: float  #: how long an idle worker waits for a new controller
    start_seconds: float  #: from an allocation's start to its worker's joining, at most


class Plan(Struct, frozen=True):
    """Commands, bins and cost."""

    scheduler: str
    commands: int
    already_done: int
    estimate: Estimate | None  #: None where nothing is known about the commands
    allocations: int  #: at once
    shape: Shape
    retry: RetryPolicy
    timeout_seconds: float | None
    core_hours_limit: float | None  #: all that the run may use; None: no limit
    submissions_per_minute: int
    token: str  #: begins the names of this run's allocations in the queue, and of no other's

    @property
    def todo(self) -> int:
        """Count the commands that are still to be run."""
        return self.commands - self.already_done

    @property
    def core_hours(self) -> float | None:
        """Give the expected cost: seconds of all commands times the cores of each."""
        if self.estimate is None:
            return None
        return self.todo * self.estimate.seconds * self.shape.cores_per_command / HOUR

    @property
    def makespan_seconds(self) -> float | None:
        """Give the expected time from the first start to the last end, without queueing."""
        if self.estimate is None:
            return None
        return ceil(self.todo / (self.allocations * self.shape.slots)) * self.estimate.seconds

    @property
    def generations(self) -> int:
        """Count the allocations that follow one another on each place, as far as is known."""
        limit = self.shape.walltime_seconds
        if limit is None or self.estimate is None or self.makespan_seconds is None:
            return min(1, self.todo)
        # No command is started when less than its bound is left, though it will take less.
        usable = usable_seconds(limit) - max(
            self.estimate.bound_seconds - self.estimate.seconds, 0.0
        )
        return ceil(self.makespan_seconds / max(usable, self.estimate.seconds))

    @property
    def submissions(self) -> int:
        """Count the batch jobs that the scheduler will see."""
        return self.allocations * self.generations


def walltime_for(
    todo: int, places: int, estimate: Estimate | None, longest_seconds: float
) -> float:
    """Size an allocation's walltime: what the work needs, at least an hour, at most the longest.

    places -- commands that run at a time, over all allocations.

    A short allocation that ends before its work does costs another wait in the queue; an allocation
    that has no more work is given back, so a longer one costs nothing.
    """
    if estimate is None:
        return longest_seconds
    rounds = ceil(todo / places)
    need = START_UP_SECONDS + rounds * estimate.seconds + estimate.bound_seconds
    steps = ceil(need * SPARE / WALLTIME_STEP)
    return min(longest_seconds, max(HOUR, steps * WALLTIME_STEP))


def usable_seconds(walltime_seconds: float) -> float:
    """Say how long a command may be that is started first thing in an allocation."""
    return walltime_seconds - START_UP_SECONDS - min(60.0, walltime_seconds / 10)


def allocations_worth_asking(todo: int, slots: int, wanted: int) -> int:
    """Never ask for more allocations than there is work to fill with one command per slot."""
    return max(1, min(wanted, ceil(todo / slots)))
