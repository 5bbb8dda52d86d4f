"""Conversations with the machine: events in, the exact actions out."""

from __future__ import annotations

from typing import get_args

import pytest

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Cancel, Discard, End, Entry, Release, RunState
from tbss_hpc.core.events import Event
from tbss_hpc.core.ledger import Place, Verdict
from tbss_hpc.core.machine import Machine, reports_first
from tbss_hpc.core.outcome import Cut, Failed, Lost, NotStarted, Succeeded
from tbss_hpc.core.retry import RetryPolicy
from tests.unit.conversation import (
    T0,
    A,
    B,
    C,
    Conversation,
    at_work,
    attempt,
    cancel_requested,
    draining,
    fenced,
    gone,
    issue,
    joined,
    left,
    orphaned,
    refused,
    reported,
    retry_requested,
    started,
    submit,
    submitted,
)


def test_a_run_asks_for_an_allocation_works_and_gives_it_back() -> None:
    talk = Conversation()

    assert talk.say(started()) == [submit(A)]
    assert talk.say(submitted()) == []
    assert talk.say(joined()) == [issue(1), issue(2)]
    assert talk.say(reported(attempt(1))) == []
    assert talk.say(reported(attempt(2))) == [
        Release(at=T0, allocation=A, why="the run is finished")
    ]
    assert talk.say(draining(), left()) == []
    assert talk.say(fenced()) == [End(at=T0, state=RunState.FINISHED)]


def test_every_entry_of_the_journal_is_understood() -> None:
    assert set(Machine._handlers) == set(get_args(Entry))


def test_a_command_that_fails_is_tried_again_before_those_that_were_never_tried() -> None:
    talk = at_work(commands=4)

    assert talk.say(reported(attempt(1), Failed(1))) == [issue(1, 2)]


def test_a_command_that_used_up_its_tries_has_failed() -> None:
    talk = at_work(commands=1)

    assert talk.say(reported(attempt(1, 1), Failed(1))) == [issue(1, 2)]
    assert talk.say(reported(attempt(1, 2), Failed(1))) == [issue(1, 3)]
    assert talk.say(reported(attempt(1, 3), Failed(1))) == [
        Release(at=T0, allocation=A, why="the run is incomplete")
    ]
    assert talk.say(fenced()) == [End(at=T0, state=RunState.INCOMPLETE, why="1 failed")]


def test_a_lost_worker_does_not_use_up_the_commands_attempts() -> None:
    talk = at_work(commands=1, policy=RetryPolicy(command_retries=0))

    talk.say(orphaned(attempt(1)), left(), gone(), fenced(A, attempt(1)))

    assert talk.outcomes(1) == [Lost()]
    assert talk.standing(1).verdict is None


def test_an_attempt_whose_worker_left_is_not_tried_again_until_its_fate_is_known() -> None:
    talk = at_work(commands=1, allocations=2)
    talk.say(joined(B))

    assert talk.say(orphaned(attempt(1)), left()) == []
    assert talk.standing(1).doubt == {A}
    assert talk.say(gone()) == []
    assert talk.say(fenced(A, attempt(1))) == [issue(1, 2)]


def test_a_worker_that_comes_back_with_its_attempt_keeps_it() -> None:
    talk = at_work(commands=1)

    assert talk.say(orphaned(attempt(1)), left()) == []
    assert talk.say(joined(A, attempt(1))) == []
    assert talk.standing(1).held_by == A
    assert talk.standing(1).doubt == frozenset()


def test_a_worker_that_comes_back_without_the_attempt_never_started_it() -> None:
    talk = at_work(commands=1)
    talk.say(orphaned(attempt(1)), left())

    assert talk.say(joined(A)) == [issue(1, 2)]
    assert talk.outcomes(1) == [NotStarted()]
    assert talk.standing(1).attempts_made == 0


def test_an_attempt_that_came_back_and_is_lost_with_its_worker_is_tried_again() -> None:
    talk = at_work(commands=1, allocations=2)
    talk.say(joined(B))
    talk.say(orphaned(attempt(1)), left(), joined(A, attempt(1)))

    assert talk.say(orphaned(attempt(1)), left()) == []
    assert talk.say(fenced(A, attempt(1))) == [issue(1, 2)]


