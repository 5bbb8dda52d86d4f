"""What to do next, given what is known of a run."""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from tbss_hpc.core.actions import Action, Cancel, Discard, End, Issue, Release, RunState, Submit
from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.ledger import Place, Standby, Verdict
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import Invalid, Outcome, in_words

#: When so many commands failed alike before any succeeded, the rest would fail the same way.
ALIKE = 10
#: After so many refusals or failed starts in a row, asking again helps nobody.
TRIES = 3
#: Seconds that a released worker gets to leave by itself before its allocation is cancelled.
GRACE_SECONDS = 60.0
#: Seconds after which an allocation that is still there is cancelled again: the scheduler may not
#: have answered, or the controller that was to ask it may have died.
CANCEL_AGAIN_SECONDS = 60.0
#: Seconds to wait after the first refusal or failed start; doubled with each one more.
BACK_OFF_SECONDS = 5.0
#: Attempts handed over per slot: one runs, one is at hand (see decision 5 on the window).
WINDOW = 2

SECONDS_PER_HOUR = 3600.0
_CONNECTABLE = (Place.JOINED, Place.AWAY)


class Terms(Struct, frozen=True):
    """What the plan and the site allow."""

    allocations: int  #: at once
    slots: int  #: per allocation
    token: str  #: begins the names of this run's allocations, and of no other's
    cores: int  #: per allocation
    walltime_seconds: float | None = None  #: per allocation; None where nothing ends it
    core_hours: float | None = None  #: all that the run may use; None: no limit


def decide(machine: Machine, terms: Terms, now: float) -> list[Action]:
    """List the next actions; after they are applied, the same question gives none."""
    if machine.end is not None:
        return []
    end = _reason_to_end(machine, terms, now)
    if end is not None:
        return _close(machine, end, now)
    return [
        *_discards(machine, now),
        *_issues(machine, now),
        *_overdue(machine, now),
        *_submissions(machine, terms, now),
    ]


def _reason_to_end(machine: Machine, terms: Terms, now: float) -> End | None:
    if machine.ledger.unsettled == 0:
        return _finished(machine, now)
    if machine.cancel_requested:
        return End(at=now, state=RunState.CANCELLED, why="cancelled on request")
    if _all_alike(machine):
        why = f"the first {ALIKE} commands to be tried all {_common_words(machine)}"
        return End(at=now, state=RunState.STOPPED, why=why)
    if _any_working(machine):
        return None
    if len(machine.failures_in_a_row) >= TRIES:
        why = f"{TRIES} allocations in a row came to nothing: {machine.failures_in_a_row[-1]}"
        return End(at=now, state=RunState.STOPPED, why=why, cluster=True)
    if _too_dear(machine, terms, now):
        why = f"the limit of {terms.core_hours:g} core-hours is reached"
        return End(at=now, state=RunState.STOPPED, why=why)
    return None


def _finished(machine: Machine, now: float) -> End:
    failed = sum(s.verdict is Verdict.FAILED for s in machine.ledger.standings.values())
    if failed:
        return End(at=now, state=RunState.INCOMPLETE, why=f"{failed} failed")
    return End(at=now, state=RunState.FINISHED)


def _all_alike(machine: Machine) -> bool:
    if machine.successes or len(machine.given_up) < ALIKE:
        return False
    return len({_without_details(outcome) for outcome in machine.given_up[:ALIKE]}) == 1


def _without_details(outcome: Outcome) -> Outcome:
    """Leave out what differs from command to command, such as the name of an output."""
    return Invalid("") if isinstance(outcome, Invalid) else outcome


def _common_words(machine: Machine) -> str:
    first = machine.given_up[0]
    if len(set(machine.given_up[:ALIKE])) == 1:
        return in_words(first)
    return f"failed alike; the first of them {in_words(first)}"


def _any_working(machine: Machine) -> bool:
    """Tell whether an allocation works or will work, if only to finish what it has."""
    return any(a.live or a.place in _CONNECTABLE for a in machine.ledger.allocations.values())


def _close(machine: Machine, end: End, now: float) -> list[Action]:
    """Give every allocation back, then end the run."""
    allocations = machine.ledger.allocations.values()
    gentle = machine.ledger.unsettled == 0
    actions = [a for x in allocations for a in _give_back(x, end, now, gentle=gentle)]
    if not actions and all(_cannot_run(a, machine) for a in allocations):
        return [end]
    return actions


