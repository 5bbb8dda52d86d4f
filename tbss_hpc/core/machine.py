"""The pure state machine of a run: entries of the journal in, its standing out.

`apply` folds one entry into the ledger; `tbss_hpc.core.decide` looks at the ledger and says what
to do next. Replaying a journal through `apply` gives the machine that the controller had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import End, Entry
from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.command import Command
from tbss_hpc.core.ledger import Ledger, Place, Standby, Standing, Verdict
from tbss_hpc.core.outcome import Lost, NotStarted, Outcome, Succeeded
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
        #: Refusals and failed starts since the last worker joined.
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
        if standing is None:
            return True
        return standing.attempt != report.attempt or not self.ledger.is_in_flight(standing)

    # -- the controller and the user ------------------------------------------------------------

    def _controller_started(self, event: events.ControllerStarted) -> None:
        self.epoch = event.epoch
        self.first_at = self.first_at or event.at
        self.end, self.cancel_requested = None, False
        self.failures_in_a_row, self.given_up, self.successes = [], [], 0
        suspects = frozenset(event.opened)
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
        standing.proofs, standing.found = (), False
        standing.budget_from = len(standing.reports)
        self.ledger.wait_again(standing)

    def _cancel_requested(self, _event: events.CancelRequested) -> None:
        self.cancel_requested = True

    def _retry_requested(self, _event: events.RetryRequested) -> None:
        for standing in self.ledger.standings.values():
            if standing.verdict is Verdict.FAILED:
                standing.budget_from = len(standing.reports)
                self.ledger.wait_again(standing)

    def _end(self, action: actions.End) -> None:
        self.end = action
        if self.cancel_requested:
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

    def _gone(self, event: events.AllocationGone) -> None:
        allocation = self._allocation(event.allocation)
        if allocation.over:
            return
        allocation.place, allocation.state = Place.GONE, event.state
        allocation.reason = event.explanation
        allocation.over_at = event.at
        if not (allocation.ever_joined or allocation.cancelled or allocation.released):
            self._count_failure(event.explanation or event.state, event.at)

    def _count_failure(self, why: str, at: float) -> None:
        self.failures_in_a_row.append(why)
        self.last_failure_at = at

    def _overdue(self, event: events.AllocationOverdue) -> None:
        allocation = self._allocation(event.allocation)
        allocation.overdue, allocation.reason = True, event.explanation
        self._count_failure(event.explanation, event.at)

    def _fenced(self, event: events.AllocationFenced) -> None:
        allocation = self._allocation(event.allocation)
        allocation.place = Place.FENCED
        allocation.over_at = allocation.over_at or event.at
        for standing in list(self.ledger.in_flight.values()):
            if standing.attempt in event.started:
                self._resolve(standing, Lost(), allocation)
            elif allocation.name in standing.doubt:
                self._clear_of_doubt(standing, allocation)
        for attempt in [a for a, name in self.unwelcome.items() if name == allocation.name]:
            del self.unwelcome[attempt]

    def _release(self, action: actions.Release) -> None:
        allocation = self._allocation(action.allocation)
        allocation.released, allocation.released_at = True, action.at

    def _cancel(self, action: actions.Cancel) -> None:
        self._allocation(action.allocation).cancelled = True

    def _allocation(self, name: str) -> Standby:
        """Find an allocation; one that no entry named before is one that lost its journal."""
        return self.ledger.allocations.setdefault(name, Standby(name, asked_at=self.now))

    # -- workers --------------------------------------------------------------------------------

    def _joined(self, event: events.WorkerJoined) -> None:
        allocation = self._allocation(event.allocation)
        allocation.place, allocation.ever_joined, allocation.overdue = Place.JOINED, True, False
        allocation.joined_at = allocation.joined_at or event.at
        allocation.node, allocation.slots = event.node, event.slots
        self.failures_in_a_row = []
        for attempt in event.holding:
            self._held(attempt, allocation)
        for standing in list(self.ledger.in_flight.values()):
            if allocation.name in standing.doubt:
                self._clear_of_doubt(standing, allocation)

    def _held(self, attempt: AttemptId, allocation: Standby) -> None:
        standing = self.ledger.standings.get(attempt.command)
        current = standing is not None and standing.attempt == attempt
        if standing is not None and current and self.ledger.is_in_flight(standing):
            standing.held_by, standing.doubt = allocation.name, frozenset()
        else:
            self.unwelcome[attempt] = allocation.name

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
        self.unwelcome.pop(event.report.attempt, None)
        if not self.settled_already(event.report):
            standing = self.ledger.standings[event.report.attempt.command]
            self._settle(standing, event.report)

    def _discard(self, action: actions.Discard) -> None:
        self.unwelcome.pop(action.attempt, None)

    def _doubt(self, standing: Standing, suspects: frozenset[str]) -> None:
        """Wait for word of these allocations before the command is tried again."""
        possible = {name for name in suspects if not self._allocation(name).over}
        standing.held_by, standing.doubt = None, frozenset(possible)
        if not possible:
            self._settle_unheard(standing, suspects)

    def _clear_of_doubt(self, standing: Standing, allocation: Standby) -> None:
        """Strike an allocation that does not hold the attempt off the list of suspects."""
        standing.doubt -= {allocation.name}
        if not standing.doubt:
            self._resolve(standing, NotStarted(), allocation)

    def _settle_unheard(self, standing: Standing, suspects: frozenset[str]) -> None:
        name = min(suspects, default="")
        self._settle(standing, Report(standing.attempt, NotStarted(), name, ""))

    def _resolve(self, standing: Standing, outcome: Lost | NotStarted, allocation: Standby) -> None:
        report = Report(standing.attempt, outcome, allocation.name, allocation.node)
        self._settle(standing, report)

    def _settle(self, standing: Standing, report: Report) -> None:
        standing.reports.append(report)
        if isinstance(report.outcome, Succeeded):
            standing.proofs = report.proofs
            self.successes += 1
            self.ledger.settle(standing, Verdict.DONE)
        elif self.policy.allows(standing.outcomes):
            self.ledger.wait_again(standing)
        else:
            self.given_up.append(report.outcome)
            self.ledger.settle(standing, Verdict.FAILED)

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


def replay(commands: Iterable[Command], policy: RetryPolicy, entries: Iterable[Entry]) -> Machine:
    """Rebuild the machine of a run from its journal."""
    machine = Machine(commands, policy)
    for entry in entries:
        machine.apply(entry)
    return machine
