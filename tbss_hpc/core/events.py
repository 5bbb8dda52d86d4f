"""What happened to a run: the facts of its journal, one JSON line each."""

from __future__ import annotations

from msgspec import Struct

from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.command import Fingerprint


class Fact(Struct, frozen=True, tag_field="event", kw_only=True):
    """Something that happened, and when."""

    at: float  #: Unix time on the controller's host


class ControllerStarted(Fact, frozen=True, tag="controller-started"):
    """A new controller owns the run; whatever the last one had handed out is in doubt."""

    epoch: int
    host: str
    pid: int
    version: str
    #: Allocations with an `opened` record: an attempt of the last controller can be in no other.
    opened: tuple[str, ...] = ()


class FoundDone(Fact, frozen=True, tag="found-done"):
    """A command's outputs are there with proofs that still hold."""

    command: str
    proofs: tuple[Fingerprint, ...] = ()


class Undone(Fact, frozen=True, tag="undone"):
    """A command counts as done no longer: an input or an output is not what it was."""

    command: str
    why: str


class AllocationSubmitted(Fact, frozen=True, tag="allocation-submitted"):
    """The scheduler took an allocation and named it."""

    allocation: str
    native_id: str


class AllocationRefused(Fact, frozen=True, tag="allocation-refused"):
    """The scheduler did not take an allocation; `why` holds its own words."""

    allocation: str
    why: str


class AllocationSeen(Fact, frozen=True, tag="allocation-seen"):
    """The scheduler says something new about an allocation."""

    allocation: str
    state: str  #: the scheduler's own word
    reason: str = ""  #: the scheduler's own word
    node: str = ""
    free_until: float | None = None  #: Unix time of a maintenance that it waits for


class AllocationOverdue(Fact, frozen=True, tag="allocation-overdue"):
    """An allocation runs, and its worker has not joined in all the time it was given."""

    allocation: str
    explanation: str


class AllocationGone(Fact, frozen=True, tag="allocation-gone"):
    """The scheduler says that an allocation has ended; what ran in it may not be dead yet."""

    allocation: str
    state: str  #: the scheduler's own last word, or what we know of it
    explanation: str = ""  #: why it never worked, where it never did


class AllocationFenced(Fact, frozen=True, tag="allocation-fenced"):
    """It is certain that nothing of an allocation runs any more."""

    allocation: str
    evidence: str
    started: tuple[AttemptId, ...] = ()  #: attempts with a `started` record and no `ended` one


class WorkerJoined(Fact, frozen=True, tag="worker-joined"):
    """The worker of an allocation is connected to this controller."""

    allocation: str
    node: str
    slots: int
    holding: tuple[AttemptId, ...] = ()  #: attempts that it has started and not reported


class WorkerDraining(Fact, frozen=True, tag="worker-draining"):
    """A worker starts no more commands, because its allocation ends soon."""

    allocation: str


class WorkerLeft(Fact, frozen=True, tag="worker-left"):
    """The connection to a worker is gone; its commands may be running all the same."""

    allocation: str


class AttemptOrphaned(Fact, frozen=True, tag="attempt-orphaned"):
    """An attempt was with a worker that left; only its records can tell what became of it."""

    attempt: AttemptId
    allocation: str


class AttemptReported(Fact, frozen=True, tag="attempt-reported"):
    """A worker has said, in a message or a record, how an attempt ended."""

    report: Report


class CancelRequested(Fact, frozen=True, tag="cancel-requested"):
    """Somebody wants the run to end now."""

    by: str


class RetryRequested(Fact, frozen=True, tag="retry-requested"):
    """Somebody wants what failed to be tried again, with fresh budgets."""


Event = (
    ControllerStarted
    | FoundDone
    | Undone
    | AllocationSubmitted
    | AllocationRefused
    | AllocationSeen
    | AllocationOverdue
    | AllocationGone
    | AllocationFenced
    | WorkerJoined
    | WorkerDraining
    | WorkerLeft
    | AttemptOrphaned
    | AttemptReported
    | CancelRequested
    | RetryRequested
)
