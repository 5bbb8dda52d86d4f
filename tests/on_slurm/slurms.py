"""What a test can do to a SLURM, whether it is the real one or the fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.cluster.slurm_bed import SlurmBed
from tests.fake.fake_slurm import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What SLURM says of a job that has been cancelled, or has ended, and is being tidied up after.
ENDING = "COMPLETING"


class Slurm(Protocol):
    """A cluster to submit to and to break."""

    @property
    def queue(self) -> str:
        """The partition for runs."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes its commands work."""

    def jobs(self) -> dict[str, str]:
        """Give the numbers of the jobs that wait or run, and the names they go by."""

    def scancel(self, job: str) -> None:
        """Cancel a job behind our back."""

    def cut_power(self, job: str) -> None:
        """Lose the node of a job, and have SLURM notice."""

    def hold(self) -> None:
        """Let new jobs wait, until `mend`."""

    def refuse(self) -> None:
        """Take no new jobs, until `mend`."""

    def mend(self) -> None:
        """Take and start jobs again."""


@dataclass(frozen=True)
class PretendedSlurm:
    """The fake."""

    fake: FakeSlurm
    queue: str = "normal"

    @property
    def environment(self) -> Mapping[str, str]:
        return self.fake.environment

    def jobs(self) -> dict[str, str]:
        return {job.id: job.name for job in self.fake.queue if job.state != ENDING}

    def scancel(self, job: str) -> None:
        assert self.fake.run("scancel", job).returncode == 0

    def cut_power(self, job: str) -> None:
        self.fake.kill(job)

    def hold(self) -> None:
        self.fake.hold()

    def refuse(self) -> None:
        self.fake.refuse(10**9, "sbatch: error: Required partition not available (fake)\n")

    def mend(self) -> None:
        self.fake.refuse(0)
        self.fake.release()


@dataclass(frozen=True)
class RealSlurm:
    """The test bed."""

    bed: SlurmBed
    queue: str = "long"

    @property
    def environment(self) -> Mapping[str, str]:
        return self.bed.environment

    def jobs(self) -> dict[str, str]:
        return {row.id: row.name for row in self.bed.squeue() if row.state != ENDING}

    def scancel(self, job: str) -> None:
        self.bed.run("scancel", job)

    def cut_power(self, job: str) -> None:
        self.bed.fail(next(row.node for row in self.bed.squeue() if row.id == job), noticed=True)

    def hold(self) -> None:
        self._set_partition("down")

    def refuse(self) -> None:
        self._set_partition("drain")

    def mend(self) -> None:
        self._set_partition("up")

    def _set_partition(self, state: str) -> None:
        self.bed.run("scontrol", "update", f"partitionname={self.queue}", f"state={state}")
