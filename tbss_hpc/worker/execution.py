"""Run one command, and measure it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tbss_hpc.core.attempt import Measures, Order
from tbss_hpc.core.outcome import Failed, Killed, Outcome, OutOfMemory, Succeeded, TimedOut
from tbss_hpc.errors import FilesError
from tbss_hpc.worker import oom
from tbss_hpc.worker.processes import Family

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Mapping, Sequence

#: In every command's environment: which attempt it is, and the pid of the worker that makes it.
MARK = "TBSS_HPC_ATTEMPT"

#: What a shell says of a child that SIGKILL ended.
_SHELL_SAYS_KILLED = 128 + signal.SIGKILL

#: The command goes before the worker when memory runs out: the worker can tell what happened.
_OOM_SCORE = 500

#: Seconds between two looks at what a command that was told to end has left behind.
_LOOK_AGAIN = 0.05


class CannotStart(FilesError):  # noqa: N818 -- a finding about a node or a folder
    """The command could not be started here: no folder, no bash, no room for its log."""

    def __init__(self, why: str) -> None:
        """Hold the reason in the system's own words."""
        super().__init__("The command could not be started.", why=why)


class Raw(Struct, frozen=True):
    """How the processes of an attempt ended; its outputs are another matter."""

    outcome: Outcome
    exit_code: int | None = None  #: negative for a signal; None when nothing was started
    measures: Measures = Measures()


class Execution:
    """The running of one order's command: once, by one thread; stopped by any."""

    def __init__(
        self,
        order: Order,
        log: Path,
        environment: Mapping[str, str],
        *,
        wrap: Sequence[str] = (),
        grace_seconds: float = 5.0,
    ) -> None:
        """Prepare; nothing is started yet.

        log -- absolute; what the command prints is appended.
        wrap -- words before `bash -c`, such as those that start a container.
        grace_seconds -- between asking a command to end and killing it.
        """
        self.order = order
        self.log = log
        self._mark = f"{order.attempt.command}.{order.attempt.number}.{os.getpid()}"
        self._environment = {**environment, MARK: self._mark}
        self._wrap = tuple(wrap)
        self._grace_seconds = grace_seconds
        #: Guards what follows, and every signal: none may be sent once the leader is reaped.
        self._lock = threading.Lock()
        self._family: Family | None = None  #: while the command runs
        self._over = False  #: the leader has ended: too late to stop it
        self._stopped: Outcome | None = None  #: why we ended it; the first reason counts
        self._kill_at = 0.0  #: monotonic; means something once it was stopped
        self._timers: list[threading.Timer] = []

    @property
    def stopped(self) -> Outcome | None:
        """Why it was stopped, if it was."""
        return self._stopped

    def run(self) -> Raw:
        """Run the command to its end, and end all that it started; raise CannotStart."""
        kills = oom.count_kills()
        start, clock = time.time(), time.monotonic()
        process = self._start()
        if process is None:
            assert self._stopped is not None  # noqa: S101 -- that is why it was not started
            return Raw(self._stopped, measures=Measures(start=start, end=start))
        _wait_until_ended(process.pid)
        usage = self._finish(process)
        measures = Measures(
            start=start,
            end=time.time(),
            seconds=time.monotonic() - clock,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            # An upper bound: Linux counts what a process was before its exec, which is the
            # worker, so no command seems smaller than the worker has ever been.
            peak_memory_bytes=usage.ru_maxrss * _maxrss_unit(),
        )
        return Raw(self._judge(process.returncode, kills), process.returncode, measures)

    def stop(self, outcome: Outcome) -> None:
        """End the command and all that it started, giving `outcome` as the reason.

        Does not wait: `run` returns when it is done. Before the start it means "do not start";
        after the command's end it is too late and changes nothing.
        """
        with self._lock:
            if self._stopped or self._over:
                return
            self._stopped = outcome
            self._kill_at = time.monotonic() + self._grace_seconds
            if self._family:
                self._family.terminate()
                try:
                    self._later(self._grace_seconds, self._kill)
                except RuntimeError:  # no thread to be had: better without grace than for ever
                    self._family.kill()

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start the command, unless it was stopped before; raise CannotStart."""
        with self._lock:
            if self._stopped:
                return None
            try:
                # The clock first: where no thread can be had for it, nothing must be running.
                self._limit(self.order.timeout_seconds)
                process = self._spawn()
            except (OSError, RuntimeError, ValueError) as error:
                self._cancel_timers()
                raise CannotStart(_reason(error)) from error
            self._family = Family(process.pid, f"{MARK}={self._mark}".encode())
        _prefer_to_kill(process.pid)
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._wrap, "bash", "-c", self.order.command.text],
                cwd=self.order.command.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _limit(self, seconds: float | None) -> None:
        if seconds is not None:
            self._later(seconds, lambda: self.stop(TimedOut(seconds)))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _kill(self) -> None:
        with self._lock:
            if self._family:
                self._family.kill()

    def _finish(self, process: subprocess.Popen[bytes]) -> resource.struct_rusage:
        """End what the leader left behind, then let go of its pid."""
        with self._lock:
            self._over = True
        self._grant_the_grace()
        with self._lock:
            family, self._family = self._family, None
            if family:
                family.kill()
            usage = _reap(process)
        self._cancel_timers()
        return usage

    def _grant_the_grace(self) -> None:
        """Let what was asked to end do so, though its leader has ended already.

        A shell dies of SIGTERM at once, and the program it waited for may still be tidying up.
        """
        while self._stopped and time.monotonic() < self._kill_at:
            if not (self._family and self._family.members()):
                return
            time.sleep(_LOOK_AGAIN)

    def _judge(self, code: int, kills_before: int | None) -> Outcome:
        if self._stopped:
            return self._stopped
        if code in (-signal.SIGKILL, _SHELL_SAYS_KILLED) and _grew(kills_before):
            return OutOfMemory()
        if code < 0:
            return Killed(-code)
        return Failed(code) if code else Succeeded()


def _wait_until_ended(pid: int) -> None:
    """Block until a child has ended, and leave it unreaped, so that its pid stays its own."""
    if sys.platform == "darwin":  # no waitid there before Python 3.13
        _wait_by_kqueue(pid)
    else:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _wait_by_kqueue(pid: int) -> None:
    if sys.platform == "darwin":
        end = select.kevent(
            pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        # Refused for one that has ended already.
        with contextlib.suppress(ProcessLookupError), contextlib.closing(select.kqueue()) as queue:
            queue.control([end], 1)


def _reap(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    _, status, usage = os.wait4(process.pid, 0)
    # Tell Popen, or it would wait for this pid again, which by then may be another process's.
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _prefer_to_kill(pid: int) -> None:
    # What the command forks before this line keeps the worker's score: a few milliseconds' worth.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _reason(error: Exception) -> str:
    """Say what the system said, with the name of what it was about: the folder, bash or the log."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'bash'}: {error.strerror}"
    return str(error)  # such as a null byte in the text, or no thread to be had


def _grew(kills_before: int | None) -> bool:
    kills = oom.count_kills()
    return kills is not None and kills_before is not None and kills > kills_before


def _maxrss_unit() -> int:
    return 1 if sys.platform == "darwin" else 1024
