"""The fake's step daemon: one process per job, which starts, watches and ends its script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fake.state import Job, State

TICK_SECONDS = 0.03


def program(state: State, name: str) -> list[str]:
    """Give the words that start one of the fake's programs, whoever asks and wherever."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from tests.fake.programs import main; main()"
    # Isolated, so that nothing in the job's folder or environment is imported instead.
    return [sys.executable, "-I", "-c", code, str(state.folder), name]


def launch(state: State, job: Job, environment: dict[str, str]) -> None:
    """Leave a process behind that takes care of the job."""
    with state.path(job.id, "stderr").open("w") as stderr:
        subprocess.Popen(
            [*program(state, "step"), job.id],
            cwd=job.folder,
            env={**environment, **job_environment(state, job)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )


def job_environment(state: State, job: Job) -> dict[str, str]:
    """Give what SLURM 22.05 tells a batch script about itself."""
    node = node_of(state, job)
    memory = {"SLURM_MEM_PER_NODE": job.memory} if job.memory else {}
    return {
        state.marker: str(state.folder),
        "SLURM_JOB_ID": job.id,
        "SLURM_JOBID": job.id,
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_USER": job.user,
        "SLURM_JOB_PARTITION": job.partition,
        "SLURM_JOB_NODELIST": node,
        "SLURM_NODELIST": node,
        "SLURMD_NODENAME": node,
        "SLURM_NNODES": "1",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_ON_NODE": str(job.cpus),
        "SLURM_CLUSTER_NAME": "fake",
        "SLURM_SUBMIT_DIR": str(Path.cwd()),
        **memory,
    }


def node_of(state: State, job: Job) -> str:
    """Deal the jobs to the nodes, in turn."""
    nodes = state.control.nodes
    return nodes[(int(job.id) - 77) % len(nodes)]


def belonging_to(state: State, job: str = "") -> Iterator[int]:
    """Find all that a job, or any job, started, whatever it did to get away."""
    for pid in processes.living():
        its = processes.environment(pid)
        marked = f"{state.marker}={state.folder}" in its
        if marked and (not job or f"SLURM_JOB_ID={job}" in its):
            yield pid
            yield from processes.descendants(pid)


def run(state: State, job: str) -> None:
    """Carry a job from pending to its end."""
    while not _may_start(state, job):
        if state.override(job).cancelled:
            _end(state, job, "CANCELLED")
            return
        time.sleep(TICK_SECONDS)
    try:
        script = _start(state, job)
    except OSError:
        # No such interpreter, or no folder for the output: SLURM's job fails without a word.
        _end(state, job, "FAILED")
        return
    why = _watch(state, job, script)
    if why:
        state.save(replace(state.job(job), state="COMPLETING"))
        _say_why(state, job, why)
        _terminate(state, script)
    # What is left in the group when the script has ended goes too.
    _signal_group(script.pid, signal.SIGKILL)
    if state.control.kills_all:
        mine = os.getpid()
        processes.kill_all(lambda: (pid for pid in belonging_to(state, job) if pid != mine))
    _end(state, job, why or ("COMPLETED" if script.wait() == 0 else "FAILED"))


def _may_start(state: State, job: str) -> bool:
    control = state.control
    if state.override(job).cancelled or control.held:
        return False
    return time.time() >= state.job(job).submitted + control.pending_seconds


def _start(state: State, job: str) -> subprocess.Popen[bytes]:
    known = state.job(job)
    # Output files lie in the job's folder, which this process runs in.
    with (
        Path(_file_name(known, known.output)).open("ab") as output,
        Path(_file_name(known, known.error or known.output)).open("ab") as error,
    ):
        script = subprocess.Popen(
            [str(state.path(job, "script")), *known.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            start_new_session=True,
        )
    node = node_of(state, known)
    now = time.time()
    state.save(replace(known, state="RUNNING", started=now, node=node, pid=script.pid))
    return script


def _file_name(job: Job, pattern: str) -> str:
    values = {"j": job.id, "J": job.id, "A": job.id, "x": job.name, "u": job.user}
    return re.sub(r"%([a-zA-Z])", lambda found: values.get(found[1], ""), pattern)


def _watch(state: State, job: str, script: subprocess.Popen[bytes]) -> str:
    """Wait for the end of the script; say why it has to end, or nothing when it did by itself."""
    while script.poll() is None:
        if state.override(job).cancelled:
            return "CANCELLED"
        limit = limit_seconds(state, state.job(job))
        if limit is not None and time.time() > (state.job(job).started or 0) + limit:
            return "TIMEOUT"
        time.sleep(TICK_SECONDS)
    return ""


def limit_seconds(state: State, job: Job) -> float | None:
    """Give the walltime of a job; a test may have shortened it."""
    shortened = state.override(job.id).limit_seconds
    return job.limit_seconds if shortened is None else shortened


def _say_why(state: State, job: str, why: str) -> None:
    """Write what SLURM writes into the output of a job that it ends."""
    known = state.job(job)
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    limit = " DUE TO TIME LIMIT" if why == "TIMEOUT" else ""
    with Path(_file_name(known, known.error or known.output)).open("a") as file:
        file.write(
            f"slurmstepd-{known.node}: error: *** JOB {job} ON {known.node}"
            f" CANCELLED AT {now}{limit} ***\n"
        )


def _terminate(state: State, script: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        _signal_group(script.pid, number)
    processes.until(
        lambda: script.poll() is not None and not processes.group(script.pid),
        state.control.kill_wait_seconds,
    )


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _end(state: State, job: str, word: str) -> None:
    state.save(replace(state.job(job), state=word, ended=time.time()))
