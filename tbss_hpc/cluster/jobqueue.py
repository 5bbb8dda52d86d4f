"""Batch systems through dask-jobqueue's Job classes: render, submit, cancel.

SpecCluster's table of workers is not used: it hides refusals, replaces nothing that ends, and
cancels a job 15 s after its worker left (see decision 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
from msgspec import structs

from tbss_hpc.cluster.batch import Program, Refused, Unanswered, worker_command
from tbss_hpc.core.plan import Shape
from tbss_hpc.core.site import Site
from tbss_hpc.core.units import format_memory, format_walltime
from tbss_hpc.schedulers import slurm
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.schedulers.reply import Reply
from tbss_hpc.schedulers.slurm_limits import (
    RESERVATIONS,
    Reservation,
    fitting_walltime,
    limits_environment,
    read_reservations,
)
from tbss_hpc.store.folder import RunFolder

#: A batch system that has not answered by then is asked again later.
ANSWER_SECONDS = 60.0
#: Seconds between questions about reservations, which are asked only when somebody waits for one.
RESERVATION_SECONDS = 60.0
#: The exit code that `timeout` of the GNU core utilities gives, too.
TIMED_OUT = 124

_sigint = signal.getsignal(signal.SIGINT)
from dask_jobqueue.slurm import SLURMJob  # noqa: E402 - see the next line

# dask-jobqueue takes SIGINT for itself when it is imported.
signal.signal(signal.SIGINT, _sigint)


async def ask(argv: list[str], environment: Mapping[str, str]) -> Reply:
    """Run one of the batch system's programs; one that is missing or hangs is a reply, too."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
        )
    except OSError as error:
        return Reply(tuple(argv), 127, "", f"{argv[0]}: {error.strerror}")
    try:
        out, err = await asyncio.wait_for(process.communicate(), ANSWER_SECONDS)
    except TimeoutError:
        process.kill()
        return Reply(
            tuple(argv), TIMED_OUT, "", f"{argv[0]} did not answer in {ANSWER_SECONDS:.0f} s"
        )
    code = process.returncode or 0
    return Reply(tuple(argv), code, out.decode(errors="replace"), err.decode(errors="replace"))


class SlurmAllocation(SLURMJob):
    """One allocation, as dask-jobqueue renders and submits it."""

    def __init__(
        self, run: RunFolder, allocation: str, site: Site, shape: Shape, program: Program
    ) -> None:
        """Pass every option that has a value; none is taken from a user's dask-jobqueue file."""
        self._script = run.script_of(allocation)
        self._environment = slurm.submission_environment(site, os.environ)
        walltime = shape.walltime_seconds or 0.0
        with _nothing_of_the_users():
            super().__init__(
                scheduler="",
                name=allocation,
                job_name=allocation,
                queue=site.queue,
                account=site.account,
                cores=shape.cores,
                processes=1,
                memory=str(shape.memory_bytes),
                # dask-jobqueue would round up to whole GiB.
                job_mem=format_memory(shape.memory_bytes or 0),
                walltime=format_walltime(walltime),
                log_directory=shlex.quote(str(run.allocations)),
                job_extra_directives=slurm.submission_options(site, walltime),
                job_script_prologue=[],
                job_directives_skip=[],
                python=sys.executable,
                worker_command="tbss_hpc.worker",
                worker_extra_args=[],
                shebang="#!/bin/bash",
            )
        # The script names the run folder and nothing else: address and certificate are read
        # there, at the start and on every reconnect (decision 7). exec, so that the batch
        # system's signals reach the watchers.
        command = shlex.join(program(sys.executable, run, allocation))
        self._command_template = f"exec {command}"

    @contextlib.contextmanager
    def job_file(self) -> Iterator[str]:
        """Keep the script where a person finds it."""
        self._script.write_text(self.job_script())
        yield str(self._script)

    async def ask_for_it(self) -> str:
        """Submit, in an environment of our choice; give the native id.

        Raises Refused, or Unanswered where the job may have been taken all the same.
        """
        with self.job_file() as script:
            reply = await ask([*shlex.split(self.submit_command), script], self._environment)
        if reply.exit_code == TIMED_OUT or slurm.lost_the_answer(reply):
            raise Unanswered(reply.complaint)
        if reply.exit_code != 0:
            raise Refused(reply.complaint)
        try:
            return slurm.read_native_id(reply.stdout)
        except ValueError as error:
            raise Refused(str(error)) from error


def _nothing_of_the_users() -> Any:
    """Let dask-jobqueue see its own defaults only: to it, None means "as the user's file says"."""
    defaults = dask.config.merge(*dask.config.defaults)["jobqueue"]["slurm"]
    return dask.config.set({"jobqueue.slurm": defaults})


class SlurmBatch:
    """SLURM, asked for all allocations at once."""

    def __init__(
        self, run: RunFolder, site: Site, shape: Shape, program: Program = worker_command
    ) -> None:
        """Know what to submit; `program` is what its script runs."""
        self._run = run
        self._site = site
        self._shape = shape
        self._asked_at = 0.0
        self._reservations: list[Reservation] = []
        self._program = program

    def script(self, allocation: str) -> str:
        """Give the script that would be submitted."""
        return str(self._job(allocation).job_script())

    def submit_command(self, allocation: str) -> list[str]:
        """Give the command that would submit it."""
        return [SlurmAllocation.submit_command, str(self._run.script_of(allocation))]

    async def submit(self, allocation: str) -> str:
        """Submit an allocation; give its native id. Raises Refused with sbatch's own words."""
        return await self._job(allocation).ask_for_it()

    async def cancel(self, allocation: str, native_id: str) -> None:
        """Cancel an allocation by its native id, or by its name if that is all we have."""
        by_name = [["scancel", f"--name={allocation}"]]
        environment = slurm.query_environment(os.environ)
        for argv in slurm.cancel_commands([native_id]) if native_id else by_name:
            reply = await ask(argv, environment)
            # One that has ended meanwhile is no job any more to SLURM.
            if reply.exit_code != 0 and "nvalid job id" not in reply.stderr:
                raise Refused(reply.complaint)

    async def query(self, allocations: Mapping[str, str]) -> dict[str, Seen | Gone] | DontKnow:
        """Ask the queue once for all."""
        names = list(allocations)
        environment = slurm.query_environment(os.environ)
        question = slurm.queue_query(names, os.environ.get("SLURM_CLUSTERS", ""))
        answer = slurm.read_queue(await ask(question, environment), names)
        if isinstance(answer, DontKnow):
            return answer
        return {name: await self._with_maintenance(seen) for name, seen in answer.items()}

    async def _with_maintenance(self, seen: Seen | Gone) -> Seen | Gone:
        """Add when the maintenance begins that an allocation waits for, if that is its reason."""
        if not (isinstance(seen, Seen) and slurm.may_wait_for_maintenance(seen.reason)):
            return seen
        now = time.time()
        if now > self._asked_at + RESERVATION_SECONDS:
            self._asked_at = now
            reply = await ask(list(RESERVATIONS), limits_environment(os.environ))
            self._reservations = read_reservations(reply.stdout)
        fitting = fitting_walltime(now, self._reservations)
        return seen if fitting is None else structs.replace(seen, free_until=round(now + fitting))

    def _job(self, allocation: str) -> SlurmAllocation:
        return SlurmAllocation(self._run, allocation, self._site, self._shape, self._program)

    def sweep(self, _allocation: str, _logs: Collection[Path]) -> bool:
        """Do nothing: its processes are on another host."""
        return False
