"""The journal in sentences."""

from __future__ import annotations

from typing import get_args

import pytest

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Entry, RunState
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import Failed, NotStarted, Succeeded
from tbss_hpc.core.retry import RetryPolicy
from tbss_hpc.report.sentences import sentence
from tests.unit.conversation import (
    A,
    attempt,
    cancel_requested,
    draining,
    fenced,
    gone,
    issue,
    joined,
    left,
    orphaned,
    refused,
    reported,
    retry_requested,
    started,
    submit,
    submitted,
)
from tests.unit.world import some_commands

SAID: list[tuple[Entry, str]] = [
    (reported(attempt(1), Failed(3)), "L1 failed with exit code 3 (attempt 1, n1)."),
    (submitted(), f"Allocation {A} was submitted as 17."),
    (refused(A, why="sbatch: error: no"), f"Allocation {A} was refused: sbatch: error: no"),
    (
        events.AllocationOverdue(at=1.0, allocation=A, explanation="it printed nothing"),
        f"Allocation {A} runs, and its worker has not joined: it printed nothing",
    ),
    (gone(), f"Allocation {A} has ended: FAILED."),
    (
        gone(A, "it ended before its worker joined; it printed:\nno python"),
        (
            f"Allocation {A} came to nothing: it ended before its worker joined; it printed:\n"
            "no python"
        ),
    ),
    (fenced(), f"Nothing of allocation {A} runs any more: all dead."),
    (joined(slots=4), f"Allocation {A} works on n1 with 4 slots."),
    (
        joined(A, attempt(1), slots=4),
        f"Allocation {A} works on n1 with 4 slots, 1 of them in use.",
    ),
    (draining(), f"Allocation {A} starts no more commands."),
    (left(), f"Allocation {A} is not connected any more."),
    (cancel_requested(), "me asked for the run to be cancelled."),
    (retry_requested(), "What failed is tried again."),
    (
        actions.Cancel(at=1.0, allocation=A, why="the run is cancelled"),
        f"Allocation {A} is cancelled: the run is cancelled.",
    ),
    (
        actions.Discard(at=1.0, attempt=attempt(1), allocation=A),
        f"{A} kills L1: it had been given up.",
    ),
]

UNSAID: list[Entry] = [
    started(),
    submit(A),
    issue(1),
    orphaned(attempt(1)),
    events.FoundDone(at=1.0, command="c01"),
    events.AllocationSeen(at=1.0, allocation=A, state="PENDING"),
    reported(attempt(1), Succeeded()),
    reported(attempt(1), NotStarted()),
    actions.Release(at=1.0, allocation=A, why="the run is finished"),
    actions.End(at=1.0, state=RunState.FINISHED),
]


@pytest.fixture
def machine() -> Machine:
    return Machine(some_commands(1), RetryPolicy())


@pytest.mark.parametrize(("entry", "words"), SAID)
def test_what_a_person_wants_to_know_is_said(entry: Entry, words: str, machine: Machine) -> None:
    assert sentence(entry, machine) == words


@pytest.mark.parametrize("entry", UNSAID)
def test_what_happens_all_the_time_is_not_said(entry: Entry, machine: Machine) -> None:
    assert sentence(entry, machine) == ""


def test_what_is_undone_is_said_with_the_reason(machine: Machine) -> None:
    undone = events.Undone(at=1.0, command="c01", why="the image a.nii.gz has changed")
    words = sentence(undone, machine)

    assert words.startswith("L1 ")
    assert words.endswith("the image a.nii.gz has changed.")


def test_the_tables_above_hold_every_entry() -> None:
    shown = {type(entry) for entry in [*UNSAID, *(entry for entry, _words in SAID)]}

    assert shown | {events.Undone} == set(get_args(Entry))
