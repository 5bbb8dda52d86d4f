"""What a run is doing, from its files alone."""

from __future__ import annotations

import time

import msgspec

from tbss_hpc.app.spec import logs_of, read_plan, read_work
from tbss_hpc.core.actions import RunState
from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.durations import learned
from tbss_hpc.core.ledger import Place, Standby, Verdict
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import Succeeded, kind
from tbss_hpc.core.record import Started
from tbss_hpc.core.status import (
    SCHEMA,
    AllocationStatus,
    ControllerStatus,
    Counts,
    RunningStatus,
    Status,
)
from tbss_hpc.core.units import in_words
from tbss_hpc.schedulers.dialects import dialect_of
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import JournalReader
from tbss_hpc.store.offer import Offer, controller_alive, read_offer
from tbss_hpc.store.records import Evidence

_ALIVE = {True: "yes", False: "no", None: "unknown"}


class Observer:
    """Follows a run by reading what is new in its files."""

    def __init__(self, run: RunFolder) -> None:
        """Start with nothing read."""
        self.run = run
        self.work = read_work(run)
        self.plan = read_plan(run)
        self.machine = Machine(self.work.commands, self.plan.retry)
        self.logs = logs_of(self.work)
        self._journal = JournalReader(run)
        self._evidence: dict[str, Evidence] = {}

    def look(self) -> Status:
        """Read what is new and say how the run stands."""
        for entry in self._journal.new():
            self.machine.apply(entry)
        self._look_at_records()
        offer = read_offer(self.run)
        running = self._running()
        state, why = self._state(offer)
        return Status(
            schema=SCHEMA,
            run=str(self.run.root),
            state=state.value,
            why=why,
            controller=_controller(offer),
            counts=self._counts(len(running)),
            outcomes=self._outcomes(),
            allocations=[self._allocation(a) for a in self._allocations()],
            running=running,
            started_at=self.machine.first_at,
            expected_end=self._expected_end(state, len(running)),
            dashboard=_dashboard(offer),
            paths=self._paths(),
        )

    def closing(self) -> bool:
        """Tell whether a controller is still at work, though the run may have ended."""
        offer = read_offer(self.run)
        if offer is None:
            return False
        alive = controller_alive(offer)
        return not offer.over if alive is None else alive

    def _look_at_records(self) -> None:
        for allocation in self.machine.ledger.allocations.values():
            if allocation.name not in self._evidence:
                path = self.run.records_of(allocation.name)
                self._evidence[allocation.name] = Evidence(path)
            if not allocation.over:
                self._evidence[allocation.name].look()

    def _state(self, offer: Offer | None) -> tuple[RunState, str]:
        # A controller offers itself before its journal says that the run goes on.
        resumed = offer is not None and offer.epoch > self.machine.epoch
        if self.machine.end is not None and not resumed:
            return self.machine.end.state, self.machine.end.why
        if offer is None:
            return RunState.PLANNED, ""
        if controller_alive(offer) is False:
            why = f"its controller on {offer.host} ended without closing it; `tbss-hpc resume`"
            return RunState.INTERRUPTED, why
        failures = self.machine.failures_in_a_row
        if failures and not any(a.live for a in self.machine.ledger.allocations.values()):
            return RunState.PAUSED, f"an allocation came to nothing: {failures[-1]}"
        return RunState.RUNNING, ""

    def _running(self) -> list[RunningStatus]:
        """List what records have started and not ended; only what the journal has not settled."""
        found: list[RunningStatus] = []
        for allocation in self.machine.ledger.allocations.values():
            if allocation.over:
                continue
            for attempt, started in self._evidence[allocation.name].started.items():
                if self._is_open(attempt):
                    found.append(self._running_status(attempt, started, allocation))
        return sorted(found, key=lambda running: running.since)

    def _is_open(self, attempt: AttemptId) -> bool:
        standing = self.machine.ledger.standings.get(attempt.command)
        return standing is not None and standing.verdict is None

    def _running_status(
        self, attempt: AttemptId, started: Started, allocation: Standby
    ) -> RunningStatus:
        name = self.machine.ledger.standings[attempt.command].command.name
        return RunningStatus(name, attempt.number, allocation.node, started.at)

    def _counts(self, running: int) -> Counts:
        ledger = self.machine.ledger
        verdicts = [s.verdict for s in ledger.standings.values()]
        return Counts(
            total=len(verdicts),
            done=verdicts.count(Verdict.DONE),
            failed=verdicts.count(Verdict.FAILED),
            cancelled=verdicts.count(Verdict.CANCELLED),
            running=running,
            waiting=ledger.unsettled - running,
        )

    def _outcomes(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for standing in self.machine.ledger.standings.values():
            for report in standing.reports:
                word = kind(report.outcome)
                counts[word] = counts.get(word, 0) + 1
        return counts

    def _allocations(self) -> list[Standby]:
        """List those that matter now; when the run has ended, all there were."""
        everything = list(self.machine.ledger.allocations.values())
        if self.machine.end is not None:
            return everything
        return [a for a in everything if not a.over] or everything

    def _allocation(self, allocation: Standby) -> AllocationStatus:
        return AllocationStatus(
            name=allocation.name,
            native_id=allocation.native_id,
            state=allocation.place.value,
            reason=allocation.reason,
            explanation=self._explain(allocation),
            node=allocation.node,
            seconds_left=self._seconds_left(allocation),
            slots=allocation.slots or self.plan.shape.slots,
        )

    def _explain(self, allocation: Standby) -> str:
        if allocation.place is not Place.PENDING or not allocation.state:
            return allocation.reason
        words = dialect_of(self.plan.scheduler).in_words(allocation.state, allocation.reason)
        if allocation.free_until is None:
            return words
        fits = max(0.0, allocation.free_until - time.time())
        return f"{words}; a walltime of at most {in_words(fits)} would fit before it"

    def _seconds_left(self, allocation: Standby) -> float | None:
        heartbeat = self._evidence[allocation.name].heartbeat
        works = allocation.place in (Place.JOINED, Place.AWAY)
        if not works or heartbeat is None or heartbeat.seconds_left is None:
            return None
        return max(0.0, heartbeat.seconds_left - (time.time() - heartbeat.at))

    def _expected_end(self, state: RunState, running: int) -> float | None:
        slots = sum(
            a.slots for a in self.machine.ledger.allocations.values() if a.place is Place.JOINED
        )
        estimate = learned(self._seconds(), "commands") or self.plan.estimate
        if state is not RunState.RUNNING or not slots or estimate is None:
            return None
        left = self.machine.ledger.unsettled - running / 2
        return time.time() + max(1.0, left / slots) * estimate.seconds

    def _seconds(self) -> list[float]:
        return [
            report.measures.seconds
            for standing in self.machine.ledger.standings.values()
            for report in standing.reports
            if isinstance(report.outcome, Succeeded) and not report.found
        ]

    def _paths(self) -> dict[str, str]:
        run = self.run
        named = {
            "status": run.status_table,
            "attempts": run.attempts_table,
            "failed": run.failed_commands,
            "logs": run.logs,
            "controller_log": run.controller_log,
            "journal": run.journal,
        }
        if run.score_picture.exists():
            named |= {"scores": run.scores, "score_picture": run.score_picture}
        return {name: str(path) for name, path in named.items()}


def _dashboard(offer: Offer | None) -> str:
    """Give the address of the dashboard, unless it is known to be gone."""
    if offer is None or offer.over or controller_alive(offer) is False:
        return ""
    return offer.dashboard


def _controller(offer: Offer | None) -> ControllerStatus | None:
    if offer is None:
        return None
    alive = False if offer.over else controller_alive(offer)
    return ControllerStatus(offer.host, offer.pid, _ALIVE[alive], offer.epoch)


def as_json(status: Status) -> str:
    """Write a status as JSON."""
    return msgspec.json.format(msgspec.json.encode(status), indent=2).decode()
