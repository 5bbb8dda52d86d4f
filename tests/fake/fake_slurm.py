"""A SLURM made of a few small programs, as a test holds it in its hands."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests import processes
from tests.fake import step
from tests.fake.state import IN_QUEUE, Control, Job, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class FakeSlurm:
    """One make-believe cluster; its jobs are real processes of this machine."""

    state: State
    programs: Path  #: the folder that has to come first on PATH

    @classmethod
    def create(cls, folder: Path) -> FakeSlurm:
        """Make a cluster without jobs in a new folder."""
        fake = cls(State(folder / "state"), folder / "bin")
        fake.state.create()
        fake.programs.mkdir()
        for name in ("sbatch", "squeue", "scancel"):
            fake._install(name)
        return fake

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment to use this cluster."""
        return {"PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}

    # -- how it behaves -------------------------------------------------------------------------

    def refuse(self, times: int = 1, message: str = "") -> None:
        """Refuse the next submissions with exit code 1 and this on standard error."""
        self._set(refusals=times, refusal=message)

    def lose_replies(self, times: int = 1) -> None:
        """Accept the next submissions, and have sbatch end with a time-out nevertheless."""
        self._set(lost_replies=times)

    def greet(self, banner: str) -> None:
        """Have sbatch print this before it says the number of the job."""
        self._set(banner=banner)

    def start_after(self, pending_seconds: float, reason: str = "Priority") -> None:
        """Keep jobs pending for a while."""
        self._set(pending_seconds=pending_seconds, reason=reason)

    def hold(self, reason: str = "QOSMaxJobsPerUserLimit") -> None:
        """Start nothing, until `release`."""
        self._set(held=True, reason=reason)

    def release(self) -> None:
        """Start what is pending."""
        self._set(held=False, pending_seconds=0.0)

    def fail_queries(self, times: int = 10**9) -> None:
        """Let squeue fail so many times, or until `answer_queries`."""
        self._set(failing_queries=times)

    def answer_queries(self) -> None:
        """Let squeue work again."""
        self._set(failing_queries=0)

    def kill_as_cgroups_do(self) -> None:
        """End everything a job started when it ends, not only its process group."""
        self._set(kills_all=True)

    def wait_before_killing(self, seconds: float) -> None:
        """Leave this much time between SIGTERM and SIGKILL."""
        self._set(kill_wait_seconds=seconds)

    # -- what happens to a job ------------------------------------------------------------------

    def hide(self, job: str) -> None:
        """Have squeue know nothing of a job, which goes on."""
        self.state.set_override(job, hidden=True)

    def show_as(self, job: str, word: str) -> None:
        """Have squeue give this as the state of a job; nothing for the true one again."""
        self.state.set_override(job, state=word)

    def reach_walltime(self, job: str) -> None:
        """Let the time of a job be up now."""
        self.state.set_override(job, limit_seconds=0.0)

    def limit(self, job: str, seconds: float) -> None:
        """Give a job another walltime, counted from its start."""
        self.state.set_override(job, limit_seconds=seconds)

    def kill(self, job: str, *, noticed: bool = True) -> None:
        """Cut the power of a job's node.

        noticed -- the job leaves the queue; otherwise squeue goes on to show it as it was.
        """
        processes.kill_all(lambda: step.belonging_to(self.state, job))
        if noticed:
            self.state.save(replace(self.job(job), state="NODE_FAIL", ended=time.time()))

    def add_stranger(self, name: str, user: str = "somebody") -> Job:
        """Put a running job of somebody else into the queue; no process stands behind it."""
        job = Job(
            id=self.state.next_id(),
            name=name,
            user=user,
            partition="normal",
            folder="/",
            output="",
            started=time.time(),
            state="RUNNING",
            node=self.state.control.nodes[0],
        )
        self.state.save(job)
        return job

    # -- what is to be seen ---------------------------------------------------------------------

    @property
    def jobs(self) -> list[Job]:
        """All jobs ever accepted, the oldest first."""
        return self.state.jobs()

    @property
    def queue(self) -> list[Job]:
        """The jobs that are pending, running or ending."""
        return [job for job in self.jobs if job.state in IN_QUEUE]

    def job(self, job: str) -> Job:
        """One job."""
        return self.state.job(job)

    def wait_until(self, job: str, word: str) -> Job:
        """Wait for a job to be in a state."""
        if not processes.until(lambda: self.job(job).state == word):
            message = f"Job {job} never was {word}; it is {self.job(job).state}."
            raise AssertionError(message)
        return self.job(job)

    def processes_of(self, job: str) -> set[int]:
        """The ids of what a job started and still lives, wherever it is."""
        return set(step.belonging_to(self.state, job))

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the programs in the folder of this cluster, whatever comes of it."""
        return subprocess.run(
            argv,
            cwd=self.programs.parent,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def end(self) -> None:
        """Kill whatever the jobs started."""
        if not processes.kill_all(lambda: step.belonging_to(self.state)):
            message = "Processes of the fake SLURM cannot be killed."
            raise AssertionError(message)

    def _set(self, **changes: object) -> None:
        with self.state.locked():
            values = {**vars(self.state.control), **changes}
            self.state.set_control(Control(**values))

    def _install(self, name: str) -> None:
        words = shlex.join(step.program(self.state, name))
        path = self.programs / name
        path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        path.chmod(0o755)
