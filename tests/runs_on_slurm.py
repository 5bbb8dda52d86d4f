"""What a run on SLURM must do, whichever SLURM it is: the same bodies for the fake and the real."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.program import Answer, Program

SITE = """\
scheduler: slurm
cores: 2
memory: 400M
walltime: 01:00:00
workers: 2
interface: lo
submissions-per-minute: 600
idle: 20 s
"""


@dataclass(frozen=True)
class SlurmRuns:
    """A SLURM, and the program set up to use it."""

    tbss: Program
    queue: Callable[[], list[str]]  #: the numbers of jobs that wait or run
    end_job: Callable[[str], object]  #: ends a job behind tbss-hpc's back
    always: tuple[str, ...] = ()  #: lines that its site file always has

    def site(self, *lines: str) -> None:
        """Write the site file that counts; lines given here come on top."""
        self.tbss.environment.pop("TBSS_HPC_SITE", None)
        self.tbss.write("tbss-hpc.yaml", SITE, *self.always, *lines)

    def witnessed(self, count: int, seconds: float) -> list[str]:
        """Write a list of commands that tell the witness what they do; give their names."""
        names = [f"c{number:03}" for number in range(count)]
        self.tbss.write("list", *(self.tbss.witness.line(name, seconds) for name in names))
        return names

    def submit(self, *words: str) -> Answer:
        answer = self.tbss("submit", "list", "--command-time", "2 s", *words)
        assert answer.code == 0, answer.err + answer.out
        return answer

    def nothing_left(self) -> bool:
        return processes.until(lambda: not self.queue())


def each_ended(slurm: SlurmRuns, names: list[str]) -> None:
    """Every command ended, and none of them ever met its own double."""
    assert slurm.tbss.witness.said("double") == []
    assert sorted(set(slurm.tbss.witness.said("end"))) == names


def a_list_is_run_and_no_job_is_left(slurm: SlurmRuns) -> None:
    slurm.site()
    names = slurm.witnessed(24, 0.2)
    slurm.submit("--wait")
    status = slurm.tbss.status()

    each_ended(slurm, names)
    assert status["state"] == "finished"
    assert all(allocation["native_id"] for allocation in status["allocations"])
    assert len(status["allocations"]) == 2
    assert slurm.nothing_left()


def an_allocation_that_is_ended_is_replaced(slurm: SlurmRuns) -> None:
    slurm.site()
    names = slurm.witnessed(12, 2)
    slurm.submit()
    running = slurm.tbss.until_running(3)
    slurm.end_job(running["allocations"][0]["native_id"])
    end = slurm.tbss("attach")
    status = slurm.tbss.status()

    each_ended(slurm, names)
    assert end.code == 0, end.out
    assert status["outcomes"].get("cut", 0) + status["outcomes"].get("lost", 0) >= 1
    assert "failed" not in status["outcomes"]
    assert len(status["allocations"]) >= 3
    assert slurm.nothing_left()


def allocations_outlive_a_killed_controller(slurm: SlurmRuns) -> None:
    slurm.site()
    names = slurm.witnessed(10, 2)
    slurm.submit()
    slurm.tbss.until_running(3)
    slurm.tbss.kill_controller()
    before = slurm.queue()
    resumed = slurm.tbss("resume", "--wait")
    status = slurm.tbss.status()

    each_ended(slurm, names)
    assert resumed.code == 0, resumed.out
    assert len(before) == 2
    assert {a["native_id"] for a in status["allocations"]} == set(before)
    assert sorted(slurm.tbss.witness.said("start")) == names
    assert slurm.nothing_left()


def a_killed_worker_costs_only_what_it_ran(slurm: SlurmRuns) -> None:
    slurm.site()
    names = slurm.witnessed(8, 2)
    slurm.submit()
    slurm.tbss.until_running(2)
    processes.send(slurm.tbss.workers()[-1], signal.SIGKILL)
    end = slurm.tbss("attach")

    each_ended(slurm, names)
    assert end.code == 0, end.out
    assert slurm.nothing_left()


def cancel_leaves_no_job(slurm: SlurmRuns) -> None:
    slurm.site()
    slurm.witnessed(8, 30)
    slurm.submit()
    slurm.tbss.until_running(2)
    answer = slurm.tbss("cancel")

    assert answer.code == 0, answer.err
    assert slurm.tbss.status()["state"] == "cancelled"
    assert slurm.nothing_left()


def cancel_leaves_no_job_when_the_controller_is_dead(slurm: SlurmRuns) -> None:
    slurm.site()
    slurm.witnessed(8, 30)
    slurm.submit()
    slurm.tbss.until_running(2)
    slurm.tbss.kill_controller()
    answer = slurm.tbss("cancel")

    assert answer.code == 0, answer.err
    assert slurm.nothing_left()


def a_set_up_that_fails_is_shown_in_its_own_words(slurm: SlurmRuns) -> None:
    slurm.site("setup:", "  - echo there is no such module; false")
    slurm.witnessed(2, 0)
    answer = slurm.tbss("submit", "list", "--command-time", "2 s", "--wait")

    assert answer.code == 3, answer.out
    assert "there is no such module" in answer.out
    assert "setup" in answer.out
    assert slurm.nothing_left()