def test_a_fence_that_comes_before_the_worker_was_seen_to_leave_settles_all_the_same() -> None:
    talk = at_work(commands=2, allocations=2)
    talk.say(joined(B))

    assert talk.say(fenced(A, attempt(1))) == [issue(1, 2), submit(C)]
    assert talk.say(orphaned(attempt(1)), orphaned(attempt(2)), left()) == [issue(2, 2)]
    assert talk.outcomes(1) == [Lost()]
    assert talk.outcomes(2) == [NotStarted()]


def test_a_fence_settles_what_was_held_and_had_not_started() -> None:
    talk = at_work(commands=1)
    talk.say(orphaned(attempt(1)), left(), joined(A, attempt(1)))
    talk.hear(fenced(A))

    assert talk.outcomes(1) == [NotStarted()]


def test_a_report_that_comes_twice_counts_once() -> None:
    talk = at_work(commands=1)
    talk.hear(reported(attempt(1), Failed(1)))

    assert talk.machine.settled_already(reported(attempt(1), Failed(1)).report)
    talk.hear(reported(attempt(1), Failed(1)))
    assert talk.outcomes(1) == [Failed(1)]


def test_a_report_of_an_unknown_command_is_nothing_new() -> None:
    talk = at_work(commands=1)

    assert talk.machine.settled_already(reported(attempt(99)).report)


def test_a_report_that_is_read_behind_the_workers_return_is_believed() -> None:
    talk = at_work(commands=1)
    talk.say(orphaned(attempt(1)), left())
    talk.hear(joined(A))

    assert not talk.machine.settled_already(reported(attempt(1)).report)
    talk.hear(reported(attempt(1)))
    assert talk.outcomes(1) == [Succeeded()]
    assert talk.standing(1).verdict is Verdict.DONE


def test_a_second_word_that_nothing_was_started_is_nothing_new() -> None:
    talk = at_work(commands=1)
    talk.hear(reported(attempt(1), NotStarted()))

    assert talk.machine.settled_already(reported(attempt(1), NotStarted()).report)


def test_what_a_worker_names_although_it_has_ended_is_left_alone() -> None:
    talk = at_work(commands=1)
    talk.hear(orphaned(attempt(1)), left(), reported(attempt(1), Failed(1)))

    assert talk.say(joined(A, attempt(1))) == [issue(1, 2)]
    assert talk.outcomes(1) == [Failed(1)]


def test_what_a_worker_names_although_it_refused_it_is_left_alone() -> None:
    talk = at_work(commands=1)
    talk.hear(orphaned(attempt(1)), left(), reported(attempt(1), NotStarted()))

    assert talk.say(joined(A, attempt(1))) == [issue(1, 2)]
    assert talk.outcomes(1) == [NotStarted()]


def test_a_worker_that_was_fenced_too_early_gets_its_attempt_back() -> None:
    talk = at_work(commands=1)
    talk.hear(orphaned(attempt(1)), left(), gone(), fenced(A, attempt(1)))

    assert talk.say(joined(A, attempt(1))) == []
    assert talk.standing(1).held_by == A
    assert talk.outcomes(1) == []
    assert talk.standing(1).charged == []
    assert talk.allocation().place is Place.JOINED


def test_what_a_fenced_worker_runs_is_killed_if_it_was_tried_again_meanwhile() -> None:
    talk = at_work(commands=1, allocations=2)
    talk.say(joined(B))
    talk.say(orphaned(attempt(1)), left(), gone(), fenced(A, attempt(1)))

    assert talk.say(joined(A, attempt(1))) == [
        Discard(at=T0, attempt=attempt(1), allocation=A),
    ]


def test_what_the_last_controller_had_handed_out_is_in_doubt_everywhere_it_may_be() -> None:
    talk = at_work(commands=1, allocations=3)

    assert talk.say(started(2, A, B)) == []
    assert talk.standing(1).doubt == {A, B}
    assert talk.say(joined(B)) == []
    assert talk.say(joined(A)) == [issue(1, 2)]


def test_an_allocation_that_had_joined_is_suspected_though_its_records_are_not_seen_yet() -> None:
    talk = at_work(commands=1)
    talk.say(started(2))

    assert talk.standing(1).doubt == {A}


