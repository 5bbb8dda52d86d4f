"""What `doctor` finds: one sentence about one thing, whether it is well, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from tbss_hpc.errors import ExitCode


class Mark(StrEnum):
    """Whether the thing is as a run needs it."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"  #: it cannot be asked here
    SKIPPED = "skipped"  #: it was not looked at


class About(StrEnum):
    """Whose business the thing is; decides the exit code."""

    SITE = "site"  #: what was typed, and the site file
    CLUSTER = "cluster"  #: the scheduler, the nodes and the way to them
    FILES = "files"  #: file systems


_CODES = {
    About.SITE: ExitCode.USAGE,
    About.CLUSTER: ExitCode.CLUSTER,
    About.FILES: ExitCode.FILES,
}


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    mark: Mark
    about: About
    what: str  #: one sentence
    why: str = ""  #: the evidence: a tool's own words
    fix: str = ""  #: what to type or edit next


def good(about: About, what: str) -> Finding:
    """Say that a thing is as it should be."""
    return Finding(Mark.GOOD, about, what)


def bad(about: About, what: str, *, why: str = "", fix: str = "") -> Finding:
    """Say that a thing would harm a run."""
    return Finding(Mark.BAD, about, what, why, fix)


def unknown(about: About, what: str, *, why: str = "", fix: str = "") -> Finding:
    """Say that a thing cannot be known here."""
    return Finding(Mark.UNKNOWN, about, what, why, fix)


def skipped(about: About, what: str, *, why: str = "", fix: str = "") -> Finding:
    """Say that a thing was not looked at."""
    return Finding(Mark.SKIPPED, about, what, why, fix)


def exit_code_of(findings: Iterable[Finding]) -> ExitCode:
    """Give the exit code: that of the first cross, for the rest often follows from it."""
    crosses = (f for f in findings if f.mark is Mark.BAD)
    return next((_CODES[f.about] for f in crosses), ExitCode.DONE)
