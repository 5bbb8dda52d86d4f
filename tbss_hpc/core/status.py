"""What a run is doing, as data: the schema of `tbss-hpc status --json`."""

from __future__ import annotations

from msgspec import Struct

#: Raised when a field changes its meaning, which should never happen.
SCHEMA = 1


class ControllerStatus(Struct, frozen=True):
    """Who controls the run."""

    host: str
    pid: int
    alive: str  #: yes, no, or unknown (it was on another host)
    epoch: int


class Counts(Struct, frozen=True):
    """How many commands stand where; the last five add up to `total`."""

    total: int
    done: int
    failed: int
    cancelled: int
    running: int
    waiting: int


class AllocationStatus(Struct, frozen=True):
    """One allocation."""

    name: str
    native_id: str
    state: str
    reason: str  #: in the scheduler's own words, or why it came to nothing
    explanation: str  #: what the scheduler does with it, in a sentence
    node: str
    seconds_left: float | None
    slots: int


class RunningStatus(Struct, frozen=True):
    """One command that runs now."""

    command: str
    attempt: int
    node: str
    since: float  #: Unix time


class Status(Struct, frozen=True):
    """Everything that `status --json` shows; fields are added and never renamed."""

    schema: int
    run: str
    state: str
    why: str
    controller: ControllerStatus | None
    counts: Counts
    outcomes: dict[str, int]  #: attempts by how they ended
    allocations: list[AllocationStatus]
    running: list[RunningStatus]
    started_at: float | None  #: Unix time
    expected_end: float | None  #: Unix time
    dashboard: str
    paths: dict[str, str]
