"""An attempt: what a worker is asked to do, and what it says came of it."""

from __future__ import annotations

from msgspec import Struct

from tbss_hpc.core.command import Command, Fingerprint
from tbss_hpc.core.outcome import Outcome


class AttemptId(Struct, frozen=True, order=True):
    """One execution of one command."""

    command: str  #: the command's id
    number: int  #: from 1


class Order(Struct, frozen=True):
    """What a worker needs to know to make one attempt."""

    attempt: AttemptId
    epoch: int  #: of the controller that gives the order
    command: Command
    log: str  #: relative to the run folder; attempts are appended
    inputs: tuple[Fingerprint, ...] = ()  #: as they were when the work was planned
    timeout_seconds: float | None = None  #: killed and charged to the command after this
    bound_seconds: float | None = None  #: not started where fewer seconds are left
    accept_found: bool = False  #: prove outputs that are already there before running anything


class Measures(Struct, frozen=True):
    """What an attempt took; zero for one that never ran."""

    start: float = 0.0  #: Unix time on the node
    end: float = 0.0  #: Unix time on the node
    seconds: float = 0.0  #: by the node's monotonic clock
    cpu_seconds: float = 0.0  #: user and system, children included
    #: The largest process of the command, but never less than what the worker itself takes (about
    #: 60 MB): Linux counts a new process as large as its parent until it runs its program.
    peak_memory_bytes: int = 0


class Report(Struct, frozen=True):
    """What a worker says of an attempt that ended."""

    attempt: AttemptId
    outcome: Outcome
    allocation: str
    node: str
    measures: Measures = Measures()
    proofs: tuple[Fingerprint, ...] = ()  #: the outputs that made it count
    found: bool = False  #: the outputs were there already, and nothing was run
    concluded: bool = False  #: no worker said so: the machine had to conclude it
