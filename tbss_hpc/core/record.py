"""Records: what an allocation writes about itself, one JSON line each; the evidence."""

from __future__ import annotations

from msgspec import Struct

from tbss_hpc.core.attempt import AttemptId, Report


class Opened(Struct, frozen=True, tag="opened", tag_field="record"):
    """The allocation's worker process is there."""

    at: float  #: Unix time on the node
    allocation: str
    node: str
    pid: int
    slots: int
    version: str  #: of tbss-hpc


class Started(Struct, frozen=True, tag="started", tag_field="record"):
    """An attempt is about to start; synced before its command is."""

    at: float
    attempt: AttemptId
    epoch: int


class Ended(Struct, frozen=True, tag="ended", tag_field="record"):
    """An attempt ended; synced before it is reported."""

    at: float
    report: Report


class Heartbeat(Struct, frozen=True, tag="heartbeat", tag_field="record"):
    """The worker still can write the run folder."""

    at: float
    seconds_left: float | None = None  #: until the allocation ends; None without a walltime


class Closed(Struct, frozen=True, tag="closed", tag_field="record"):
    """The worker leaves by itself: drained, idle, or the run is over."""

    at: float
    why: str


class AllDead(Struct, frozen=True, tag="all-dead", tag_field="record"):
    """The inner watcher has killed and reaped all that was left; nothing of it runs any more."""

    at: float
    exit_code: int  #: of the worker; negative for a signal


Record = Opened | Started | Ended | Heartbeat | Closed | AllDead
