"""Two budgets, one question."""

from __future__ import annotations

import pytest

from tbss_hpc.core.outcome import (
    Cut,
    Failed,
    Invalid,
    Killed,
    Lost,
    NotStarted,
    Outcome,
    OutOfMemory,
    TimedOut,
)
from tbss_hpc.core.retry import RetryPolicy

POLICY = RetryPolicy(command_retries=2, infrastructure_retries=3)
PREEMPTED = Cut("preempted")
WALLTIME = Cut("the walltime of its allocation ends", walltime=True)


def test_a_command_that_was_never_tried_may_be_tried() -> None:
    assert POLICY.allows(())


@pytest.mark.parametrize(
    "outcome", [Failed(1), Invalid("no output"), Killed(11), TimedOut(60.0), OutOfMemory()]
)
def test_the_commands_own_faults_use_up_its_own_budget(outcome: Outcome) -> None:
    assert POLICY.allows((outcome,) * 2)
    assert not POLICY.allows((outcome,) * 3)


@pytest.mark.parametrize("outcome", [PREEMPTED, Lost()])
def test_what_the_infrastructure_does_uses_up_another_budget(outcome: Outcome) -> None:
    assert POLICY.allows((outcome,) * 3)
    assert not POLICY.allows((outcome,) * 4)


def test_the_budgets_do_not_mix() -> None:
    assert POLICY.allows((Lost(), Failed(1), Lost(), Failed(1), Lost()))


def test_an_attempt_that_never_started_costs_nothing() -> None:
    assert POLICY.allows((NotStarted(),) * 1000)


def test_a_command_that_the_walltime_cuts_twice_is_too_long_for_the_queue() -> None:
    assert POLICY.allows((WALLTIME,))
    assert POLICY.allows((WALLTIME, PREEMPTED))
    assert not POLICY.allows((WALLTIME, PREEMPTED, WALLTIME))


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert not RetryPolicy(command_retries=0).allows((Failed(1),))