def test_what_was_in_doubt_stays_in_doubt_where_it_was() -> None:
    talk = at_work(commands=1, allocations=2)
    talk.say(joined(B))
    talk.say(orphaned(attempt(1)), left())
    talk.say(started(2, A, B))

    assert talk.standing(1).doubt == {A}


def test_an_attempt_that_no_worker_can_have_is_tried_again_at_once() -> None:
    talk = at_work(commands=1)
    talk.say(fenced(A))
    talk.hear(started(2, A))

    assert talk.outcomes(1) == [NotStarted()]


def test_a_controller_that_died_while_submitting_asks_the_queue_before_it_submits_again() -> None:
    talk = Conversation()
    talk.say(started())

    assert talk.say(started(2)) == []
    assert talk.allocation().place is Place.INTENDED
    assert talk.say(gone(A), fenced(A), now=T0 + 60) == [submit(f"{A[:-3]}2-2", at=T0 + 60)]


def test_a_submission_that_arrived_after_all_is_one_more_worker() -> None:
    talk = Conversation(commands=1)
    talk.say(started())
    talk.say(started(2), gone(A), fenced(A))

    assert talk.say(joined(A), now=T0 + 60) == [issue(1, at=T0 + 60)]
    assert talk.allocation().place is Place.JOINED


def test_a_worker_that_joins_before_its_submission_was_confirmed_stays_joined() -> None:
    talk = Conversation(commands=1)
    talk.say(started())

    assert talk.say(joined(A)) == [issue(1)]
    assert talk.say(submitted(A)) == []
    assert talk.allocation().place is Place.JOINED
    assert talk.allocation().native_id == "17"


def test_a_cancelled_run_ends_when_certainly_nothing_of_it_runs() -> None:
    talk = at_work(commands=2)

    assert talk.say(cancel_requested()) == [Cancel(at=T0, allocation=A, why="the run is cancelled")]
    assert talk.say(orphaned(attempt(1)), left(), gone()) == []
    assert talk.say(fenced(A, attempt(1))) == [
        End(at=T0, state=RunState.CANCELLED, why="cancelled on request")
    ]
    assert [talk.standing(line).verdict for line in (1, 2)] == [Verdict.CANCELLED] * 2


def test_a_cancel_is_asked_again_of_a_scheduler_that_did_not_obey() -> None:
    talk = at_work()
    talk.say(cancel_requested())

    assert talk.say(now=T0 + 59) == []
    assert talk.say(now=T0 + 60) == [Cancel(at=T0 + 60, allocation=A, why="the run is cancelled")]


def test_a_cancel_that_its_controller_did_not_live_to_carry_out_is_carried_out_by_the_next() -> (
    None
):
    talk = at_work()
    talk.say(cancel_requested())

    assert talk.say(started(2, A, at=T0 + 99), now=T0 + 99) == [
        Cancel(at=T0 + 99, allocation=A, why="the run is cancelled")
    ]


def test_a_run_that_was_cancelled_goes_on_when_it_is_resumed() -> None:
    talk = at_work(commands=1)
    talk.say(cancel_requested())
    talk.say(fenced(A, attempt(1)))

    assert talk.say(started(2, A)) == [submit(f"{A[:-3]}2-2")]
    assert talk.standing(1).verdict is None


def test_reports_are_written_before_what_may_be_concluded_without_them() -> None:
    facts: list[Event] = [
        *(left(), joined(), reported(attempt(1))),
        *(fenced(), reported(attempt(2))),
    ]

    assert reports_first(facts) == [
        *(reported(attempt(1)), reported(attempt(2))),
        *(left(), joined(), fenced()),
    ]


def test_what_our_own_cancelling_cut_is_not_charged() -> None:
    talk = at_work(commands=1)
    talk.say(cancel_requested())
    talk.say(reported(attempt(1), Cut("the allocation is being ended")))

    assert talk.outcomes(1) == [Cut("the allocation is being ended")]
    assert talk.standing(1).charged == []


def test_a_run_whose_commands_are_all_done_is_finished_even_if_it_is_cancelled() -> None:
    talk = at_work(commands=1)
    talk.say(reported(attempt(1)))

    assert talk.say(cancel_requested()) == []
    assert talk.say(fenced()) == [End(at=T0, state=RunState.FINISHED)]


