"""A plan: how many allocations, how long, at what cost."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tbss_hpc.core.durations import Estimate
from tbss_hpc.core.plan import Plan, allocations_worth_asking, usable_seconds, walltime_for
from tests.unit.plans import HOUR, PAIR, PLAN, SHAPE


def test_a_study_of_a_hundred_subjects_costs_what_its_pairs_take() -> None:
    assert PLAN.todo == 10_000
    assert PLAN.core_hours == pytest.approx(833.3, abs=0.1)
    assert PLAN.makespan_seconds == 125 * 300.0
    assert PLAN.generations == 1
    assert PLAN.submissions == 10


def test_what_is_done_costs_nothing() -> None:
    plan = structs.replace(PLAN, already_done=9_920)

    assert plan.todo == 80
    assert plan.makespan_seconds == 300.0


def test_work_that_exceeds_one_walltime_needs_another_generation() -> None:
    plan = structs.replace(PLAN, shape=structs.replace(SHAPE, walltime_seconds=4 * HOUR))

    assert plan.generations == 3
    assert plan.submissions == 30


def test_of_unknown_commands_nothing_is_promised() -> None:
    plan = structs.replace(PLAN, estimate=None)

    assert plan.core_hours is None
    assert plan.makespan_seconds is None
    assert plan.generations == 1


def test_a_plan_with_nothing_to_do_submits_nothing() -> None:
    plan = structs.replace(PLAN, already_done=10_000)

    assert plan.submissions == 0


def test_commands_on_several_cores_cost_all_of_them() -> None:
    plan = structs.replace(PLAN, shape=structs.replace(SHAPE, cores_per_command=4))

    assert plan.core_hours == pytest.approx(3333.3, abs=0.1)


def test_a_plan_survives_being_written_down() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PLAN), type=Plan) == PLAN


@pytest.mark.parametrize(
    ("todo", "wanted", "worth"), [(0, 10, 1), (1, 10, 1), (8, 10, 1), (9, 10, 2), (999, 10, 10)]
)
def test_no_allocation_is_asked_for_that_stays_empty(todo: int, wanted: int, worth: int) -> None:
    assert allocations_worth_asking(todo, 8, wanted) == worth


def test_a_walltime_is_what_the_work_needs_and_some_more() -> None:
    # 60 s to start, 125 rounds of 300 s, and 600 s for the last command: 38,160 s, and a quarter.
    assert walltime_for(10_000, 80, PAIR, 24 * HOUR) == 53 * 900.0


def test_a_walltime_is_at_least_an_hour_and_at_most_the_longest() -> None:
    assert walltime_for(1, 80, PAIR, 24 * HOUR) == HOUR
    assert walltime_for(10_000, 80, PAIR, 4 * HOUR) == 4 * HOUR
    assert walltime_for(10_000, 80, None, 4 * HOUR) == 4 * HOUR


def test_a_part_of_a_walltime_is_not_for_commands() -> None:
    assert usable_seconds(HOUR) == HOUR - 120.0
    assert usable_seconds(300.0) == 210.0


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.floats(0.1, 10**5), st.floats(600, 10**7))
def test_every_walltime_that_is_asked_for_is_allowed(
    todo: int, places: int, seconds: float, longest: float
) -> None:
    assert 0 < walltime_for(todo, places, Estimate(seconds, seconds, ""), longest) <= longest
