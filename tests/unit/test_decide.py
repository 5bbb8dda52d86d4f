"""What is done next: windows, wanted allocations, back-off, and the ways to end."""

from __future__ import annotations

from tbss_hpc.core import events
from tbss_hpc.core.actions import Cancel, End, Release, RunState
from tbss_hpc.core.outcome import Failed, Invalid
from tbss_hpc.core.retry import RetryPolicy
from tests.unit.conversation import (
    T0,
    A,
    B,
    C,
    Conversation,
    at_work,
    attempt,
    draining,
    fenced,
    gone,
    issue,
    joined,
    left,
    orphaned,
    refused,
    reported,
    started,
    submit,
    submitted,
)


def overdue(name: str = A) -> events.AllocationOverdue:
    return events.AllocationOverdue(at=T0, allocation=name, explanation="it hangs")


# -- the window -----------------------------------------------------------------------------------


def test_two_attempts_are_handed_over_for_each_slot() -> None:
    talk = Conversation(commands=9, slots=2)
    talk.say(started())
    talk.say(submitted())

    assert talk.say(joined(slots=2)) == [issue(1), issue(2), issue(3), issue(4)]
    assert talk.say(reported(attempt(1))) == [issue(5)]


def test_nothing_is_handed_over_before_a_worker_joins() -> None:
    talk = Conversation()
    talk.say(started())

    assert talk.say(submitted()) == []


def test_what_is_in_doubt_takes_no_place_in_the_window() -> None:
    talk = at_work(commands=6, allocations=2)
    talk.say(joined(B))

    assert talk.say(orphaned(attempt(1)), left()) == []
    assert talk.say(reported(attempt(2)), reported(attempt(3))) == [issue(5)]


def test_draining_workers_do_not_starve_the_others() -> None:
    talk = at_work(commands=20, allocations=2, slots=4)
    talk.say(draining())
    talk.say(submitted(B))
    handed_over = talk.say(joined(B, slots=4))

    # Four run on A, which drains; B has slots for four and is to have four more at hand.
    assert handed_over[:4] == [issue(line) for line in (9, 10, 11, 12)]
    assert len(talk.machine.ledger.in_flight) == 12


def test_only_draining_workers_are_handed_nothing() -> None:
    talk = at_work(commands=6)
    talk.say(draining())

    assert talk.say(reported(attempt(1)), reported(attempt(2))) == []


# -- allocations ----------------------------------------------------------------------------------


def test_allocations_are_asked_for_one_at_a_time() -> None:
    talk = Conversation(commands=9, allocations=3)

    assert talk.say(started()) == [submit(A)]
    assert talk.say() == []
    assert talk.say(submitted(A)) == [submit(B)]
    assert talk.say(submitted(B)) == [submit(C)]
    assert talk.say(submitted(C)) == []


def test_no_more_allocations_are_asked_for_than_the_work_fills() -> None:
    talk = Conversation(commands=4, allocations=9, slots=2)

    assert talk.say(started()) == [submit(A)]
    assert talk.say(submitted(A)) == [submit(B)]
    assert talk.say(submitted(B)) == []


def test_an_allocation_that_drains_is_replaced_while_there_is_work() -> None:
    talk = at_work(commands=9)

    assert talk.say(draining()) == [submit(B)]


def test_an_allocation_is_not_replaced_where_what_runs_will_finish_the_work() -> None:
    talk = at_work(commands=1)

    assert talk.say(draining()) == []


def test_commands_that_wait_in_dask_behind_a_draining_worker_get_another_one() -> None:
    talk = at_work(commands=2)

    assert talk.say(draining()) == [submit(B)]


def test_when_the_only_worker_left_with_commands_still_queued_another_is_asked_for() -> None:
    talk = at_work(commands=2)
    talk.say(reported(attempt(1)))

    assert talk.say(draining()) == []
    assert talk.say(left()) == [submit(B)]


def test_names_of_allocations_differ_between_controllers() -> None:
    talk = Conversation()
    talk.say(started(7))

    assert list(talk.machine.ledger.allocations) == ["abcde-7-1"]


def test_names_of_allocations_fit_into_fifteen_characters() -> None:
    talk = Conversation()
    talk.hear(*(refused(f"x{number}") for number in range(998)))
    talk.say(started(999))

    assert list(talk.machine.ledger.allocations)[-1] == "abcde-999-999"


def test_a_worker_that_never_joins_is_given_back_and_counts_as_a_failure() -> None:
    talk = Conversation()
    talk.say(started())
    talk.say(submitted())

    assert talk.say(overdue()) == [
        Cancel(at=T0, allocation=A, why="its worker has not joined in time")
    ]
    talk.say(gone())
    assert talk.machine.failures_in_a_row == ["it hangs"]


# -- refusals -------------------------------------------------------------------------------------


def test_after_a_refusal_the_scheduler_is_left_alone_and_longer_each_time() -> None:
    talk = Conversation()
    talk.say(started())

    assert talk.say(refused(A)) == []
    assert talk.say(now=T0 + 4.9) == []
    assert talk.say(now=T0 + 5) == [submit(B, at=T0 + 5)]
    assert talk.say(refused(B, at=T0 + 5), now=T0 + 14.9) == []
    assert talk.say(now=T0 + 15) == [submit(C, at=T0 + 15)]


def test_refusals_do_not_stop_a_run_that_has_a_worker() -> None:
    talk = at_work(commands=9, allocations=2)
    talk.hear(refused(B), refused(C), refused("abcde-1-4"))

    assert talk.say(now=T0 + 999) == []


