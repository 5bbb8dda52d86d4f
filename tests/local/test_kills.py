"""Kills: of controllers, of workers, of everything at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests import processes
from tests.local.program import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.local.program import Program


def names(count: int) -> list[str]:
    """Name this many commands."""
    return [f"c{number}" for number in range(count)]


def submit(tbss: Program, count: int) -> None:
    """Start a run of commands that tell the witness what they do, and end when they may."""
    tbss.write("list", *(tbss.witness.gate(name) for name in names(count)))
    answer = tbss("submit", "list")
    assert answer.code == 0, answer.err
    tbss.until_running(SLOTS)


def kill_at_one_stroke(pids: Iterable[int]) -> None:
    """Kill processes so that none lives to see another one die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            processes.send(pid, number)


def let_those_end_that_run(tbss: Program) -> None:
    """Let the commands that run end, and wait until they say so themselves."""
    started = tbss.witness.said("start")
    tbss.witness.let_go(*started)
    assert processes.until(lambda: sorted(tbss.witness.said("end")) == sorted(started))


def test_three_killed_controllers_and_a_killed_worker_lose_and_double_nothing(
    tbss: Program,
) -> None:
    submit(tbss, 8)
    tbss.kill_controller()
    assert tbss("resume").code == 0
    tbss.until(lambda status: status["allocations"][0]["state"] == "joined")
    assert len(tbss.witness.said("start")) == SLOTS  # adopted, and not begun again

    for round_ in (1, 2):
        tbss.kill_controller()
        interrupted = tbss.status()
        let_those_end_that_run(tbss)  # while nobody controls them
        assert tbss("resume").code == 0
        after = tbss.until(lambda status: status["counts"]["running"] == SLOTS)

        assert interrupted["state"] == "interrupted"
        assert interrupted["counts"]["running"] == SLOTS
        assert after["counts"]["done"] == round_ * SLOTS
        assert len(tbss.witness.said("start")) == (round_ + 1) * SLOTS

    *_watchers, worker = tbss.workers()
    processes.send(worker, signal.SIGKILL)
    tbss.until(lambda status: status["outcomes"].get("lost") == SLOTS)
    tbss.witness.let_go()
    end = tbss("attach")

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(8)
    assert tbss.status()["outcomes"]["lost"] == SLOTS
    assert len(tbss.witness.said("start")) == 8 + SLOTS


def test_an_allocation_killed_at_one_stroke_is_swept_and_replaced(tbss: Program) -> None:
    submit(tbss, 3)
    kill_at_one_stroke(tbss.workers())
    tbss.until(lambda status: status["outcomes"].get("lost") == SLOTS)
    tbss.witness.let_go()
    end = tbss("attach")

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(3)
    assert len(tbss.witness.said("start")) == 3 + SLOTS


def test_orphans_that_cleaned_their_environment_are_swept_all_the_same(tbss: Program) -> None:
    for name in names(SLOTS):
        tbss.write(f"{name}.sh", tbss.witness.gate(name))
    tbss.write("list", *(f'env -i PATH="$PATH" bash {name}.sh' for name in names(SLOTS)))
    assert tbss("submit", "list").code == 0
    tbss.until_running(SLOTS)
    kill_at_one_stroke(tbss.workers())
    tbss.until(lambda status: status["outcomes"].get("lost") == SLOTS)
    tbss.witness.let_go()
    end = tbss("attach")

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []


def test_a_controller_and_its_allocation_killed_together_cost_one_attempt(tbss: Program) -> None:
    submit(tbss, 3)
    controller = tbss.controller()
    kill_at_one_stroke([controller, *tbss.workers()])
    tbss.until_gone(controller)
    assert tbss("resume").code == 0
    tbss.until(lambda status: status["outcomes"].get("lost") == SLOTS)
    tbss.witness.let_go()
    end = tbss("attach")

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(3)
    assert [int(row["attempts"]) for row in tbss.table()] == [2, 2, 1]


def test_a_stopped_controller_counts_as_alive_and_wakes_up(tbss: Program) -> None:
    submit(tbss, 2)
    controller = tbss.controller()
    processes.send(controller, signal.SIGSTOP)
    refused = tbss("resume")
    let_those_end_that_run(tbss)
    processes.send(controller, signal.SIGCONT)
    end = tbss("attach")

    assert refused.code == 4
    assert "controlled already" in refused.err
    assert end.code == 0
    assert sorted(tbss.witness.said("start")) == names(2)
