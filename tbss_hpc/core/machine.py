"""The pure state machine of a run: entries of the journal in, its standing out.

`apply` folds one entry into the ledger; `tbss_hpc.core.decide` looks at the ledger and says what
to do next. Replaying a journal through `apply` gives the machine that the controller had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import End, Entry, RunState
from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.command import Command
from tbss_hpc.core.events import Event
from tbss_hpc.core.ledger import Ledger, Place, Standby, Standing, Verdict
from tbss_hpc.core.outcome import Fault, Lost, NotStarted, Outcome, Succeeded, fault
from tbss_hpc.core.retry import RetryPolicy


class Machine:
    """What is known of a run, folded from its journal."""

    def __init__(self, commands: Iterable[Command], policy: RetryPolicy) -> None:
        """Start with nothing known but the commands."""
        self.ledger = Ledger(commands)
        self.policy = policy
        self.epoch = 0
        self.now = 0.0  #: time of the newest entry
        self.first_at: float | None = None  #: when the first controller started
        self.cancel_requested = False
        self.end: End | None = None
        #: Refusals and allocations that came to nothing, since the last one that did not.
        self.failures_in_a_row: list[str] = []
        self.last_failure_at = 0.0
        #: How commands failed for good, and how many succeeded, since this controller started.
        self.given_up: list[Outcome] = []
        self.successes = 0
        #: Attempts that came back after they had been given up, by allocation.
        self.unwelcome: dict[AttemptId, str] = {}

    def apply(self, entry: Entry) -> None:
        """Fold one entry of the journal into what is known."""
        self.now = max(self.now, entry.at)
        self._handlers[type(entry)](self, entry)

    def settled_already(self, report: Report) -> bool:
        """Tell whether a report says nothing new (it came by message and by record)."""
        standing = self.ledger.standings.get(report.attempt.command)
        if standing is None or standing.attempt != report.attempt:
            return True
        # The records may speak after we had to conclude something without them.
        return not (self.ledger.is_in_flight(standing) or _concluded(standing))

    # -- the controller and the user ------------------------------------------------------------

    def _controller_started(self, event: events.ControllerStarted) -> None:
        self.epoch = event.epoch
        self.first_at = self.first_at or event.at
        # What was asked of a controller that died before it was done is still asked.
        self.cancel_requested = self.cancel_requested and self.end is None
        self.end = None
        self.failures_in_a_row, self.given_up, self.successes = [], [], 0
        joined = (a.name for a in self.ledger.allocations.values() if a.ever_joined)
        suspects = frozenset([*event.opened, *joined])
        for standing in list(self.ledger.in_flight.values()):
            held = frozenset([standing.held_by]) if standing.held_by else suspects
            self._doubt(standing, standing.doubt or held)
        for allocation in self.ledger.allocations.values():
            if allocation.place is Place.JOINED:
                allocation.place = Place.AWAY
        for standing in self.ledger.standings.values():
            if standing.verdict is Verdict.CANCELLED:
                self.ledger.wait_again(standing)

    def _found_done(self, event: events.FoundDone) -> None:
        standing = self.ledger.standings[event.command]
        standing.proofs, standing.found = event.proofs, True
        self.ledger.settle(standing, Verdict.DONE)

    def _undone(self, event: events.Undone) -> None:
        standing = self.ledger.standings[event.command]
        if standing.verdict is Verdict.DONE:
            standing.proofs, standing.found = (), False
            standing.charged.clear()
            self.ledger.wait_again(standing)

    def _cancel_requested(self, _event: events.CancelRequested) -> None:
        self.cancel_requested = True

    def _retry_requested(self, _event: events.RetryRequested) -> None:
        self.given_up = []
        for standing in self.ledger.standings.values():
            if standing.verdict is Verdict.FAILED:
                standing.charged.clear()
                self.ledger.wait_again(standing)

    def _end(self, action: actions.End) -> None:
        self.end = action
        if action.state is RunState.CANCELLED:
            for standing in self.ledger.standings.values():
                if standing.verdict is None:
                    self.ledger.settle(standing, Verdict.CANCELLED)

    # -- allocations ----------------------------------------------------------------------------

    def _submit(self, action: actions.Submit) -> None:
        self.ledger.allocations[action.allocation] = Standby(action.allocation, asked_at=action.at)

    def _submitted(self, event: events.AllocationSubmitted) -> None:
        allocation = self._allocation(event.allocation)
        allocation.native_id = event.native_id
        if allocation.place is Place.INTENDED:
            allocation.place = Place.PENDING

    def _refused(self, event: events.AllocationRefused) -> None:
        allocation = self._allocation(event.allocation)
        allocation.place, allocation.reason = Place.REFUSED, event.why
        self._count_failure(event.why, event.at)

    def _seen(self, event: events.AllocationSeen) -> None:
        allocation = self._allocation(event.allocation)
        allocation.state, allocation.reason = event.state, event.reason
        allocation.node = event.node or allocation.node
        allocation.free_until = event.free_until

    def _gone(self, event: events.AllocationGone) -> None:
        allocation = self._allocation(event.allocation)
        if allocation.over:
            return
        allocation.place, allocation.state = Place.GONE, event.state
        allocation.reason = event.explanation
        allocation.over_at = event.at
        self._count_end(allocation)
        if not (allocation.ever_joined or _given_back(allocation)):
            self._count_failure(event.explanation or event.state, event.at)

    def _count_end(self, allocation: Standby) -> None:
        """Ask for allocations anew when one ends that did something: its place is free."""
        if allocation.worked:
            self.failures_in_a_row = []

    def _count_failure(self, why: str, at: float) -> None:
        self.failures_in_a_row.append(why)
        self.last_failure_at = at

    def _overdue(self, event: events.AllocationOverdue) -> None:
        allocation = self._allocation(event.allocation)
        allocation.overdue, allocation.reason = True, event.explanation
        self._count_failure(event.explanation, event.at)

    def _fenced(self, event: events.AllocationFenced) -> None:
        allocation = self._allocation(event.allocation)
        if allocation.over:
            return
        allocation.place = Place.FENCED
        allocation.over_at = allocation.over_at or event.at
        allocation.worked = allocation.worked or bool(event.started)
        self._count_end(allocation)
        if allocation.ever_joined and not (allocation.worked or _given_back(allocation)):
            self._count_failure("its worker joined, and ended before it started anything", event.at)
        for standing in list(self.ledger.in_flight.values()):
            if standing.attempt in event.started:
                self._resolve(standing, Lost(), allocation)
            else:
                self._is_not_with(standing, allocation)
        for attempt in [a for a, name in self.unwelcome.items() if name == allocation.name]:
            del self.unwelcome[attempt]

    def _release(self, action: actions.Release) -> None:
        allocation = self._allocation(action.allocation)
        allocation.released, allocation.released_at = True, action.at

    def _cancel(self, action: actions.Cancel) -> None:
        allocation = self._allocation(action.allocation)
        allocation.cancelled, allocation.cancelled_at = True, action.at

    def _allocation(self, name: str) -> Standby:
        """Find an allocation; one that no entry named before is one that lost its journal."""
        return self.ledger.allocations.setdefault(name, Standby(name, asked_at=self.now))

    # -- workers --------------------------------------------------------------------------------

    def _joined(self, event: events.WorkerJoined) -> None:
        allocation = self._allocation(event.allocation)
        allocation.place, allocation.ever_joined, allocation.overdue = Place.JOINED, True, False
        allocation.joined_at, allocation.over_at = allocation.joined_at or event.at, 0.0
        allocation.node, allocation.slots = event.node, event.slots
        for attempt in event.holding:
            self._held(attempt, allocation)
        for standing in list(self.ledger.in_flight.values()):
            if standing.attempt not in event.holding:
                self._is_not_with(standing, allocation)

    def _held(self, attempt: AttemptId, allocation: Standby) -> None:
        standing = self.ledger.standings.get(attempt.command)
        if standing is None or _has_ended(standing, attempt):
            return  # it ended after the worker said that it ran
        if standing.attempt == attempt and _concluded(standing):
            self._find_again(standing)
        if standing.attempt == attempt and self.ledger.is_in_flight(standing):
            standing.held_by, standing.doubt = allocation.name, frozenset()
        else:
            self.unwelcome[attempt] = allocation.name

    def _find_again(self, standing: Standing) -> None:
        """Take back what was concluded about the newest attempt."""
        conclusion = standing.reports.pop()
        if standing.charged[-1:] == [conclusion.outcome]:
            standing.charged.pop()
        self.ledger.issue(standing, standing.issued)

    def _draining(self, event: events.WorkerDraining) -> None:
        self._allocation(event.allocation).draining = True

    def _left(self, event: events.WorkerLeft) -> None:
        allocation = self._allocation(event.allocation)
        if allocation.place is Place.JOINED:
            allocation.place = Place.AWAY
        for standing in list(self.ledger.in_flight.values()):
            if standing.held_by == allocation.name:
                self._doubt(standing, frozenset([allocation.name]))

    # -- attempts -------------------------------------------------------------------------------

    def _issue(self, action: actions.Issue) -> None:
        standing = self.ledger.standings[action.attempt.command]
        self.ledger.issue(standing, action.attempt.number)

    def _orphaned(self, event: events.AttemptOrphaned) -> None:
        standing = self.ledger.standings[event.attempt.command]
        if standing.attempt != event.attempt or not self.ledger.is_in_flight(standing):
            return
        if standing.held_by is None:
            self._doubt(standing, frozenset([event.allocation]))

    def _reported(self, event: events.AttemptReported) -> None:
        report = event.report
        if self.settled_already(report):
            return
        standing = self.ledger.standings[report.attempt.command]
        if _concluded(standing):
            self._find_again(standing)
        self._note_work(report)
        self._settle(standing, report)

    def _note_work(self, report: Report) -> None:
        allocation = self.ledger.allocations.get(report.allocation)
        if allocation is not None and not isinstance(report.outcome, NotStarted):
            if not allocation.worked:
                self.failures_in_a_row = []
            allocation.worked = True

    def _discard(self, action: actions.Discard) -> None:
        self.unwelcome.pop(action.attempt, None)

    def _doubt(self, standing: Standing, suspects: frozenset[str]) -> None:
        """Wait for word of these allocations before the command is tried again."""
        possible = {name for name in suspects if not self._allocation(name).over}
        standing.held_by, standing.doubt = None, frozenset(possible)
        if not possible:
            self._settle_unheard(standing, suspects)

    def _is_not_with(self, standing: Standing, allocation: Standby) -> None:
        """Strike an allocation that does not hold an attempt off the list of suspects."""
        if allocation.name not in standing.doubt and standing.held_by != allocation.name:
            return
        standing.doubt, standing.held_by = standing.doubt - {allocation.name}, None
        if not standing.doubt:
            self._resolve(standing, NotStarted(), allocation)

    def _settle_unheard(self, standing: Standing, suspects: frozenset[str]) -> None:
        name = min(suspects, default="")
        self._settle(standing, Report(standing.attempt, NotStarted(), name, "", concluded=True))

    def _resolve(self, standing: Standing, outcome: Lost | NotStarted, allocation: Standby) -> None:
        where = (allocation.name, allocation.node)
        report = Report(standing.attempt, outcome, *where, concluded=True)
        self._settle(standing, report)

    def _settle(self, standing: Standing, report: Report) -> None:
        standing.reports.append(report)
        if isinstance(report.outcome, Succeeded):
            standing.proofs = report.proofs
            self.successes += 1
            self.ledger.settle(standing, Verdict.DONE)
            return
        if not self._by_our_own_hand(report):
            standing.charged.append(report.outcome)
        if self.policy.allows(tuple(standing.charged)):
            self.ledger.wait_again(standing)
        else:
            self.given_up.append(report.outcome)
            self.ledger.settle(standing, Verdict.FAILED)

    def _by_our_own_hand(self, report: Report) -> bool:
        """Tell whether an attempt came to nothing because we cancelled its allocation."""
        allocation = self.ledger.allocations.get(report.allocation)
        cancelled = allocation is not None and allocation.cancelled
        return cancelled and fault(report.outcome) is Fault.INFRASTRUCTURE

    _handlers: ClassVar[dict[type, Callable[[Machine, Any], None]]] = {
        events.ControllerStarted: _controller_started,
        events.FoundDone: _found_done,
        events.Undone: _undone,
        events.AllocationSubmitted: _submitted,
        events.AllocationRefused: _refused,
        events.AllocationSeen: _seen,
        events.AllocationOverdue: _overdue,
        events.AllocationGone: _gone,
        events.AllocationFenced: _fenced,
        events.WorkerJoined: _joined,
        events.WorkerDraining: _draining,
        events.WorkerLeft: _left,
        events.AttemptOrphaned: _orphaned,
        events.AttemptReported: _reported,
        events.CancelRequested: _cancel_requested,
        events.RetryRequested: _retry_requested,
        actions.Issue: _issue,
        actions.Submit: _submit,
        actions.Release: _release,
        actions.Cancel: _cancel,
        actions.Discard: _discard,
        actions.End: _end,
    }


def _concluded(standing: Standing) -> bool:
    """Tell whether we concluded how the newest attempt ended, and nothing was tried since."""
    last = standing.reports[-1] if standing.reports else None
    newest = last is not None and last.attempt == standing.attempt and last.concluded
    return newest and standing.verdict is None


def _has_ended(standing: Standing, attempt: AttemptId) -> bool:
    """Tell whether a worker has said how an attempt ended."""
    return any(r.attempt == attempt and not r.concluded for r in standing.reports)


def _given_back(allocation: Standby) -> bool:
    """Tell whether an allocation was to end, so that it is no failure if it does."""
    return allocation.cancelled or allocation.released or allocation.draining or allocation.overdue


def reports_first(facts: Iterable[Event]) -> list[Event]:
    """Put what arrived at the same time into an order that survives a torn journal.

    A worker that joins again names what it holds, and what it does not name counts as never
    started, unless a report says more. Were the journal cut between the two, the next controller
    would make a finished command again.
    """
    return sorted(facts, key=lambda fact: not isinstance(fact, events.AttemptReported))


def replay(commands: Iterable[Command], policy: RetryPolicy, entries: Iterable[Entry]) -> Machine:
    """Rebuild the machine of a run from its journal."""
    machine = Machine(commands, policy)
    for entry in entries:
        machine.apply(entry)
    return machine
