"""The standing of every command and allocation of a run: what the machine keeps."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import chain, islice

from msgspec import Struct, field

from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.command import Command, Fingerprint
from tbss_hpc.core.outcome import NotStarted, Outcome


class Verdict(Enum):
    """What a command came to."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Standing(Struct):
    """Where one command stands."""

    command: Command
    issued: int = 0  #: the number of the newest attempt
    verdict: Verdict | None = None
    held_by: str | None = None  #: the allocation that is known to run it
    doubt: frozenset[str] = frozenset()  #: allocations that may be running it
    reports: list[Report] = field(default_factory=list)
    charged: list[Outcome] = field(default_factory=list)  #: what counts against the retry budgets
    proofs: tuple[Fingerprint, ...] = ()
    found: bool = False  #: done before this run started

    @property
    def attempt(self) -> AttemptId:
        """Name the newest attempt."""
        return AttemptId(self.command.id, self.issued)

    @property
    def attempts_made(self) -> int:
        """Count the attempts that really started."""
        return sum(not isinstance(report.outcome, NotStarted) for report in self.reports)


class Place(Enum):
    """What is known of an allocation."""

    INTENDED = "submitting"  #: perhaps submitted, perhaps not: ask the queue by name
    PENDING = "pending"  #: the scheduler has it; its worker has not joined yet
    JOINED = "joined"
    AWAY = "away"  #: its worker had joined and is not connected now
    GONE = "ending"  #: the scheduler says that it ended; its commands may be alive
    FENCED = "ended"  #: certainly nothing of it runs
    REFUSED = "refused"


class Standby(Struct):
    """Where one allocation stands."""

    name: str
    place: Place = Place.INTENDED
    native_id: str = ""
    state: str = ""  #: the scheduler's own word
    reason: str = ""  #: the scheduler's own word, or why it was refused
    node: str = ""
    free_until: float | None = None  #: Unix time of a maintenance that it waits for
    slots: int = 0
    asked_at: float = 0.0
    ever_joined: bool = False
    worked: bool = False  #: it has started at least one attempt
    joined_at: float = 0.0  #: when its worker joined first
    over_at: float = 0.0
    overdue: bool = False  #: it runs, and its worker never joined
    draining: bool = False
    released: bool = False
    released_at: float = 0.0
    cancelled: bool = False
    cancelled_at: float = 0.0  #: the last time; a scheduler may have to be asked again

    @property
    def live(self) -> bool:
        """Tell whether it works or will work, as far as we know."""
        places = (Place.INTENDED, Place.PENDING, Place.JOINED, Place.AWAY)
        leaving = self.draining or self.released or self.cancelled or self.overdue
        return self.place in places and not leaving

    @property
    def over(self) -> bool:
        """Tell whether it is certain that nothing of it runs."""
        return self.place in (Place.FENCED, Place.REFUSED)


class Ledger:
    """All commands in order, and all allocations by name.

    Every command is in exactly one place: waiting, in flight, or settled. Only the methods below
    move it.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        """Start with every command waiting."""
        self.standings = {c.id: Standing(c) for c in commands}
        self.allocations: dict[str, Standby] = {}
        self.in_flight: dict[str, Standing] = {}
        #: Those that were tried before come first, so that a retry does not make the tail.
        self._again: dict[str, None] = {}
        self._fresh: dict[str, None] = dict.fromkeys(self.standings)

    @property
    def waiting(self) -> int:
        """Count the commands that may be handed out."""
        return len(self._again) + len(self._fresh)

    @property
    def unsettled(self) -> int:
        """Count the commands without a verdict."""
        return self.waiting + len(self.in_flight)

    def next_waiting(self, count: int) -> list[Standing]:
        """List the commands to hand out next."""
        return [self.standings[i] for i in islice(chain(self._again, self._fresh), count)]

    def issue(self, standing: Standing, number: int) -> None:
        """Count an attempt of a command as handed out."""
        self._leave_line(standing)
        standing.issued = number
        self.in_flight[standing.command.id] = standing

    def wait_again(self, standing: Standing) -> None:
        """Put a command back in line, before those that were never tried."""
        self._land(standing)
        standing.verdict = None
        self._again[standing.command.id] = None

    def settle(self, standing: Standing, verdict: Verdict) -> None:
        """Give a command its verdict."""
        self._leave_line(standing)
        self._land(standing)
        standing.verdict = verdict

    def is_in_flight(self, standing: Standing) -> bool:
        """Tell whether the newest attempt was handed out and has not been settled."""
        return standing.command.id in self.in_flight

    def _leave_line(self, standing: Standing) -> None:
        self._again.pop(standing.command.id, None)
        self._fresh.pop(standing.command.id, None)

    def _land(self, standing: Standing) -> None:
        self.in_flight.pop(standing.command.id, None)
        standing.held_by, standing.doubt = None, frozenset()
