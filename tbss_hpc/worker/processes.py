"""The processes that a command started, wherever they went."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NamedTuple

#: Scans of /proc after which a command that forks faster than it is killed is left to the watchers.
_MOST_SCANS = 100


class Member(NamedTuple):
    """A living process of a command."""

    pid: int
    group: int


class Family(NamedTuple):
    """What a command started: its session, and whatever carries its mark in the environment.

    The leader has a session and a process group of its own, both named by its pid. It must not
    have been reaped: until then the kernel gives its pid, and so the group's name, to nobody else.
    """

    leader: int
    mark: bytes  #: `NAME=value`, as it stands in the environment

    def members(self) -> list[Member]:
        """Find the living ones (one scan of /proc; nobody where there is no /proc)."""
        try:
            with os.scandir("/proc") as entries:
                found = [self._member(entry) for entry in entries if entry.name.isdigit()]
        except FileNotFoundError:
            return []
        return [member for member in found if member]

    def terminate(self) -> None:
        """Ask every process to end."""
        self._signal_group(signal.SIGTERM)
        for member in self.members():
            if member.group != self.leader:
                _signal(member.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process, and those that they fork while we look for them."""
        # The kernel lets no fork slip through between the members of a group.
        self._signal_group(signal.SIGKILL)
        killed: set[int] = set()
        for _ in range(_MOST_SCANS):
            new = {member.pid for member in self.members()} - killed
            if not new:
                return
            for pid in new:
                _signal(pid, signal.SIGKILL)
            killed |= new

    def _signal_group(self, number: signal.Signals) -> None:
        # Nobody left, or only another user's (sudo).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)

    def _member(self, process: os.DirEntry[str]) -> Member | None:
        """Say whether this process belongs here; zombies, other users' and we ourselves do not."""
        pid = int(process.name)
        try:
            if pid == os.getpid() or process.stat().st_uid != os.geteuid():
                return None
            # The name in parentheses may itself hold spaces and parentheses; after it come
            # state, parent, group and session.
            words = _read(process, "stat").rpartition(b")")[2].split()
            if words[0] not in (b"Z", b"X") and self._is_here(int(words[3]), process):
                return Member(pid, int(words[2]))
        except OSError:  # it ended while we looked, or does not let us look
            pass
        return None

    def _is_here(self, session: int, process: os.DirEntry[str]) -> bool:
        return session == self.leader or self.mark in _read(process, "environ").split(b"\0")


def _read(process: os.DirEntry[str], name: str) -> bytes:
    # Not by way of Path: this is done for every process of the node, after every command.
    with open(f"{process.path}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 -- see above
        return file.read() or b""


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
