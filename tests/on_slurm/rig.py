"""The real program, set up to use a SLURM, with which a test can do as it likes."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tbss_hpc.core.actions import Entry
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import JournalReader
from tests import processes
from tests.local.conftest import leaving_nothing
from tests.local.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.program import Answer
    from tests.on_slurm.slurms import Slurm

E = TypeVar("E", bound=Entry)

#: So many commands run at a time in one allocation.
SLOTS = 2

SITE = {
    "scheduler": "slurm",
    "cores": str(SLOTS),
    "memory": "200M",
    "walltime": "01:00:00",
    "workers": "2",
    "submissions-per-minute": "600",
}


@dataclass(frozen=True)
class Rig:
    """One user's program, and the cluster that it submits to."""

    tbss: Program
    slurm: Slurm

    # -- setting up -----------------------------------------------------------------------------

    def site(self, **keys: str) -> None:
        """Write the site file."""
        values = SITE | {"queue": self.slurm.queue} | keys
        text = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in values.items())
        Path(self.tbss.environment["TBSS_HPC_SITE"]).write_text(text)

    def submit(self, count: int, *words: object) -> list[str]:
        """Start a run of so many commands that run until they are let go; give their names."""
        names = self.write_list(count)
        answer = self.submitted(*words)
        assert answer.code == 0, answer.err
        return names

    def write_list(self, count: int) -> list[str]:
        """Write the list that `submitted` submits."""
        names = [f"c{number:03}" for number in range(count)]
        self.tbss.write("list", *map(self.tbss.witness.gate, names))
        return names

    def submitted(self, *words: object) -> Answer:
        """Submit the list, and give what comes of it."""
        return self.tbss("submit", "list", "--command-time", "2 s", *words)

    @contextmanager
    def shadow(self, program: str, script: str) -> Iterator[Path]:
        """Have a script run instead of one of SLURM's programs, which it finds as `$real`.

        Give a file that exists until the end, for the script to look at as `$flag`.
        """
        path = self.tbss.root / "bin" / program
        flag = path.with_suffix(".flag")
        real = shutil.which(program, path=self.tbss.environment["PATH"].partition(":")[2])
        path.write_text(f"#!/bin/bash\nreal={real} flag={flag}\n{script}\n")
        path.chmod(0o755)
        flag.touch()
        yield flag
        flag.unlink()
        path.unlink()

    # -- looking --------------------------------------------------------------------------------

    def until_full(self, allocations: int) -> dict[str, Any]:
        """Wait until every slot of so many allocations is in use; give the status."""
        return self.tbss.until_running(allocations * SLOTS)

    def workers_of(self, allocation: str) -> list[int]:
        """Find the processes of an allocation: outer, inner and worker."""
        words = f"--allocation {allocation}"
        every = self.tbss.workers()
        return [pid for pid in every if processes.command_line(pid).endswith(words)]

    def journal(self) -> list[Entry]:
        """Read what all controllers have written."""
        return list(JournalReader(RunFolder(self.tbss.run_folder())).new())

    def entries(self, kind: type[E]) -> list[E]:
        """Read what all controllers have written of one kind."""
        return [entry for entry in self.journal() if isinstance(entry, kind)]

    def starts(self) -> list[str]:
        """Give the commands that have started, in order; none ever met its own double."""
        assert self.tbss.witness.said("double") == []
        return self.tbss.witness.said("start")

    def finish(self) -> dict[str, Any]:
        """Let everything end, and check that the run is done; give the status."""
        self.tbss.witness.let_go()
        end = self.tbss("attach")
        status = self.tbss.status()

        assert end.code == 0, end.out + end.err
        assert status["state"] == "finished"
        assert status["counts"]["done"] == status["counts"]["total"]
        assert self.starts()
        return status


@contextmanager
def rigged(root: Path, slurm: Slurm, make: Callable[[Path], Program] = Program) -> Iterator[Rig]:
    """Lend a rig in a new folder; afterwards no process, job or file in the home may be left."""
    root.mkdir()
    (root / "bin").mkdir()
    with leaving_nothing(root, make) as tbss:
        tbss.environment |= slurm.environment
        tbss.environment["PATH"] = f"{root / 'bin'}:{tbss.environment['PATH']}"
        try:
            yield Rig(tbss, slurm)
            assert processes.until(lambda: not slurm.jobs()), slurm.jobs()
            assert [path.name for path in tbss.home.iterdir()] == []
        finally:
            slurm.mend()
