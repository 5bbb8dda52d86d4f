"""A run whose allocations are too short for its work; one of them is shortened on the way."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.on_slurm.rig import Rig, rigged
from tests.on_slurm.slurms import RealSlurm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.slurm_bed import SlurmBed

#: Seconds; SLURM counts in minutes, and with less no command would fit.
WALLTIME = 120.0
SHORTENED = 60.0
COMMAND_SECONDS = 4
COMMANDS = 160


@dataclass(frozen=True)
class ShortWalltimes:
    """The run."""

    rig: Rig
    names: list[str]
    shortened: str  #: the allocation whose walltime was edited while it worked

    def limit_of(self, allocation: str) -> float:
        """Say how many seconds an allocation had."""
        return SHORTENED if allocation == self.shortened else WALLTIME


@contextmanager
def started(root: Path, bed: SlurmBed) -> Iterator[ShortWalltimes]:
    """Start the run and leave it to itself."""
    with rigged(root, RealSlurm(bed)) as rig:
        names = [f"c{number:03}" for number in range(COMMANDS)]
        rig.tbss.write("list", *(rig.tbss.witness.line(name, COMMAND_SECONDS) for name in names))
        rig.site(walltime="00:02:00")
        answer = rig.tbss("submit", "list", "--command-time", f"{COMMAND_SECONDS} s")
        assert answer.code == 0, answer.err
        first = rig.until_full(2)["allocations"][0]
        bed.run("scontrol", "update", f"jobid={first['native_id']}", "TimeLimit=1")
        yield ShortWalltimes(rig, names, first["name"])
