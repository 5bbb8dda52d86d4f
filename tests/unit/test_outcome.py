"""How attempts end, whose fault it was, and how that is said."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from tbss_hpc.core.outcome import (
    Cut,
    Failed,
    Fault,
    Invalid,
    Killed,
    Lost,
    NotStarted,
    Outcome,
    OutOfMemory,
    Succeeded,
    TimedOut,
    fault,
    in_words,
    kind,
)

#: Every outcome: whose fault, its one word, and its sentence.
ALL: list[tuple[Outcome, Fault, str, str]] = [
    (Succeeded(), Fault.NOBODY, "succeeded", "succeeded"),
    (Failed(3), Fault.COMMAND, "failed", "failed with exit code 3"),
    (
        Invalid("a.mat has 3 rows"),
        Fault.COMMAND,
        "invalid",
        "left an invalid output: a.mat has 3 rows",
    ),
    (Killed(11), Fault.COMMAND, "killed", "was killed by signal 11"),
    (TimedOut(90.0), Fault.COMMAND, "timed-out", "ran over its time limit of 90 s"),
    (OutOfMemory(), Fault.COMMAND, "out-of-memory", "ran out of memory"),
    (Cut("preempted"), Fault.INFRASTRUCTURE, "cut", "was cut: preempted"),
    (
        Cut("the walltime ends", walltime=True),
        Fault.INFRASTRUCTURE,
        "cut",
        "was cut: the walltime ends, too long for this queue?",
    ),
    (Lost(), Fault.INFRASTRUCTURE, "lost", "was lost with its allocation"),
    (NotStarted(), Fault.NOBODY, "not-started", "was not started"),
]
OUTCOMES = [outcome for outcome, *_rest in ALL]


def test_the_table_above_is_complete() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(Outcome))


@pytest.mark.parametrize(("outcome", "whose", "word", "words"), ALL)
def test_an_outcome_is_charged_and_told(
    outcome: Outcome, whose: Fault, word: str, words: str
) -> None:
    assert fault(outcome) is whose
    assert kind(outcome) == word
    assert in_words(outcome) == words


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_survives_being_written_down(outcome: Outcome) -> None:
    written = msgspec.json.encode(outcome)

    assert msgspec.json.decode(written, type=Outcome) == outcome


def test_a_cut_of_an_older_version_can_be_read() -> None:
    assert msgspec.json.decode(b'{"kind":"cut","why":"x"}', type=Cut) == Cut("x")
