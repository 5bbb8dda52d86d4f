"""The local dialect: an allocation is the worker program, in a session of its own, right here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from tbss_hpc.cluster.batch import Program, Refused, worker_command
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.process import process_alive, process_identity
from tbss_hpc.worker.environment import ALLOCATION

#: Seconds between asking a worker to end and killing it.
GRACE_SECONDS = 20.0
_PROC = Path("/proc")


class LocalBatch:
    """Starts, ends and watches allocations on this host."""

    def __init__(self, run: RunFolder, program: Program = worker_command) -> None:
        """Know where scripts and outputs go, and what a script runs."""
        self._run = run
        self._program = program
        #: Our own children, to be reaped; those of an earlier controller belong to init.
        self._children: list[subprocess.Popen[bytes]] = []

    def script(self, allocation: str) -> str:
        """Give the script that starts a worker."""
        command = shlex.join(self._program(sys.executable, self._run, allocation))
        return f"#!/bin/bash\nexec {command}\n"

    def submit_command(self, allocation: str) -> list[str]:
        """Give the command that runs the script."""
        return ["bash", str(self._run.script_of(allocation))]

    async def submit(self, allocation: str) -> str:
        """Start a worker; its native id is its process."""
        self._run.script_of(allocation).write_text(self.script(allocation))
        try:
            with (self._run.allocations / f"{allocation}.out").open("ab") as out:
                child = subprocess.Popen(  # noqa: ASYNC220 - returns as soon as it has forked
                    self.submit_command(allocation),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise Refused(str(error)) from error
        self._children.append(child)
        return process_identity(child.pid)

    async def cancel(self, allocation: str, native_id: str) -> None:
        """Ask the worker to end; kill it if it does not. Its watchers end all that is left."""
        # Its worker may have joined before anybody could note or find its process.
        native_id = native_id or _find(allocation, str(self._run.root))
        if not native_id or not process_alive(native_id):
            return
        pid = int(native_id.partition(":")[0])
        _signal(pid, signal.SIGTERM)
        for _ in range(int(GRACE_SECONDS * 10)):
            await asyncio.sleep(0.1)
            self._reap()
            if not process_alive(native_id):
                return
        _signal(pid, signal.SIGKILL)

    async def query(self, allocations: Mapping[str, str]) -> dict[str, Seen | Gone] | DontKnow:
        """Look at the processes."""
        self._reap()
        return {name: self._look(name, native_id) for name, native_id in allocations.items()}

    def sweep(self, allocation: str, logs: Collection[Path]) -> bool:
        """Kill whatever carries the mark of an allocation, or still writes one of its logs.

        Only needed when the watchers were killed together with the worker. A command may have
        cleaned its environment, and with it the mark.
        """
        mark = f"{ALLOCATION}={allocation}".encode()
        for _ in range(50):
            left = [pid for pid in _pids() if _belongs(pid, mark, logs)]
            if not left:
                return True
            for pid in left:
                _signal(pid, signal.SIGKILL)
        return False

    def _look(self, allocation: str, native_id: str) -> Seen | Gone:
        if not native_id:
            native_id = _find(allocation, str(self._run.root))
        if not native_id:
            return Gone("never started")
        if process_alive(native_id):
            return Seen("running", "", os.uname().nodename, native_id, None)
        return Gone("ended")

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def _find(allocation: str, run: str) -> str:
    """Find an allocation that was started by a controller that could not note its process."""
    words = [run.encode(), allocation.encode()]
    for pid in _pids():
        arguments = _read(pid, "cmdline").split(b"\0")
        # The watchers look the same; the outermost was started first and has the lowest number.
        if b"tbss_hpc.worker" in arguments and all(word in arguments for word in words):
            return process_identity(pid)
    return ""


def _belongs(pid: int, mark: bytes, logs: Collection[Path]) -> bool:
    if pid == os.getpid():
        return False
    return mark in _read(pid, "environ").split(b"\0") or any(_writes(pid, log) for log in logs)


def _writes(pid: int, log: Path) -> bool:
    outputs = (_PROC / str(pid) / "fd" / number for number in ("1", "2"))
    try:
        return any(output.readlink() == log for output in outputs)
    except OSError:  # it ended meanwhile, closed its output, or belongs to somebody else
        return False


def _pids() -> list[int]:
    return sorted(int(path.name) for path in _PROC.glob("[0-9]*"))


def _read(pid: int, what: str) -> bytes:
    try:
        return (_PROC / str(pid) / what).read_bytes()
    except OSError:  # it ended meanwhile, or belongs to somebody else
        return b""


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
