"""Runs on a real SLURM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests import runs_on_slurm as bodies
from tests.local.conftest import leaving_nothing
from tests.runs_on_slurm import SlurmRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cluster.ordinary_user import OrdinaryUser
    from tests.cluster.slurm_bed import SlurmBed

#: The partition of the bed whose limit is not five minutes.
LONG = "queue: long"


@pytest.fixture
def runs(slurm: SlurmBed, tmp_path: Path) -> Iterator[SlurmRuns]:
    with leaving_nothing(tmp_path) as tbss:
        tbss.environment |= slurm.environment
        yield SlurmRuns(
            tbss,
            queue=lambda: [row.id for row in slurm.squeue()],
            end_job=lambda number: slurm.run("scancel", number),
            always=(LONG,),
        )


@pytest.mark.parametrize(
    "body",
    [
        bodies.a_list_is_run_and_no_job_is_left,
        bodies.an_allocation_that_is_ended_is_replaced,
        bodies.allocations_outlive_a_killed_controller,
        bodies.a_killed_worker_costs_only_what_it_ran,
        bodies.cancel_leaves_no_job,
        bodies.cancel_leaves_no_job_when_the_controller_is_dead,
        bodies.a_set_up_that_fails_is_shown_in_its_own_words,
    ],
)
def test_on_a_real_slurm(body: Callable[[SlurmRuns], None], runs: SlurmRuns) -> None:
    body(runs)


def test_two_hundred_commands_are_three_batch_jobs(runs: SlurmRuns) -> None:
    runs.site()
    names = runs.witnessed(200, 0.3)
    runs.submit("--workers", "3", "--wait")
    status = runs.tbss.status()
    attempts = runs.tbss.table("attempts.tsv")

    bodies.each_ended(runs, names)
    assert status["counts"]["done"] == 200
    assert len(status["allocations"]) == 3
    assert len({row["allocation"] for row in attempts if row["outcome"] == "succeeded"}) == 3
    assert runs.nothing_left()


def test_a_study_is_registered_on_two_allocations(runs: SlurmRuns) -> None:
    runs.site()
    made = runs.tbss("demo", "study", "--subjects", "4")
    for result in (runs.tbss.folder / "study" / "FA").glob("*_to_*"):
        result.unlink()
    answer = runs.tbss("submit", "study", "--engine", "greedy", "--workers", "2", "--wait")
    target = runs.tbss("target", "study")

    assert made.code == 0, made.err
    assert answer.code == 0, answer.out + answer.err
    assert runs.tbss.status()["counts"]["done"] == 16
    assert len(runs.tbss.status()["allocations"]) == 2
    assert "<- most typical" in target.out
    planted = made.out.partition("The most typical subject is ")[2].split(",")[0]
    assert f"{planted}" in target.out.partition("<- most typical")[0].splitlines()[-1]
    assert runs.nothing_left()


def test_several_generations_cut_no_command(runs: SlurmRuns) -> None:
    runs.site("start-patience: 2 min")
    names = runs.witnessed(40, 6)
    answer = runs.tbss(
        "submit", "list", "--command-time", "6 s", "--walltime", "00:02:00", "--wait"
    )
    status = runs.tbss.status()

    bodies.each_ended(runs, names)
    assert answer.code == 0, answer.out
    assert status["outcomes"].get("cut", 0) == 0
    assert runs.tbss.witness.said("start") == [*dict.fromkeys(runs.tbss.witness.said("start"))]
    assert runs.nothing_left()


def test_a_node_that_dies_is_waited_for_and_its_commands_are_run_elsewhere(
    runs: SlurmRuns, slurm: SlurmBed
) -> None:
    runs.site("lease: 20 s", "directives:", "  - --exclusive")
    names = runs.witnessed(8, 4)
    runs.submit()
    running = runs.tbss.until_running(2)
    slurm.fail(running["running"][0]["node"], noticed=True)
    end = runs.tbss("attach")
    journal = "".join(p.read_text() for p in (runs.tbss.run_folder() / "journal").iterdir())

    bodies.each_ended(runs, names)
    assert end.code == 0, end.out
    assert runs.tbss.status()["outcomes"]["lost"] >= 1
    assert "allocation-fenced" in journal
    assert processes.until(lambda: not runs.queue())


def test_before_a_maintenance_the_walltime_that_fits_is_told(
    runs: SlurmRuns, slurm: SlurmBed
) -> None:
    when = ("starttime=now+30minutes", "duration=60", "flags=maint")
    slurm.run("scontrol", "create", "reservation=service", *when, "nodes=ALL", "users=root")
    runs.site()
    runs.witnessed(2, 0)
    runs.tbss("submit", "list", "--command-time", "40 min", "--walltime", "03:00:00")
    try:
        runs.tbss.until(
            lambda status: any(
                "would fit before it" in allocation["explanation"]
                for allocation in status["allocations"]
            )
        )
        cancelled = runs.tbss("cancel")
    finally:
        slurm.run("scontrol", "delete", "reservation=service")

    assert cancelled.code == 0, cancelled.err
    assert runs.nothing_left()


def test_behind_a_full_queue_a_run_waits_and_then_goes_on(runs: SlurmRuns, slurm: SlurmBed) -> None:
    hog = ("sbatch", "--parsable", "--partition=long", "--exclusive", "--output=/dev/null")
    hogs = [slurm.run(*hog, "--wrap=sleep 1000").strip() for _ in slurm.nodes]
    assert processes.until(lambda: all(row.state == "RUNNING" for row in slurm.squeue()))
    runs.site()
    names = runs.witnessed(4, 0.2)
    runs.submit()
    waiting = runs.tbss.until(
        lambda status: any(a["explanation"].startswith("waiting") for a in status["allocations"])
    )
    slurm.run("scancel", *hogs)
    end = runs.tbss("attach")

    assert waiting["state"] == "running"
    assert waiting["counts"]["waiting"] == 4
    assert end.code == 0, end.out
    bodies.each_ended(runs, names)


def test_an_ordinary_user_needs_no_rights(
    slurm: SlurmBed, ordinary_user: OrdinaryUser, everybodys_python: Path
) -> None:
    tbss = everybodys_python.with_name("tbss-hpc")
    home = ordinary_user.home
    (home / "list").write_text("id -un >> who\n" * 6)
    (home / "tbss-hpc.yaml").write_text(f"{bodies.SITE}{LONG}\n")
    words = ("submit", "list", "--command-time", "2 s", "--workers", "2", "--wait")
    answer = ordinary_user.run([str(tbss), *words], slurm.environment, timeout_seconds=900)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (home / "who").read_text().split() == [ordinary_user.name] * 6
    assert not (home / "dask-scratch-space").exists()
    assert not (home / ".config").exists()
    assert processes.until(lambda: not slurm.squeue())
