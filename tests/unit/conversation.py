"""Words for conversations with the machine: a list of events in, the exact actions out."""

from __future__ import annotations

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Action, Entry
from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.decide import Terms, decide
from tbss_hpc.core.ledger import Standby, Standing
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import Outcome, Succeeded
from tbss_hpc.core.retry import RetryPolicy
from tests.unit.world import NAME, some_commands

T0 = 1000.0
A = f"{NAME}-1-1"
B = f"{NAME}-1-2"
C = f"{NAME}-1-3"


def attempt(line: int, number: int = 1) -> AttemptId:
    return AttemptId(f"c{line:02}", number)


def issue(line: int, number: int = 1, at: float = T0) -> actions.Issue:
    return actions.Issue(at=at, attempt=attempt(line, number))


def submit(name: str, at: float = T0) -> actions.Submit:
    return actions.Submit(at=at, allocation=name)


def started(epoch: int = 1, *opened: str, at: float = T0) -> events.ControllerStarted:
    return events.ControllerStarted(
        at=at, epoch=epoch, host="login", pid=1, version="1", opened=opened
    )


def submitted(name: str = A) -> events.AllocationSubmitted:
    return events.AllocationSubmitted(at=T0, allocation=name, native_id="17")


def refused(name: str, at: float = T0, why: str = "no") -> events.AllocationRefused:
    return events.AllocationRefused(at=at, allocation=name, why=why)


def gone(name: str = A, why: str = "", at: float = T0) -> events.AllocationGone:
    return events.AllocationGone(at=at, allocation=name, state="FAILED", explanation=why)


def fenced(name: str = A, *running: AttemptId, at: float = T0) -> events.AllocationFenced:
    return events.AllocationFenced(at=at, allocation=name, evidence="all dead", started=running)


def joined(name: str = A, *holding: AttemptId, slots: int = 1) -> events.WorkerJoined:
    return events.WorkerJoined(at=T0, allocation=name, node="n1", slots=slots, holding=holding)


def draining(name: str = A) -> events.WorkerDraining:
    return events.WorkerDraining(at=T0, allocation=name)


def left(name: str = A) -> events.WorkerLeft:
    return events.WorkerLeft(at=T0, allocation=name)


def orphaned(of: AttemptId, name: str = A) -> events.AttemptOrphaned:
    return events.AttemptOrphaned(at=T0, attempt=of, allocation=name)


def reported(
    of: AttemptId, outcome: Outcome | None = None, name: str = A
) -> events.AttemptReported:
    report = Report(of, Succeeded() if outcome is None else outcome, name, "n1")
    return events.AttemptReported(at=T0, report=report)


def cancel_requested() -> events.CancelRequested:
    return events.CancelRequested(at=T0, by="me")


def retry_requested() -> events.RetryRequested:
    return events.RetryRequested(at=T0)


class Conversation:
    """A machine, and the terms on which it decides."""

    def __init__(
        self,
        *,
        commands: int = 2,
        allocations: int = 1,
        slots: int = 1,
        policy: RetryPolicy | None = None,
        core_hours: float | None = None,
    ) -> None:
        self.machine = Machine(some_commands(commands), policy or RetryPolicy())
        walltime = None if core_hours is None else 3600.0
        self.terms = Terms(allocations, slots, NAME, slots, walltime, core_hours)

    def hear(self, *entries: Entry) -> None:
        for entry in entries:
            self.machine.apply(entry)

    def say(self, *entries: Entry, now: float = T0) -> list[Action]:
        """Tell the machine what has happened; give what it does next."""
        self.hear(*entries)
        decided = decide(self.machine, self.terms, now)
        self.hear(*decided)
        assert decide(self.machine, self.terms, now) == []
        return decided

    def standing(self, line: int) -> Standing:
        return self.machine.ledger.standings[attempt(line).command]

    def allocation(self, name: str = A) -> Standby:
        return self.machine.ledger.allocations[name]

    def outcomes(self, line: int) -> list[Outcome]:
        return [report.outcome for report in self.standing(line).reports]


def at_work(
    *,
    commands: int = 2,
    allocations: int = 1,
    slots: int = 1,
    policy: RetryPolicy | None = None,
    core_hours: float | None = None,
) -> Conversation:
    """Begin a conversation with A at work, and as much handed over as it takes."""
    talk = Conversation(
        commands=commands,
        allocations=allocations,
        slots=slots,
        policy=policy,
        core_hours=core_hours,
    )
    talk.say(started())
    talk.say(submitted())
    talk.say(joined(slots=slots))
    return talk
