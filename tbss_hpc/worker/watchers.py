"""Two tiny watchers see to it that an allocation's commands die with its worker.

    outer   the process that called `guard`, in the batch script's process group
     └ inner   a session of its own, so that what kills the script's group does not reach it
        └ worker   returns from `guard`; everything heavy is imported only here

Outer and inner are subreapers: whatever a command starts, `setsid` and double forks included,
becomes a child of a watcher as soon as its parent dies. So whoever of the three dies, a survivor
kills its children, and the orphans it inherits from them, until `waitpid` says there are none.
Only when outer and inner are killed at the same instant does nobody clean up: that is what a
scheduler's cgroup does, and it kills everything else in the same stroke.

Standard library only, and nothing else of ours: both watchers stay for the life of an allocation
and are to stay small, and they must be forked before the first thread is started.

Where there is no `prctl` (macOS) the processes are the same, but orphans go to launchd: the worker
still dies with its watchers unless inner alone is killed, its commands' stray descendants are not
found, and `write_all_dead` is never called, because nobody can be certain of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: What batch systems and terminals send to say something; the worker hears it through outer.
_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
    signal.SIGCONT,
)

#: Exit code of a watcher that crashed: a bug (see the project's exit codes).
_BUG = 70

#: Seconds between two looks at what has been killed and is not dead yet; doubled each time.
_FIRST_PAUSE = 0.0005
_LAST_PAUSE = 0.25


def guard(write_all_dead: Callable[[int], None]) -> None:
    """Put the calling process under two watchers, and return in the worker that they watch.

    The caller becomes outer and ends with the worker's exit code (128 + n for signal n).
    write_all_dead -- called in a watcher, when the worker and all that it started are dead
    and reaped; gets the worker's exit code, negative for a signal.
    """
    before = _hold_signals()
    orders, pen = os.pipe()
    certain = _adopt_orphans()
    _flush()
    inner = os.fork()
    if inner:
        os.close(orders)
        _end_with(lambda: _be_outer(inner, pen, before, write_all_dead if certain else None))
    # Only outer may hold the pen: inner sees the end of the pipe when outer dies, and not before.
    os.close(pen)
    os.setsid()
    certain = _adopt_orphans()
    parent = os.getpid()
    worker = os.fork()
    if worker:
        _end_with(lambda: _be_inner(worker, orders, before, write_all_dead if certain else None))
    os.close(orders)
    _die_with(parent)
    _restore_signals(before)


# ----------------------------------------------------------------------------------------- outer


def _be_outer(
    inner: int, pen: int, before: _Signals, write_all_dead: Callable[[int], None] | None
) -> int:
    """Pass signals on until inner ends; give the exit code of the allocation."""
    _send_signals_to(pen, before)
    code = _wait_for(inner)
    signal.set_wakeup_fd(-1)
    if code >= 0:
        return code
    # Inner was killed, and by its death signal so was the worker; their orphans are ours now.
    _kill_all_children(())
    _say(write_all_dead, -signal.SIGKILL)
    return _exit_code(code)


def _send_signals_to(pen: int, before: _Signals) -> None:
    """Let every signal that we are sent write its number into the pipe to inner.

    The C handler writes into the wakeup descriptor itself. A Python handler would not do: it waits
    for the interpreter, and a signal that comes just before `waitpid` blocks would wait with it.
    """
    os.set_blocking(pen, False)
    signal.set_wakeup_fd(pen, warn_on_full_buffer=False)
    for number in _FORWARDED:
        # What was ignored when we came (nohup, a background job's SIGINT) stays ignored.
        if number not in before.ignored:
            signal.signal(number, _nothing)
    _restore_signals(before)


def _wait_for(child: int) -> int:
    """Reap whatever ends until this child does; give its exit code, negative for a signal."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status)


# ----------------------------------------------------------------------------------------- inner


def _be_inner(
    worker: int, orders: int, before: _Signals, write_all_dead: Callable[[int], None] | None
) -> int:
    """Watch the worker and outer; when either ends, kill all that is left and say so."""
    wake = _wake_on_child_death(before)
    code = _watch(worker, orders, wake)
    codes = _kill_all_children([worker] if code is None else [])
    if code is None:
        code = codes.get(worker, -signal.SIGKILL)
    _say(write_all_dead, code)
    return _exit_code(code)


def _wake_on_child_death(before: _Signals) -> int:
    """Make the death of a child readable; be deaf to what batch systems send to all processes.

    SLURM sends SIGTERM to every process of a job, long before SIGKILL: inner has to survive it.
    """
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _nothing)
    _restore_signals(before)
    return wake


