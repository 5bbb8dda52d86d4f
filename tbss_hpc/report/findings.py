"""What `doctor` found, as text for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from tbss_hpc.core.finding import Finding, Mark

_MARKS = {Mark.GOOD: "✓", Mark.BAD: "✗", Mark.UNKNOWN: "?", Mark.SKIPPED: "-"}


def finding_lines(finding: Finding) -> list[str]:
    """Write a finding: its mark and sentence, and below it the evidence and what to do."""
    first, *rest = finding.what.splitlines()
    lines = [f"{_MARKS[finding.mark]} {first}", *(f"  {line}" for line in rest)]
    return [*lines, *_part("why", finding.why), *_part("fix", finding.fix)]


def _part(title: str, text: str) -> list[str]:
    if not text:
        return []
    first, *rest = text.splitlines()
    return [f"    {title}   {first}", *(f"          {line}" for line in rest)]


def verdict_line(findings: Sequence[Finding]) -> str:
    """Sum up: is there something to mend before a run is submitted."""
    counts = {mark: sum(f.mark is mark for f in findings) for mark in Mark}
    if counts[Mark.BAD]:
        things = "1 thing is" if counts[Mark.BAD] == 1 else f"{counts[Mark.BAD]} things are"
        return f"{things} to be mended before a run can go well."
    open_questions = [_counted(mark, count) for mark, count in counts.items() if count]
    rest = ", ".join(text for text in open_questions if text)
    return f"Nothing stands in the way of a run{f' ({rest})' if rest else ''}."


def _counted(mark: Mark, count: int) -> str:
    match mark:
        case Mark.UNKNOWN:
            return f"{count} could not be known"
        case Mark.SKIPPED:
            return f"{count} not looked at"
        case Mark.GOOD | Mark.BAD:
            return ""
        case other:
            assert_never(other)
