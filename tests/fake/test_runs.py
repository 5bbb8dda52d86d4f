"""Runs on a SLURM that misbehaves on command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import runs_on_slurm as bodies
from tests.local.conftest import leaving_nothing
from tests.runs_on_slurm import SlurmRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fake.fake_slurm import FakeSlurm


@pytest.fixture
def runs(fake_slurm: FakeSlurm, tmp_path: Path) -> Iterator[SlurmRuns]:
    (tmp_path / "user").mkdir()
    with leaving_nothing(tmp_path / "user") as tbss:
        tbss.environment |= fake_slurm.environment
        yield SlurmRuns(
            tbss,
            queue=lambda: [str(job.id) for job in fake_slurm.queue],
            end_job=lambda number: fake_slurm.run("scancel", number),
        )


@pytest.mark.parametrize(
    "body",
    [
        bodies.a_list_is_run_and_no_job_is_left,
        bodies.an_allocation_that_is_ended_is_replaced,
        bodies.allocations_outlive_a_killed_controller,
        bodies.cancel_leaves_no_job_when_the_controller_is_dead,
        bodies.a_set_up_that_fails_is_shown_in_its_own_words,
    ],
)
def test_on_a_fake_slurm(body: Callable[[SlurmRuns], None], runs: SlurmRuns) -> None:
    body(runs)


def test_three_refusals_end_the_asking_in_sbatchs_own_words(
    runs: SlurmRuns, fake_slurm: FakeSlurm
) -> None:
    fake_slurm.refuse(3, "sbatch: error: invalid partition specified: nope")
    runs.site()
    names = runs.witnessed(4, 0)
    answer = runs.tbss("submit", "list", "--command-time", "2 s", "--wait")
    resumed = runs.tbss("resume", "--wait")

    assert answer.code == 3, answer.out
    assert "invalid partition specified: nope" in answer.out
    assert "fix:" in answer.out
    assert resumed.code == 0, resumed.out
    bodies.each_ended(runs, names)
    assert runs.nothing_left()


def test_a_banner_with_numbers_is_not_taken_for_a_job(
    runs: SlurmRuns, fake_slurm: FakeSlurm
) -> None:
    fake_slurm.greet("You have 35000 core hours left in project 1234.")
    runs.site()
    names = runs.witnessed(4, 0)
    runs.submit("--wait")
    numbers = {a["native_id"] for a in runs.tbss.status()["allocations"]}

    bodies.each_ended(runs, names)
    assert not numbers & {"35000", "1234"}


def test_a_job_that_sbatch_said_nothing_about_is_found_by_its_name(
    runs: SlurmRuns, fake_slurm: FakeSlurm
) -> None:
    fake_slurm.lose_replies(1)
    runs.site()
    names = runs.witnessed(4, 0.5)
    runs.submit("--wait")

    bodies.each_ended(runs, names)
    assert runs.nothing_left()


def test_a_queue_that_does_not_answer_ends_nothing(runs: SlurmRuns, fake_slurm: FakeSlurm) -> None:
    runs.site()
    names = runs.witnessed(8, 1)
    runs.submit()
    runs.tbss.until_running()
    fake_slurm.fail_queries()
    runs.tbss.until(lambda status: status["counts"]["done"] >= 4)
    fake_slurm.answer_queries()
    end = runs.tbss("attach")

    assert end.code == 0, end.out
    bodies.each_ended(runs, names)
    assert len(runs.tbss.witness.said("start")) == 8


def test_what_the_queue_waits_for_is_told_in_a_sentence(
    runs: SlurmRuns, fake_slurm: FakeSlurm
) -> None:
    fake_slurm.hold("AssocGrpCpuLimit")
    runs.site()
    names = runs.witnessed(2, 0)
    runs.submit()
    status = runs.tbss.until(
        lambda status: any("core limit" in a["explanation"] for a in status["allocations"])
    )
    fake_slurm.release()
    end = runs.tbss("attach")

    assert status["allocations"][0]["reason"] == "AssocGrpCpuLimit"
    assert end.code == 0, end.out
    bodies.each_ended(runs, names)


def test_an_unknown_word_of_the_queue_is_kept(runs: SlurmRuns, fake_slurm: FakeSlurm) -> None:
    fake_slurm.hold("Priority")
    runs.site()
    names = runs.witnessed(2, 0)
    runs.submit()
    first = runs.tbss.until(lambda status: status["allocations"][0]["native_id"])
    fake_slurm.show_as(first["allocations"][0]["native_id"], "TRANSMOGRIFYING")
    runs.tbss.until(lambda status: "TRANSMOGRIFYING" in status["allocations"][0]["explanation"])
    fake_slurm.release()
    end = runs.tbss("attach")

    assert end.code == 0, end.out
    bodies.each_ended(runs, names)