def _watch(worker: int, orders: int, wake: int) -> int | None:
    """Block until the worker ends, and give its exit code; None if outer dies first.

    Orphans of commands that ended are reaped on the way; the worker's own children are not ours
    to reap, so it is not disturbed.
    """
    while True:
        # First reap, then sleep: a child that died before the alarm was set has rung no bell.
        codes, _ = _reap()
        if worker in codes:
            return codes[worker]
        ready, _, _ = select.select([orders, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if orders in ready and not _pass_on(orders, worker):
            return None


def _pass_on(orders: int, worker: int) -> bool:
    """Send the worker the signals that outer was sent; False when outer is dead."""
    numbers = os.read(orders, 4096)
    for number in numbers:
        # Not reaped yet, so the pid is still the worker's, dead or alive.
        os.kill(worker, number)
    return bool(numbers)


# ------------------------------------------------------------------------------ killing and reaping


def _kill_all_children(known: Collection[int]) -> dict[int, int]:
    """Kill children, and those that are inherited from them, until there are none; their codes.

    known -- children to kill even where there is no /proc to find them in.
    """
    codes: dict[int, int] = {}
    pause = _FIRST_PAUSE
    while True:
        for child in {*_children(), *known} - set(codes):
            _kill(child)
        ended, some_left = _reap()
        codes |= ended
        if not some_left:
            return codes
        # Not a blocking wait: a child stuck in the kernel must not keep us from killing the
        # orphans that arrive meanwhile.
        pause = _FIRST_PAUSE if ended else min(2 * pause, _LAST_PAUSE)
        time.sleep(pause)


def _say(write_all_dead: Callable[[int], None] | None, code: int) -> None:
    """Write "all dead", where that is certain; a run folder that takes nothing changes no code."""
    try:
        if write_all_dead:
            write_all_dead(code)
    except Exception:  # noqa: BLE001 -- others' code, in a process that has nothing else to do
        traceback.print_exc()


def _kill(pid: int) -> None:
    # Reaped already, or another user's (sudo): then only its own end helps, and we wait for it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _reap() -> tuple[dict[int, int], bool]:
    """Reap the children that have ended; give their exit codes, and whether any child is left."""
    codes: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes, False
        if not pid:
            return codes, True
        codes[pid] = os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    """Give our children as the kernel lists them (a watcher has one thread).

    The list may miss some while others end (proc(5)); who calls again until `waitpid` finds
    nobody gets them all.
    """
    me = os.getpid()
    try:
        text = Path(f"/proc/{me}/task/{me}/children").read_text(encoding="ascii")
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in _processes() if _parent(pid) == me]
    return [int(pid) for pid in text.split()]


def _processes() -> list[int]:
    try:
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    except FileNotFoundError:  # no /proc at all
        return []


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses; then state and parent.
    return int(stat.rpartition(b")")[2].split()[1])


# --------------------------------------------------------------------------------------- becoming


class _Signals(NamedTuple):
    """How the caller stood to signals before we came."""

    mask: set[signal.Signals]
    ignored: frozenset[signal.Signals]


def _hold_signals() -> _Signals:
    """Block what we forward until every process has its own way of dealing with it.

    Handlers are set after the forks, by the watchers: the worker's are the caller's all along.
    """
    # Some batch systems start scripts with SIGCHLD ignored: then nobody could wait for anybody.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ignored = frozenset(n for n in _FORWARDED if signal.getsignal(n) is signal.SIG_IGN)
    return _Signals(_set_mask(signal.SIG_BLOCK, _FORWARDED), ignored)


def _restore_signals(before: _Signals) -> None:
    _set_mask(signal.SIG_SETMASK, before.mask)


def _set_mask(how: int, mask: Collection[signal.Signals]) -> set[signal.Signals]:
    # Signals without a name (some real-time ones) come back as plain numbers, and are as good.
    return cast("set[signal.Signals]", signal.pthread_sigmask(how, mask))


def _nothing(_number: int, _frame: object) -> None:
    """Be a handler, so that the signal neither kills nor is ignored."""


def _adopt_orphans() -> bool:
    """Become the parent of every descendant whose parent dies; False where that is impossible."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with(parent: int) -> None:
    """Have this process killed when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the line above: then no signal will come.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return False
    # All of its arguments are unsigned longs, and what is not used has to be zero.
    return bool(prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) == 0)


def _exit_code(code: int) -> int:
    """Give the exit code a shell would show: 128 + n for signal n."""
    return code if code >= 0 else 128 - code


def _end_with(life: Callable[[], int]) -> NoReturn:
    """Live a watcher's life and end; never return into the worker's program."""
    code = _BUG
    try:
        code = life()
    except BaseException:  # noqa: BLE001 -- the last stop before the end of the process
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    # What is still buffered at a fork would be written once by each process.
    sys.stdout.flush()
    sys.stderr.flush()