def test_refusals_do_not_stop_a_worker_that_drains_but_still_works() -> None:
    talk = at_work(commands=9, allocations=2)
    talk.hear(refused(B), refused(C), refused("abcde-1-4"))

    assert talk.say(draining(), now=T0 + 999) == []


def test_when_an_allocation_ends_that_worked_its_place_is_asked_for_anew() -> None:
    talk = at_work(commands=9, allocations=2)
    talk.hear(reported(attempt(1)), refused(B), refused(C), refused("abcde-1-4"))
    talk.say(draining(), orphaned(attempt(2)), left())

    assert talk.say(fenced()) == [submit("abcde-1-5")]


def test_the_first_command_that_a_worker_ends_shows_that_allocations_work() -> None:
    talk = at_work(commands=9, allocations=2)
    talk.hear(refused(B), refused(C))

    assert talk.say(reported(attempt(1))) == [issue(3), submit("abcde-1-4")]
    assert talk.machine.failures_in_a_row == []


def test_workers_that_join_and_die_without_starting_anything_stop_the_run() -> None:
    talk = Conversation(commands=1)
    now = T0
    for number in (1, 2, 3):
        name = f"{A[:-1]}{number}"
        talk.say(*([started()] if number == 1 else []), now=now)
        talk.say(submitted(name), joined(name), now=now)
        first = attempt(1, number)
        last = talk.say(orphaned(first, name), left(name), fenced(name, at=now), now=now)
        now += 60

    assert last[0] == End(
        at=T0 + 120,
        state=RunState.STOPPED,
        why="3 allocations in a row came to nothing: its worker joined, and ended before it "
        "started anything",
        cluster=True,
    )


def test_an_allocation_that_ends_because_it_drained_is_no_failure() -> None:
    talk = at_work(commands=1)
    talk.say(draining(), orphaned(attempt(1)), left(), fenced())

    assert talk.machine.failures_in_a_row == []


# -- core-hours -----------------------------------------------------------------------------------


def test_no_allocation_is_asked_for_that_could_exceed_the_core_hours() -> None:
    talk = Conversation(commands=99, allocations=9, core_hours=2.5)

    assert talk.say(started()) == [submit(A)]
    assert talk.say(submitted(A)) == [submit(B)]
    assert talk.say(submitted(B)) == []


def test_a_run_that_has_used_its_core_hours_lets_its_last_worker_finish() -> None:
    talk = at_work(commands=99, core_hours=1.0)

    assert talk.say(draining()) == []
    assert talk.say(reported(attempt(1)), orphaned(attempt(2)), left(), now=T0 + 3600) == []
    assert talk.say(fenced(at=T0 + 3600), now=T0 + 3600) == [
        End(
            at=T0 + 3600,
            state=RunState.STOPPED,
            why="the limit of 1 core-hours is reached",
        )
    ]


# -- the end --------------------------------------------------------------------------------------


def test_a_worker_that_was_released_and_stays_is_cancelled() -> None:
    talk = at_work(commands=1)

    assert talk.say(reported(attempt(1))) == [
        Release(at=T0, allocation=A, why="the run is finished")
    ]
    assert talk.say(now=T0 + 59) == []
    assert talk.say(now=T0 + 60) == [Cancel(at=T0 + 60, allocation=A, why="the run is finished")]


def test_a_waiting_allocation_is_cancelled_when_all_is_done() -> None:
    talk = at_work(commands=2, allocations=2)
    talk.say(submitted(B))

    assert talk.say(reported(attempt(1)), reported(attempt(2))) == [
        Release(at=T0, allocation=A, why="the run is finished"),
        Cancel(at=T0, allocation=B, why="the run is finished"),
    ]


def test_a_run_does_not_end_while_a_submission_is_on_its_way() -> None:
    talk = Conversation(commands=1)
    talk.say(started())
    talk.hear(events.CancelRequested(at=T0, by="me"))

    assert talk.say() == []
    assert talk.say(submitted()) == [Cancel(at=T0, allocation=A, why="the run is cancelled")]
    assert talk.say(gone()) == [End(at=T0, state=RunState.CANCELLED, why="cancelled on request")]


def test_a_finished_run_need_not_wait_for_the_fence_of_what_has_ended() -> None:
    talk = at_work(commands=1)
    talk.say(reported(attempt(1)))

    assert talk.say(gone()) == [End(at=T0, state=RunState.FINISHED)]


def test_nothing_is_decided_after_the_end() -> None:
    talk = at_work(commands=1)
    talk.say(reported(attempt(1)))
    talk.say(gone())

    assert talk.say(joined(B)) == []


def test_commands_that_all_leave_an_invalid_output_fail_alike() -> None:
    talk = at_work(commands=30, slots=10, policy=RetryPolicy(command_retries=0))
    talk.hear(*(reported(attempt(n), Invalid(f"{n}.nii.gz is missing")) for n in range(1, 11)))
    talk.say()

    assert talk.say(fenced())[-1] == End(
        at=T0,
        state=RunState.STOPPED,
        why="the first 10 commands to be tried all failed alike; the first of them left an "
        "invalid output: 1.nii.gz is missing",
    )


def test_commands_that_fail_differently_are_all_tried() -> None:
    talk = at_work(commands=30, slots=10, policy=RetryPolicy(command_retries=0))
    outcomes = [Failed(number % 2 + 1) for number in range(10)]
    talk.hear(*(reported(attempt(n), o) for n, o in enumerate(outcomes, start=1)))

    assert len(talk.say()) == 10
