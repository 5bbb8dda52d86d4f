"""What the machine decided: journalled before it is carried out, so that no intent is lost."""

from __future__ import annotations

from enum import Enum

from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.events import Event, Fact


class RunState(Enum):
    """What a run is doing, or how it ended."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"  #: the last allocation came to nothing; another is asked for a little later
    FINISHED = "finished"  #: every command is done
    INCOMPLETE = "incomplete"  #: every command was tried, some failed
    STOPPED = "stopped"  #: given up early, for a reason that is told
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  #: its controller died; `resume` goes on


class Issue(Fact, frozen=True, tag="issue"):
    """Hand an attempt to the Dask scheduler."""

    attempt: AttemptId


class Submit(Fact, frozen=True, tag="submit"):
    """Ask the scheduler for an allocation under this unique name."""

    allocation: str


class Release(Fact, frozen=True, tag="release"):
    """Tell a worker to finish what it has and to give its allocation back."""

    allocation: str
    why: str


class Cancel(Fact, frozen=True, tag="cancel"):
    """Tell the scheduler to end an allocation."""

    allocation: str
    why: str


class Discard(Fact, frozen=True, tag="discard"):
    """Tell a worker to kill an attempt that nobody waits for any more."""

    attempt: AttemptId
    allocation: str


class End(Fact, frozen=True, tag="end"):
    """Close the run."""

    state: RunState
    why: str = ""
    cluster: bool = False  #: the scheduler or the nodes are the reason, not the commands


Action = Issue | Submit | Release | Cancel | Discard | End
Entry = Event | Action
