"""Runs on a real SLURM: see tests/on_slurm for what has to be true."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.local.program import Answer, Program
from tests.on_slurm import bodies
from tests.on_slurm.rig import Rig, rigged
from tests.on_slurm.slurms import RealSlurm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.ordinary_user import OrdinaryUser
    from tests.cluster.slurm_bed import SlurmBed

# The run of test_walltimes.py takes minutes: it is started here and goes on meanwhile.
pytestmark = pytest.mark.usefixtures("short_walltimes")


@pytest.fixture
def rig(slurm: SlurmBed, tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path / "user", RealSlurm(slurm)) as rig:
        yield rig


class TestBasics(bodies.Basics):
    pass


class TestStudies(bodies.Studies):
    pass


class TestKills(bodies.Kills):
    pass


class TestQueues(bodies.Queues):
    pass


class TestAsAnOrdinaryUser(bodies.Basics):
    @pytest.fixture
    def rig(
        self, slurm: SlurmBed, ordinary_user: OrdinaryUser, everybodys_python: Path
    ) -> Iterator[Rig]:
        def make(root: Path) -> Program:
            return _TheirProgram(root, ordinary_user, everybodys_python)

        with rigged(ordinary_user.home / "here", RealSlurm(slurm), make) as rig:
            yield rig

    @pytest.fixture(autouse=True)
    def tidy(self, ordinary_user: OrdinaryUser) -> Iterator[None]:
        yield
        ordinary_user.run(["rm", "-r", "here"])


class _TheirProgram(Program):
    """The program as somebody else types it."""

    def __init__(self, root: Path, user: OrdinaryUser, python: Path) -> None:
        super().__init__(root)
        self._user = user
        self._program = python.with_name("tbss-hpc")
        self.environment |= {"USER": user.name, "LOGNAME": user.name}
        for folder in (root, *root.iterdir()):
            os.chown(folder, user.uid, user.gid)

    def __call__(self, *words: object, stdin: str | bytes = b"") -> Answer:
        assert not stdin
        done = subprocess.run(
            [self._program, *map(str, words)],
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=[],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=processes.PATIENCE_SECONDS * 3,
        )
        return Answer(done.returncode, done.stdout, done.stderr)


def test_behind_a_full_queue_a_run_waits_and_then_goes_on(rig: Rig, slurm: SlurmBed) -> None:
    hog = ("sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 1000")
    hogs = [slurm.run(*hog).strip() for _ in slurm.nodes]
    assert processes.until(lambda: all(row.state == "RUNNING" for row in slurm.squeue()))
    rig.site()
    names = rig.submit(4)
    status = rig.tbss.until(lambda s: s["allocations"] and s["allocations"][0]["reason"])
    slurm.run("scancel", *hogs)
    rig.finish()

    assert status["state"] == "running"
    assert status["counts"]["waiting"] == 4
    assert status["allocations"][0]["explanation"].startswith("waiting")
    assert sorted(rig.starts()) == names


def test_before_a_maintenance_the_walltime_that_would_fit_is_told(
    rig: Rig, slurm: SlurmBed
) -> None:
    window = ("reservation=service", "starttime=now+30minutes", "duration=60", "flags=maint")
    slurm.run("scontrol", "create", *window, "nodes=ALL", "users=root")
    try:
        rig.site(walltime="03:00:00")
        rig.write_list(2)
        rig.tbss("submit", "list", "--command-time", "40 min")
        status = rig.tbss.until(lambda s: s["allocations"] and s["allocations"][0]["reason"])
        cancelled = rig.tbss("cancel")
    finally:
        slurm.run("scontrol", "delete", "reservation=service")

    assert "would fit before it" in status["allocations"][0]["explanation"]
    assert cancelled.code == 0
