"""How an attempt ended, and whose fault it was."""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from msgspec import Struct


class Succeeded(Struct, frozen=True, tag="succeeded", tag_field="kind"):
    """Exit code 0, and every declared output was proved."""


class Failed(Struct, frozen=True, tag="failed", tag_field="kind"):
    """The command ended by itself with an exit code other than 0."""

    exit_code: int


class Invalid(Struct, frozen=True, tag="invalid", tag_field="kind"):
    """Exit code 0, but an output is missing or broken."""

    why: str


class Killed(Struct, frozen=True, tag="killed", tag_field="kind"):
    """A signal that we did not send ended the command."""

    signal: int


class TimedOut(Struct, frozen=True, tag="timed-out", tag_field="kind"):
    """The command ran longer than its time limit and was killed by us."""

    limit_seconds: float


class OutOfMemory(Struct, frozen=True, tag="out-of-memory", tag_field="kind"):
    """The kernel, or the batch system, killed the command for its memory."""


class Cut(Struct, frozen=True, tag="cut", tag_field="kind"):
    """The end of its allocation came first, or we stopped it."""

    why: str
    walltime: bool = False  #: the allocation had lasted as long as it could


class Lost(Struct, frozen=True, tag="lost", tag_field="kind"):
    """It started, and its allocation died before it could say more."""


class NotStarted(Struct, frozen=True, tag="not-started", tag_field="kind"):
    """It was handed to a worker that certainly never started it."""


Outcome = Succeeded | Failed | Invalid | Killed | TimedOut | OutOfMemory | Cut | Lost | NotStarted


class Fault(Enum):
    """Who is charged for an attempt."""

    NOBODY = "nobody"
    COMMAND = "command"
    INFRASTRUCTURE = "infrastructure"


def fault(outcome: Outcome) -> Fault:
    """Say whose retry budget an outcome uses up."""
    match outcome:
        case Succeeded() | NotStarted():
            return Fault.NOBODY
        case Failed() | Invalid() | Killed() | TimedOut() | OutOfMemory():
            return Fault.COMMAND
        case Cut() | Lost():
            return Fault.INFRASTRUCTURE
        case _:
            assert_never(outcome)


def in_words(outcome: Outcome) -> str:
    """Describe an outcome in a few plain words."""
    match outcome:
        case Succeeded():
            return "succeeded"
        case Failed(exit_code):
            return f"failed with exit code {exit_code}"
        case Invalid(why):
            return f"left an invalid output: {why}"
        case Killed(signal):
            return f"was killed by signal {signal}"
        case TimedOut(limit_seconds):
            return f"ran over its time limit of {limit_seconds:g} s"
        case OutOfMemory():
            return "ran out of memory"
        case Cut(why, walltime):
            return f"was cut: {why}" + (", too long for this queue?" if walltime else "")
        case Lost():
            return "was lost with its allocation"
        case NotStarted():
            return "was not started"
        case _:
            assert_never(outcome)


def kind(outcome: Outcome) -> str:
    """Give the one-word name of an outcome, as status.tsv and status --json show it."""
    return str(outcome.__struct_config__.tag)
