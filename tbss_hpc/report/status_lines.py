"""The status of a run in a few lines for a person."""

from __future__ import annotations

import time
from collections.abc import Iterable
from textwrap import indent

from tbss_hpc.core.status import AllocationStatus, Counts, RunningStatus
from tbss_hpc.core.units import in_words
from tbss_hpc.report.progress import bar

#: More running commands than this are counted and not listed.
MOST_RUNNING = 8


def count_line(counts: Counts) -> str:
    """Draw the counts as a bar, and say them."""
    drawn = bar(counts.done, counts.failed, counts.running, counts.total)
    words = [f"{counts.done} of {counts.total} done"]
    others = {"failed": counts.failed, "cancelled": counts.cancelled}
    others |= {"running": counts.running, "waiting": counts.waiting}
    words += [f"{number} {word}" for word, number in others.items() if number]
    return f"{drawn}  {', '.join(words)}"


def allocation_lines(allocations: Iterable[AllocationStatus]) -> list[str]:
    """Say of each allocation where it stands."""
    return [_allocation_line(allocation) for allocation in allocations]


def _allocation_line(allocation: AllocationStatus) -> str:
    where = f" on {allocation.node}" if allocation.node else ""
    native = f" ({allocation.native_id})" if allocation.native_id else ""
    text = f"  {allocation.name}{native}: {allocation.state}{where}, {allocation.slots} slots"
    if allocation.seconds_left is not None:
        text += f", {in_words(allocation.seconds_left)} left"
    if allocation.explanation:
        text += "\n" + indent(allocation.explanation, " " * 6)
    return text


def running_lines(running: list[RunningStatus], now: float | None = None) -> list[str]:
    """List the longest-running commands."""
    moment = time.time() if now is None else now
    lines = [
        f"  {r.command} (attempt {r.attempt}) on {r.node} for {in_words(moment - r.since)}"
        for r in running[:MOST_RUNNING]
    ]
    if len(running) > MOST_RUNNING:
        lines.append(f"  and {len(running) - MOST_RUNNING} more")
    return lines
