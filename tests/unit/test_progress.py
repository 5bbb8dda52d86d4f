"""Plans and progress in a few lines for a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tbss_hpc.core.status import AllocationStatus, Counts, RunningStatus
from tbss_hpc.report.progress import bar, plan_as_dict, plan_lines
from tbss_hpc.report.status_lines import allocation_lines, count_line, running_lines
from tests.unit.plans import PLAN, SHAPE

ALLOCATION = AllocationStatus(
    name="tbabcde-1-1",
    native_id="4812",
    state="joined",
    reason="",
    explanation="",
    node="node7",
    seconds_left=5400.0,
    slots=8,
)


def test_a_plan_says_what_it_is_going_to_cost() -> None:
    assert plan_lines(PLAN, "10000 pairs of 100 subjects") == [
        "  work             10000 pairs of 100 subjects, none of them done yet",
        "  a command takes  about 5 min (a guide)",
        "  allocations      10 on slurm, 8 commands at a time in each, 12 h long",
        (
            "  cost             about 833.3 core-hours, 10 h 25 min once it runs, 10 batch jobs "
            "instead of 10000"
        ),
    ]


def test_a_plan_says_what_is_done_already_and_what_is_not_known() -> None:
    shape = structs.replace(SHAPE, walltime_seconds=None)
    plan = structs.replace(
        PLAN, scheduler="local", already_done=9_000, estimate=None, allocations=1, shape=shape
    )

    assert plan_lines(plan, "10000 commands") == [
        "  work             10000 commands, 9000 of them done already, 1000 to do",
        "  a command takes  unknown (no --command-time was given)",
        "  allocations      1 on local, 8 commands at a time in each",
        "  cost             unknown",
    ]


def test_a_plan_that_exceeds_one_walltime_says_so() -> None:
    plan = structs.replace(PLAN, shape=structs.replace(SHAPE, walltime_seconds=4 * 3600.0))

    assert plan_lines(plan, "work")[2].endswith("4 h long, 3 one after another")


def test_a_plan_for_programs_keeps_its_keys() -> None:
    assert list(plan_as_dict(PLAN)) == [
        *("schema", "scheduler", "commands", "already_done", "todo"),
        *("command_seconds", "command_seconds_source", "allocations", "slots"),
        *("walltime_seconds", "generations", "core_hours", "makespan_seconds"),
        *("batch_submissions", "submissions_one_per_command"),
    ]


@pytest.mark.parametrize(
    ("done", "failed", "running", "total", "drawn"),
    [
        (0, 0, 0, 100, "··········"),
        (50, 0, 0, 100, "█████·····"),
        (50, 1, 20, 100, "█████✗▒▒··"),
        (100, 0, 0, 100, "██████████"),
        (0, 0, 0, 0, "··········"),
    ],
)
def test_a_bar_shows_even_a_single_failure(
    done: int, failed: int, running: int, total: int, drawn: str
) -> None:
    assert bar(done, failed, running, total, width=10) == drawn


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_bar_is_always_as_wide_as_it_should_be(
    done: int, failed: int, running: int, waiting: int
) -> None:
    assert len(bar(done, failed, running, done + failed + running + waiting)) == 40


def test_counts_that_are_zero_are_not_said() -> None:
    counts = Counts(total=10, done=5, failed=1, cancelled=0, running=0, waiting=4)

    assert count_line(counts).endswith("·  5 of 10 done, 1 failed, 4 waiting")


def test_an_allocation_is_said_in_a_line_and_its_trouble_below() -> None:
    waiting = AllocationStatus(
        name="tbabcde-1-2",
        native_id="",
        state="pending",
        reason="Priority",
        explanation="others come first\nin the queue",
        node="",
        seconds_left=None,
        slots=0,
    )

    assert allocation_lines([ALLOCATION, waiting]) == [
        "  tbabcde-1-1 (4812): joined on node7, 8 slots, 1 h 30 min left",
        "  tbabcde-1-2: pending, 0 slots\n      others come first\n      in the queue",
    ]


def test_the_longest_running_commands_are_listed_and_the_others_counted() -> None:
    running = [RunningStatus(f"L{number}", 1, "node7", 100.0) for number in range(10)]
    lines = running_lines(running, now=190.0)

    assert lines[0] == "  L0 (attempt 1) on node7 for 1 min 30 s"
    assert len(lines) == 9
    assert lines[-1] == "  and 2 more"
