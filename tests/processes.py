"""What Linux says in /proc about the processes of this machine; and waiting with patience."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Generous: a machine that is busy with other tests still makes it.
PATIENCE_SECONDS = 60.0


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
    """Ask again and again; False when the answer was still no after this many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def living() -> Iterator[int]:
    """Give the ids of all processes but this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and alive(int(entry.name)):
            yield int(entry.name)


def alive(pid: int) -> bool:
    """Say whether a process still runs; a zombie that nobody reaped yet does not."""
    state = _after_name(pid)[:1]  # read once: it may be gone at a second look
    return state not in ([], ["Z"], ["X"])


def command_line(pid: int) -> str:
    """Give the words of a process; empty when it is gone."""
    return _read(pid, "cmdline").replace("\0", " ").strip()


def environment(pid: int) -> set[str]:
    """Give the `NAME=value` that a process was started with; empty when it is gone."""
    return set(_read(pid, "environ").split("\0"))


def open_files(pid: int) -> set[str]:
    """Give the paths that a process holds open."""
    paths = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                paths.add(str(entry.readlink()))
    return paths


def owned_by(uid: int) -> Iterator[int]:
    """Give the ids of all processes of a user."""
    for pid in living():
        with suppress(OSError):
            if Path(f"/proc/{pid}").stat().st_uid == uid:
                yield pid


def descendants(pid: int) -> Iterator[int]:
    """Give the ids of the children of a process, and of theirs."""
    for child in _read(pid, f"task/{pid}/children").split():
        yield int(child)
        yield from descendants(int(child))


def group(number: int) -> set[int]:
    """Give the ids of the living processes of a process group."""
    return {pid for pid in living() if _after_name(pid)[2:3] == [str(number)]}


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_all(choose: Callable[[], Iterator[int]], seconds: float = PATIENCE_SECONDS) -> bool:
    """Stop all that are chosen in mid-step, then kill them; again, until none is left.

    Stopped first, so that none lives to see another one die and to tell anybody.
    """

    def none_left() -> bool:
        pids = set(choose())
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                send(pid, number)
        return not pids

    return until(none_left, seconds)


def _after_name(pid: int) -> list[str]:
    """Give the fields of `stat` from the state on: state, parent, group, session …

    The name before them, in parentheses, may hold anything.
    """
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="surrogateescape")
    except OSError:
        return ""
