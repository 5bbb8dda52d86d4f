"""A plan, and the progress of a run, in a few lines for a terminal."""

from __future__ import annotations

from tbss_hpc.core.plan import Plan
from tbss_hpc.core.units import in_words

BAR_WIDTH = 40


def plan_lines(plan: Plan, what: str) -> list[str]:
    """Show a plan: what, how long, in how many allocations, at what cost."""
    rows = [("work", f"{what}, {_done(plan)}"), ("a command takes", _takes(plan))]
    rows += [("allocations", _allocations(plan)), ("cost", _cost(plan))]
    return [f"  {title:<16} {text}" for title, text in rows]


def _done(plan: Plan) -> str:
    if plan.already_done:
        return f"{plan.already_done} of them done already, {plan.todo} to do"
    return "none of them done yet"


def _takes(plan: Plan) -> str:
    if plan.estimate is None:
        return "unknown (no --command-time was given)"
    return f"about {in_words(plan.estimate.seconds)} ({plan.estimate.source})"


def _allocations(plan: Plan) -> str:
    shape = plan.shape
    text = f"{plan.allocations} on {plan.scheduler}, {shape.slots} commands at a time in each"
    if shape.walltime_seconds is not None:
        text += f", {in_words(shape.walltime_seconds)} long"
    if plan.generations > 1:
        text += f", {plan.generations} one after another"
    return text


def _cost(plan: Plan) -> str:
    parts = []
    if plan.core_hours is not None:
        parts.append(f"about {plan.core_hours:.1f} core-hours")
    if plan.makespan_seconds is not None:
        parts.append(f"{in_words(plan.makespan_seconds)} once it runs")
    if plan.scheduler != "local":
        jobs = "batch job" if plan.submissions == 1 else "batch jobs"
        parts.append(f"{plan.submissions} {jobs} instead of {plan.todo}")
    return ", ".join(parts) or "unknown"


def bar(done: int, failed: int, running: int, total: int, width: int = BAR_WIDTH) -> str:
    """Draw how far a run is: done, failed, running, and what waits."""
    cells = [_cells(n, total, width) for n in (done, failed, running)]
    drawn = "█" * cells[0] + "✗" * cells[1] + "▒" * cells[2]
    return drawn[:width].ljust(width, "·")


def _cells(part: int, total: int, width: int) -> int:
    if not part or not total:
        return 0
    return max(1, part * width // total)


def plan_as_dict(plan: Plan) -> dict[str, object]:
    """Give a plan as `plan --json` shows it; fields are added and never renamed."""
    estimate = plan.estimate
    return {
        "schema": 1,
        "scheduler": plan.scheduler,
        "commands": plan.commands,
        "already_done": plan.already_done,
        "todo": plan.todo,
        "command_seconds": None if estimate is None else estimate.seconds,
        "command_seconds_source": None if estimate is None else estimate.source,
        "allocations": plan.allocations,
        "slots": plan.shape.slots,
        "walltime_seconds": plan.shape.walltime_seconds,
        "generations": plan.generations,
        "core_hours": plan.core_hours,
        "makespan_seconds": plan.makespan_seconds,
        "batch_submissions": plan.submissions if plan.scheduler != "local" else 0,
        "submissions_one_per_command": plan.todo,
    }
