"""What can be known of an allocation from its scheduler: a state, gone, or nothing."""

from __future__ import annotations

from msgspec import Struct


class Seen(Struct, frozen=True):
    """The scheduler still has it: waiting, running or ending. Its processes may be alive."""

    state: str  #: the scheduler's own word
    reason: str  #: why it waits, the scheduler's own word; empty where there is none
    node: str  #: where it runs; empty while it waits
    native_id: str
    seconds_left: float | None  #: until its walltime; None while it waits, or without an end
    free_until: float | None = None  #: Unix time of a maintenance that it waits for; None: for none


class Gone(Struct, frozen=True):
    """The scheduler says that it has ended, or that it never had it."""

    state: str  #: the scheduler's own last word, or a few of ours


class DontKnow(Struct, frozen=True):
    """The scheduler did not answer. This says nothing about any allocation."""

    why: str  #: in its own words
