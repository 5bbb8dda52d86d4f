"""Kills: of controllers, of workers, of everything at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from tests.local.program import Program

SECONDS = 2.0


def names(count: int) -> list[str]:
    """Name this many commands."""
    return [f"c{number}" for number in range(count)]


def submit(tbss: Program, count: int) -> None:
    """Start a run of commands that tell the witness what they do."""
    tbss.write("list", *(tbss.witness.line(name, SECONDS) for name in names(count)))
    answer = tbss("submit", "list")
    assert answer.code == 0, answer.err
    tbss.until_running()


def test_three_killed_controllers_and_a_killed_worker_lose_and_double_nothing(
    tbss: Program,
) -> None:
    submit(tbss, 8)
    for _ in range(3):
        tbss.kill_controller()
        assert tbss.status()["state"] == "interrupted"
        assert tbss("resume").code == 0
        tbss.until_running()
    cut = tbss.status()["running"]
    *_watchers, worker = tbss.workers()
    processes.send(worker, signal.SIGKILL)
    end = tbss("attach")
    lost = tbss.status()["outcomes"].get("lost", 0)

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(8)
    assert 0 < lost <= len(cut)
    assert len(tbss.witness.said("start")) == 8 + lost


def test_commands_go_on_and_end_while_nobody_controls_them(tbss: Program) -> None:
    submit(tbss, 2)
    tbss.kill_controller()
    ended = processes.until(lambda: len(tbss.witness.said("end")) >= 2)
    counts = tbss.status()["counts"]
    answer = tbss("resume", "--wait")

    assert ended
    assert counts["total"] == sum(counts.values()) - counts["total"]
    assert answer.code == 0, answer.out
    assert sorted(tbss.witness.said("start")) == names(2)
    assert tbss.status()["outcomes"]["succeeded"] == 2
    assert "lost" not in tbss.status()["outcomes"]


def test_an_allocation_killed_at_one_stroke_is_swept_and_replaced(tbss: Program) -> None:
    submit(tbss, 4)
    for pid in tbss.workers():
        processes.send(pid, signal.SIGSTOP)
    for pid in tbss.workers():
        processes.send(pid, signal.SIGKILL)
    end = tbss("attach")

    assert end.code == 0, end.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(4)
    assert [row["outcome"] for row in tbss.table("attempts.tsv")].count("lost") > 0


def test_a_stopped_controller_counts_as_alive_and_wakes_up(tbss: Program) -> None:
    submit(tbss, 2)
    controller = tbss.controller()
    processes.send(controller, signal.SIGSTOP)
    refused = tbss("resume")
    processes.send(controller, signal.SIGCONT)
    end = tbss("attach")

    assert refused.code == 4
    assert "controlled already" in refused.err
    assert end.code == 0
    assert sorted(tbss.witness.said("start")) == names(2)


def test_a_controller_and_its_worker_killed_together_cost_one_attempt(tbss: Program) -> None:
    submit(tbss, 3)
    pids = [tbss.controller(), *tbss.workers()]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            processes.send(pid, number)
    tbss.until_gone(pids[0])
    answer = tbss("resume", "--wait")

    assert answer.code == 0, answer.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("end")) == names(3)
    assert max(int(row["attempts"]) for row in tbss.table()) == 2
