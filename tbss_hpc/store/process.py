"""Processes of this host, told apart even when their numbers are used again."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ZOMBIE = "Z"


def process_identity(pid: int) -> str:
    """Name a process: its number, when it started, and which boot of the host that was."""
    return f"{pid}:{_start_time(pid)}:{_boot()}"


def process_alive(identity: str) -> bool:
    """Tell whether the process of that name runs on this host; a zombie does not."""
    pid, started, boot = identity.split(":")
    # One that had ended before it was named has no start; it never comes back.
    return bool(started) and boot == _boot() and _start_time(int(pid)) == started


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()[:8]
    except OSError:
        return "-"


def _start_time(pid: int) -> str:
    try:
        # The name in parentheses may hold blanks and parentheses itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return _start_time_without_proc(pid)
    except ProcessLookupError:
        return ""
    return "" if fields[0] == _ZOMBIE else fields[19]


def _start_time_without_proc(pid: int) -> str:
    """Do as well as can be done without /proc (macOS): the number alone."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "0"