def _give_back(allocation: Standby, end: End, now: float, *, gentle: bool) -> list[Action]:
    why = f"the run is {end.state.value}"
    if allocation.place not in (Place.PENDING, *_CONNECTABLE) or not _may_cancel(allocation, now):
        return []
    if gentle and allocation.released and now < allocation.released_at + GRACE_SECONDS:
        return []
    if gentle and allocation.place is Place.JOINED and not allocation.released:
        return [Release(at=now, allocation=allocation.name, why=why)]
    return [Cancel(at=now, allocation=allocation.name, why=why)]


def _may_cancel(allocation: Standby, now: float) -> bool:
    return not allocation.cancelled or now >= allocation.cancelled_at + CANCEL_AGAIN_SECONDS


def _cannot_run(allocation: Standby, machine: Machine) -> bool:
    """Tell whether nothing that matters runs there: it is fenced, or ended with all settled."""
    return allocation.over or (allocation.place is Place.GONE and not machine.ledger.in_flight)


def _discards(machine: Machine, now: float) -> list[Action]:
    return [
        Discard(at=now, attempt=attempt, allocation=name)
        for attempt, name in machine.unwelcome.items()
    ]


def _issues(machine: Machine, now: float) -> list[Action]:
    """Keep two attempts per slot handed over, so that no slot waits for us."""
    ledger = machine.ledger
    joined = [a for a in ledger.allocations.values() if a.place is Place.JOINED]
    slots = sum(a.slots for a in joined if a.live)
    if slots == 0:
        return []
    # One that drains may have every slot in use for a long time yet, and takes nothing more.
    leaving = sum(a.slots for a in joined if not a.live)
    in_doubt = sum(bool(s.doubt) for s in ledger.in_flight.values())
    room = WINDOW * slots + leaving - (len(ledger.in_flight) - in_doubt)
    return [
        Issue(at=now, attempt=AttemptId(s.command.id, s.issued + 1))
        for s in ledger.next_waiting(max(0, room))
    ]


def _overdue(machine: Machine, now: float) -> list[Action]:
    """Give back allocations whose worker never joined."""
    return [
        Cancel(at=now, allocation=a.name, why="its worker has not joined in time")
        for a in machine.ledger.allocations.values()
        if a.overdue and a.place is Place.PENDING and _may_cancel(a, now)
    ]


def _submissions(machine: Machine, terms: Terms, now: float) -> list[Action]:
    """Keep as many allocations alive as are wanted, while there is work for them."""
    allocations = machine.ledger.allocations.values()
    # One at a time: a scheduler that refuses the first would refuse the others in the same breath.
    asking = any(a.place is Place.INTENDED for a in allocations)
    if asking or _backing_off(machine, now):
        return []
    enough = sum(a.live for a in allocations) >= _wanted(machine, terms)
    if enough or _too_dear(machine, terms, now):
        return []
    name = allocation_name(terms.token, machine.epoch, len(allocations) + 1)
    return [Submit(at=now, allocation=name)]


def allocation_name(token: str, epoch: int, number: int) -> str:
    """Name an allocation: at most 15 characters, as some schedulers ask.

    With the epoch, so that a controller which was stopped and wakes up cannot use a name that the
    next one has used, too.
    """
    return f"{token}-{epoch}-{number}"


def _too_dear(machine: Machine, terms: Terms, now: float) -> bool:
    """Tell whether one more allocation could use more core-hours than the run may."""
    if terms.core_hours is None:
        return False
    spent = sum(_seconds_at_most(a, terms, now) for a in machine.ledger.allocations.values())
    more = terms.walltime_seconds or 0.0
    return (spent + more) * terms.cores / SECONDS_PER_HOUR > terms.core_hours


def _seconds_at_most(allocation: Standby, terms: Terms, now: float) -> float:
    """Count what an allocation has used, and for one that goes on what it may still use."""
    used = (allocation.over_at or now) - allocation.joined_at if allocation.joined_at else 0.0
    if allocation.over_at or allocation.place is Place.REFUSED:
        return used
    return max(used, terms.walltime_seconds or 0.0)


def _backing_off(machine: Machine, now: float) -> bool:
    failures = len(machine.failures_in_a_row)
    if failures == 0:
        return False
    wait = BACK_OFF_SECONDS * 2.0 ** (failures - 1)
    return failures >= TRIES or now < machine.last_failure_at + wait


def _wanted(machine: Machine, terms: Terms) -> int:
    """Say how many allocations the work is worth; none where those that run will finish it."""
    ledger = machine.ledger
    busy = sum(a.slots for a in ledger.allocations.values() if a.place is Place.JOINED)
    unplaced = ledger.waiting + max(0, len(ledger.in_flight) - busy)
    if unplaced == 0:
        return 0
    return min(terms.allocations, ceil(ledger.unsettled / terms.slots))
