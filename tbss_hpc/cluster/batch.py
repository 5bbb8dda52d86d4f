"""What a controller asks of a batch system, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.store.folder import RunFolder


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The batch system did not take an allocation; the text holds its own words."""


class Unanswered(Exception):  # noqa: N818 - an answer, if a poor one
    """The batch system may have taken an allocation or not: ask its queue by name."""


class Batch(Protocol):
    """Submits, cancels and watches allocations."""

    def script(self, allocation: str) -> str:
        """Give the script that would be submitted."""

    def submit_command(self, allocation: str) -> list[str]:
        """Give the command that would submit it."""

    async def submit(self, allocation: str) -> str:
        """Ask for an allocation; give its native id. Raises Refused or Unanswered."""

    async def cancel(self, allocation: str, native_id: str) -> None:
        """Ask for the end of an allocation; one that has ended already is no complaint."""

    async def query(self, allocations: Mapping[str, str]) -> dict[str, Seen | Gone] | DontKnow:
        """Say what is known of each allocation, given as name and native id ("" if unknown)."""

    def sweep(self, allocation: str, logs: Collection[Path]) -> bool:
        """Kill what is left of an allocation that is gone, where we can; True if that is all.

        logs -- absolute; of the attempts that it started and never ended.
        """


def worker_command(python: str, run: RunFolder, allocation: str) -> list[str]:
    """Give the command that a script runs: our own Python, isolated, and the run folder."""
    return [
        *(python, "-I", "-m", "tbss_hpc.worker"),
        *("--run", str(run.root), "--allocation", allocation),
    ]


def probe_command(python: str, run: RunFolder, _allocation: str) -> list[str]:
    """Give the command of `doctor`'s one small allocation, in place of a worker's."""
    return [
        *(python, "-I", "-m", "tbss_hpc.worker.probe"),
        *("--question", str(run.question), "--into", str(run.answer)),
    ]


#: Gives what a script runs: from a Python, a run folder and the name of an allocation.
Program = Callable[[str, RunFolder, str], list[str]]


def tail(path: Path, lines: int = 15) -> str:
    """Give the last lines of what an allocation printed."""
    text = path.read_text(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
