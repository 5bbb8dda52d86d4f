"""What has to be true of runs on every SLURM: the same for the fake as for the real one.

Commands are gates: they run until they are let go, so that what is running when something breaks
does not depend on how fast a machine is.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tbss_hpc.core.actions import Issue, Submit
from tbss_hpc.core.events import (
    AllocationFenced,
    AllocationGone,
    AllocationRefused,
    AllocationSubmitted,
)
from tbss_hpc.tbss.synthetic import make_study
from tests import processes
from tests.on_slurm.rig import SLOTS

if TYPE_CHECKING:
    from typing import Any

    from tests.on_slurm.rig import Rig


class Basics:
    """What is asked for is done, and nothing more."""

    def test_two_hundred_commands_are_done_once_in_three_allocations(self, rig: Rig) -> None:
        rig.site(workers="3")
        names = rig.submit(200)
        during = rig.until_full(3)
        jobs = rig.slurm.jobs()
        text = rig.tbss("status").out
        after = rig.finish()
        attempts = rig.tbss.table("attempts.tsv")

        assert {a["native_id"]: a["name"] for a in during["allocations"]} == jobs
        assert all(job in text for job in jobs)
        assert {a["node"] for a in during["allocations"]} != {""}
        assert after["outcomes"] == {"succeeded": 200}
        assert sorted(rig.starts()) == names
        assert {row["attempts"] for row in rig.tbss.table()} == {"1"}
        assert [row["attempt"] for row in attempts] == ["1"] * 200
        assert {row["allocation"] for row in attempts} == set(jobs.values())
        assert len(rig.entries(Submit)) == 3

    def test_cancel_leaves_no_job_whether_the_controller_lives_or_not(self, rig: Rig) -> None:
        rig.site()
        rig.submit(8)
        rig.until_full(2)
        cancelled = rig.tbss("cancel")
        left = rig.slurm.jobs()
        state = rig.tbss.status()["state"]
        assert (cancelled.code, state, left) == (0, "cancelled", {}), cancelled.err

        assert rig.tbss("resume").code == 0
        rig.until_full(2)
        rig.tbss.kill_controller()
        cancelled = rig.tbss("cancel")
        left = rig.slurm.jobs()
        status = rig.tbss.status()

        assert (cancelled.code, status["state"], left) == (0, "cancelled", {}), cancelled.err
        assert status["counts"]["cancelled"] == 8
        assert rig.starts()


class Studies:
    """What the program is for."""

    def test_a_study_is_registered_and_its_typical_subject_found(self, rig: Rig) -> None:
        rig.site()
        made = make_study(rig.tbss.folder / "study", subjects=4, voxel_mm=4)
        words = ("--scheduler", "slurm", "--workers", 2, "--engine", "greedy", "--wait")
        answer = rig.tbss("submit", "study", *words)
        target = rig.tbss("target", "study")

        assert answer.code == 0, answer.out + answer.err
        assert rig.tbss.status()["outcomes"] == {"succeeded": 16}
        typical = [line for line in target.out.splitlines() if "<- most typical" in line]
        assert [made.planted in line for line in typical] == [True]


class Kills:
    """Nothing is lost, and nothing runs twice at once."""

    def test_a_cancelled_job_costs_what_it_ran_and_is_replaced(self, rig: Rig) -> None:
        rig.site()
        names = rig.submit(8, "--retries", 0)
        job = rig.until_full(2)["allocations"][0]["native_id"]
        rig.slurm.scancel(job)
        # The two that were cut run again before those that never started.
        assert processes.until(lambda: len(rig.starts()) == 3 * SLOTS)
        outcomes = rig.finish()["outcomes"]

        assert outcomes.get("cut", 0) + outcomes.get("lost", 0) == SLOTS
        assert outcomes["succeeded"] == 8
        assert sorted(rig.tbss.witness.said("end")) == names
        assert len(rig.starts()) == 8 + SLOTS
        assert len(rig.entries(AllocationSubmitted)) == 3

    def test_a_new_controller_adopts_what_runs(self, rig: Rig) -> None:
        rig.site()
        names = rig.submit(8)
        rig.until_full(2)
        jobs = rig.slurm.jobs()
        rig.tbss.kill_controller()
        dead = rig.tbss.status()
        ended = rig.starts()[:1]
        rig.tbss.witness.let_go(*ended)
        assert processes.until(lambda: rig.tbss.witness.said("end") == ended)
        assert rig.tbss("resume").code == 0
        # One slot came free while nobody was there to fill it.
        after = rig.tbss.until(lambda s: len(rig.starts()) == 2 * SLOTS + 1 and s)
        still = rig.slurm.jobs()
        outcomes = rig.finish()["outcomes"]

        assert dead["state"] == "interrupted"
        assert {a["native_id"] for a in after["allocations"]} == set(jobs)
        assert still == jobs
        # What was on its way to a slot when the first controller died never started.
        assert set(outcomes) <= {"succeeded", "not-started"}
        assert sorted(rig.starts()) == names
        assert len(rig.entries(Submit)) == 2

    def test_a_controller_that_dies_while_it_submits_leaves_a_job_to_be_found_by_name(
        self, rig: Rig
    ) -> None:
        rig.site(workers="1")
        rig.slurm.hold()
        with rig.shadow("sbatch", '"$real" "$@"; while [ -e $flag ]; do sleep 0.1; done'):
            names = rig.submit(2)
            assert processes.until(rig.slurm.jobs)
            rig.tbss.kill_controller()
            unheard = rig.entries(AllocationSubmitted)
        assert rig.tbss("resume").code == 0
        rig.tbss.until(lambda s: s["allocations"][0]["native_id"])
        jobs = rig.slurm.jobs()
        rig.slurm.mend()
        rig.finish()

        assert unheard == []
        found = {e.native_id: e.allocation for e in rig.entries(AllocationSubmitted)}
        assert found == jobs
        assert len(rig.entries(Submit)) == 1
        assert sorted(rig.starts()) == names

    def test_whatever_kills_an_allocation_its_commands_run_again(self, rig: Rig) -> None:
        rig.site(workers="3", lease="20 s", directives="--exclusive")
        names = rig.submit(12, "--retries", 0)
        one, two, three = rig.until_full(3)["allocations"]
        processes.send(rig.workers_of(one["name"])[-1], signal.SIGKILL)
        os.killpg(os.getpgid(rig.workers_of(two["name"])[0]), signal.SIGKILL)
        rig.slurm.cut_power(three["native_id"])
        # Until all are dead for certain, others start; in the end those that died do.
        assert processes.until(lambda: len(rig.starts()) == 6 * SLOTS)
        outcomes = rig.finish()["outcomes"]

        assert outcomes.get("cut", 0) + outcomes.get("lost", 0) == 3 * SLOTS
        assert sorted(rig.tbss.witness.said("end")) == names
        assert len(rig.starts()) == 12 + 3 * SLOTS
        waited = _seconds_to_second_attempts(rig.journal(), three["name"])
        assert len(waited) == SLOTS
        assert min(waited) > 15  # the lease counts from the last heartbeat, which came before

    def test_commands_of_a_lost_node_wait_for_the_usual_lease(self, rig: Rig) -> None:
        rig.site(directives="--exclusive", controller_patience="1 s")
        rig.submit(6)
        job = rig.until_full(2)["allocations"][0]["native_id"]
        rig.slurm.cut_power(job)
        rig.tbss.witness.let_go()
        # All others are done, allocations have idle slots, and still nothing runs again.
        rig.tbss.until(lambda s: s["counts"]["done"] == 6 - SLOTS and rig.entries(AllocationGone))
        journal = rig.journal()
        rig.tbss.kill_controller()

        assert not [e for e in journal if isinstance(e, AllocationFenced)]
        assert [e.attempt.number for e in journal if isinstance(e, Issue)] == [1] * 6
        assert len(rig.starts()) == 6


class Queues:
    """What the queue says is heard, shown, and not taken for more than it is."""

    def test_three_refusals_end_the_run_and_leave_nothing(self, rig: Rig) -> None:
        rig.site()
        rig.slurm.refuse()
        names = rig.write_list(3)
        refused = rig.submitted("--wait")
        status = rig.tbss.status()
        refusals = rig.entries(AllocationRefused)
        left = rig.slurm.jobs()
        rig.slurm.mend()
        rig.tbss.witness.let_go()
        resumed = rig.tbss("resume", "--wait")

        assert refused.code == 3
        assert "Required partition not available" in refused.out + refused.err
        assert "Required partition not available" in status["why"]
        assert status["state"] == "stopped"
        assert len(refusals) == 3
        assert left == {}
        assert resumed.code == 0, resumed.out + resumed.err
        assert sorted(rig.starts()) == names

    def test_a_refusal_that_was_none_leaves_no_job(self, rig: Rig) -> None:
        rig.site(workers="1")
        rig.slurm.hold()
        with rig.shadow("sbatch", f"{_LOSE_FIRST_REPLY}"):
            rig.submit(2)
            assert processes.until(rig.slurm.jobs)
            job = next(iter(rig.slurm.jobs()))
            rig.tbss.until(lambda s: any(a["native_id"] for a in s["allocations"]))
            native_ids = [a["native_id"] for a in rig.tbss.status()["allocations"]]
        cancelled = rig.tbss("cancel")

        assert cancelled.code == 0
        assert rig.slurm.jobs() == {}
        assert native_ids == [job]

    def test_waiting_is_told_in_the_queues_own_words(self, rig: Rig) -> None:
        rig.site(workers="1")
        rig.slurm.hold()
        with (
            rig.shadow("sbatch", 'echo \'You have 35000 core hours left.\'; exec "$real" "$@"'),
            rig.shadow("squeue", '"$real" "$@" | sed s/PENDING/PLANETARY/'),
        ):
            names = rig.submit(2)
            status = rig.tbss.until(_explained)
        job = next(iter(rig.slurm.jobs()))
        rig.slurm.mend()
        rig.finish()

        assert status["allocations"][0]["native_id"] == job
        assert status["allocations"][0]["reason"]
        assert "PLANETARY" in status["allocations"][0]["explanation"]
        assert status["counts"]["running"] == 0
        assert sorted(rig.starts()) == names

    def test_while_the_queue_is_silent_nothing_counts_as_gone(self, rig: Rig) -> None:
        rig.site()
        names = rig.submit(8)
        rig.until_full(2)
        with rig.shadow("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1"):
            first = rig.starts()
            rig.tbss.witness.let_go(*first)
            rig.tbss.until(lambda s: s["counts"]["done"] == 2 * SLOTS)
            rig.until_full(2)
            silent = rig.journal()
        outcomes = rig.finish()["outcomes"]

        assert not [e for e in silent if isinstance(e, AllocationGone)]
        assert outcomes == {"succeeded": 8}
        assert sorted(rig.starts()) == names
        assert len(rig.entries(Submit)) == 2

    def test_a_worker_that_never_joins_is_told_by_its_last_words(self, rig: Rig) -> None:
        ready = rig.tbss.root / "ready"
        rig.site(workers="1", setup=f'"[ -e {ready} ] || {{ echo no module fsl/9 >&2; false; }}"')
        names = rig.submit(2)
        status = rig.tbss.until(lambda s: s["state"] == "paused")
        ready.touch()
        rig.finish()

        assert "no module fsl/9" in status["why"]
        assert "the `setup` lines of the site file fail" in status["why"]
        assert sorted(rig.starts()) == names


#: A scheduler that was too busy to say that it took the job.
_LOSE_FIRST_REPLY = """
mkdir "$flag.once" 2>/dev/null || exec "$real" "$@"
"$real" "$@" >/dev/null
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""


def _explained(status: dict[str, Any]) -> bool:
    return any(a["explanation"] for a in status["allocations"])


def _seconds_to_second_attempts(journal: list[Any], allocation: str) -> list[float]:
    """Say how long after the end of an allocation the commands it had started were tried again."""
    its = [e for e in journal if getattr(e, "allocation", "") == allocation]
    gone = next(e.at for e in its if isinstance(e, AllocationGone))
    lost = {a.command for e in its if isinstance(e, AllocationFenced) for a in e.started}
    again = [e for e in journal if isinstance(e, Issue) and e.attempt.number > 1]
    return [e.at - gone for e in again if e.attempt.command in lost]
