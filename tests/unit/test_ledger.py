"""Every command is in exactly one place: waiting, in flight, or settled."""

from __future__ import annotations

import pytest

from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.ledger import Ledger, Place, Standby, Verdict
from tbss_hpc.core.outcome import Failed, NotStarted
from tests.unit.world import some_commands


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(some_commands(3))


def lines(ledger: Ledger, count: int = 9) -> list[int]:
    return [standing.command.line for standing in ledger.next_waiting(count)]


def test_commands_wait_in_the_order_of_their_list(ledger: Ledger) -> None:
    assert lines(ledger) == [1, 2, 3]
    assert lines(ledger, 2) == [1, 2]
    assert ledger.unsettled == 3


def test_a_command_that_was_handed_out_waits_no_more(ledger: Ledger) -> None:
    standing = ledger.standings["c01"]
    ledger.issue(standing, 1)

    assert lines(ledger) == [2, 3]
    assert ledger.is_in_flight(standing)
    assert standing.attempt == AttemptId("c01", 1)
    assert ledger.unsettled == 3


def test_those_that_are_tried_again_come_before_those_that_were_never_tried(
    ledger: Ledger,
) -> None:
    standing = ledger.standings["c02"]
    ledger.issue(standing, 1)
    ledger.wait_again(standing)

    assert lines(ledger) == [2, 1, 3]
    assert not ledger.is_in_flight(standing)


def test_a_settled_command_is_nowhere_else(ledger: Ledger) -> None:
    standing = ledger.standings["c01"]
    ledger.issue(standing, 1)
    standing.held_by = "tb-1"
    ledger.settle(standing, Verdict.DONE)

    assert lines(ledger) == [2, 3]
    assert ledger.unsettled == 2
    assert standing.held_by is None


def test_a_waiting_command_can_be_settled(ledger: Ledger) -> None:
    ledger.settle(ledger.standings["c02"], Verdict.CANCELLED)

    assert lines(ledger) == [1, 3]


def test_attempts_that_never_started_are_not_counted_as_made(ledger: Ledger) -> None:
    standing = ledger.standings["c01"]
    standing.reports = [
        Report(AttemptId("c01", 1), NotStarted(), "tb-1", "n1"),
        Report(AttemptId("c01", 2), Failed(1), "tb-1", "n1"),
    ]

    assert standing.attempts_made == 1


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (Place.INTENDED, "live"),
        (Place.PENDING, "live"),
        (Place.JOINED, "live"),
        (Place.AWAY, "live"),
        (Place.GONE, "neither"),
        (Place.FENCED, "over"),
        (Place.REFUSED, "over"),
    ],
)
def test_what_an_allocation_is_worth_depends_on_where_it_is(place: Place, what: str) -> None:
    allocation = Standby("tb-1", place)

    assert (allocation.live, allocation.over) == (what == "live", what == "over")


@pytest.mark.parametrize("flag", ["draining", "released", "cancelled", "overdue"])
def test_an_allocation_that_is_about_to_leave_counts_for_nothing(flag: str) -> None:
    allocation = Standby("tb-1", Place.JOINED)
    setattr(allocation, flag, True)

    assert not allocation.live
