"""The journal in sentences, for controller.log and for people who watch."""

from __future__ import annotations

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Entry
from tbss_hpc.core.attempt import Report
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import NotStarted, Succeeded, in_words


def sentence(entry: Entry, machine: Machine) -> str:  # noqa: C901, PLR0912 - a case an entry
    """Say what an entry means; empty for the many that say nothing to a person."""
    match entry:
        case events.AttemptReported(report=report):
            return _ended(report, machine)
        case events.AllocationOverdue(allocation=name, explanation=explanation):
            return f"Allocation {name} runs, and its worker has not joined: {explanation}"
        case events.AllocationGone(allocation=name, explanation=explanation) if explanation:
            return f"Allocation {name} came to nothing: {explanation}"
        case events.AllocationGone(allocation=name, state=state):
            return f"Allocation {name} has ended: {state}."
        case events.AllocationFenced(allocation=name, evidence=evidence):
            return f"Nothing of allocation {name} runs any more: {evidence}."
        case events.AllocationRefused(allocation=name, why=why):
            return f"Allocation {name} was refused: {why}"
        case events.AllocationSubmitted(allocation=name, native_id=native_id):
            return f"Allocation {name} was submitted as {native_id}."
        case events.WorkerJoined(allocation=name, node=node, slots=slots, holding=holding):
            running = f", {len(holding)} of them in use" if holding else ""
            return f"Allocation {name} works on {node} with {slots} slots{running}."
        case events.WorkerDraining(allocation=name):
            return f"Allocation {name} starts no more commands."
        case events.WorkerLeft(allocation=name):
            return f"Allocation {name} is not connected any more."
        case events.Undone(command=command, why=why):
            return f"{_name(command, machine)} counts as done no longer: {why}."
        case events.CancelRequested(by=by):
            return f"{by} asked for the run to be cancelled."
        case events.RetryRequested():
            return "What failed is tried again."
        case actions.Cancel(allocation=name, why=why):
            return f"Allocation {name} is cancelled: {why}."
        case actions.Discard(attempt=attempt, allocation=name):
            return f"{name} kills {_name(attempt.command, machine)}: it had been given up."
        case _:
            return ""


def _ended(report: Report, machine: Machine) -> str:
    if isinstance(report.outcome, Succeeded | NotStarted):
        return ""
    name = _name(report.attempt.command, machine)
    return f"{name} {in_words(report.outcome)} (attempt {report.attempt.number}, {report.node})."


def _name(command: str, machine: Machine) -> str:
    return machine.ledger.standings[command].command.name
