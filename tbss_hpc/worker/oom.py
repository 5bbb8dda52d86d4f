"""Whether the kernel has killed for want of memory where we are."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def count_kills(membership: Path = Path("/proc/self/cgroup"), mount: Path = _CGROUPS) -> int | None:
    """Count the processes of our memory cgroup that ran out of memory; None where it is not told.

    The commands of an allocation share its cgroup, so a count that grew says that one of them was
    killed, not which one: it is evidence only together with a SIGKILL that nobody here sent.
    """
    for path in _places(membership, mount):
        count = _read(path)
        if count is not None:
            return count
    return None


def _places(membership: Path, mount: Path) -> list[Path]:
    """Give the files that may hold the count: version 1 first, for in a mixed set-up it rules."""
    first, second = [], []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        here = path.lstrip("/")
        if "memory" in controllers.split(","):
            first.append(mount / "memory" / here / "memory.oom_control")
        elif not controllers:
            second.append(mount / here / "memory.events")
    return first + second


def _read(path: Path) -> int | None:
    words = [line.split() for line in _text(path).splitlines()]
    return next((int(pair[1]) for pair in words if pair and pair[0] == "oom_kill"), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