def test_what_was_found_done_is_not_run() -> None:
    talk = Conversation(commands=1)

    assert talk.say(started(), events.FoundDone(at=T0, command="c01")) == [
        End(at=T0, state=RunState.FINISHED)
    ]


def test_a_done_command_that_is_undone_is_made_again_with_fresh_budgets() -> None:
    talk = at_work(commands=1)
    talk.say(reported(attempt(1), Failed(1)))
    talk.say(reported(attempt(1, 2)))
    undone = events.Undone(at=T0, command="c01", why="the image a.nii.gz has changed")

    assert talk.say(started(2, A), undone) == [submit(f"{A[:-3]}2-2")]
    assert talk.standing(1).charged == []
    assert talk.say(joined(f"{A[:-3]}2-2")) == [issue(1, 3)]


def test_a_command_that_runs_cannot_be_undone() -> None:
    talk = at_work(commands=1)

    assert talk.say(events.Undone(at=T0, command="c01", why="why not")) == []
    assert talk.machine.ledger.is_in_flight(talk.standing(1))


def test_what_failed_is_tried_again_on_request_with_fresh_budgets() -> None:
    talk = at_work(commands=1, policy=RetryPolicy(command_retries=0))
    talk.say(reported(attempt(1), Failed(1)))
    talk.say(fenced())

    assert talk.say(started(2, A), retry_requested()) == [submit(f"{A[:-3]}2-2")]
    assert talk.standing(1).charged == []
    assert talk.standing(1).verdict is None


def test_a_retry_touches_nothing_that_has_not_failed() -> None:
    talk = at_work(commands=2)
    talk.say(reported(attempt(1)))

    assert talk.say(retry_requested()) == []
    assert talk.standing(1).verdict is Verdict.DONE
    assert talk.machine.ledger.is_in_flight(talk.standing(2))


def test_ten_commands_that_fail_alike_before_any_succeeds_stop_the_run() -> None:
    talk = at_work(commands=30, slots=10, policy=RetryPolicy(command_retries=0))
    talk.hear(*(reported(attempt(line), Failed(127)) for line in range(1, 11)))

    assert talk.say() == [Cancel(at=T0, allocation=A, why="the run is stopped")]
    assert talk.say(fenced()) == [
        End(
            at=T0,
            state=RunState.STOPPED,
            why="the first 10 commands to be tried all failed with exit code 127",
        )
    ]


def test_one_success_shows_that_commands_can_succeed() -> None:
    talk = at_work(commands=30, slots=11, policy=RetryPolicy(command_retries=0))
    failures = [reported(attempt(line), Failed(127)) for line in range(2, 12)]

    assert talk.say(reported(attempt(1)), *failures) == [issue(line) for line in range(23, 31)]


def test_three_refusals_in_a_row_stop_a_run_that_has_no_allocation() -> None:
    talk = Conversation(allocations=3)
    talk.say(started())
    times = [T0, T0 + 10, T0 + 30]
    names = [f"{A[:-1]}{number}" for number in (1, 2, 3)]
    for name, now in zip(names, times, strict=True):
        last = talk.say(refused(name, at=now, why="invalid partition"), now=now)
        if name != names[-1]:
            assert last == []
            talk.say(now=now + 20)

    assert last == [
        End(
            at=T0 + 30,
            state=RunState.STOPPED,
            why="3 allocations in a row came to nothing: invalid partition",
            cluster=True,
        )
    ]


@pytest.mark.parametrize("entry", [gone("tbother-1-1"), fenced("tbother-1-1"), left("tbother-1-1")])
def test_an_allocation_that_nobody_named_before_does_no_harm(entry: Entry) -> None:
    talk = at_work(commands=1)
    talk.hear(entry)

    assert talk.machine.ledger.is_in_flight(talk.standing(1))


def test_the_machine_keeps_the_time_of_its_newest_entry() -> None:
    machine = Machine([], RetryPolicy())
    machine.apply(started(at=20.0))
    machine.apply(actions.Submit(at=10.0, allocation=A))

    assert machine.now == 20.0
    assert machine.first_at == 20.0
