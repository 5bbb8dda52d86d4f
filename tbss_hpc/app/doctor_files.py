"""Room and permission on the file systems that a run writes to, for `doctor`."""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from tbss_hpc.app.doctor_ask import ask
from tbss_hpc.core.finding import About, Finding, bad, good
from tbss_hpc.core.room import Quota, Room, added, read_quotas, size_in_words

_FILES = About.FILES


class Place(Struct, frozen=True):
    """A folder that a run writes to, and how much."""

    title: str  #: what it is, with its article
    folder: Path  #: it exists
    needs: Room


def room_findings(places: list[Place], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say of each file system whether what is planned fits; places on one of them share it."""
    for place in places:
        if not os.access(place.folder, os.W_OK | os.X_OK):
            yield bad(
                _FILES,
                f"You may not write to {place.title}.",
                why=str(place.folder),
                fix="work on a copy that you own, or name another place",
            )
    for group in _by_file_system(places):
        yield from _group_findings(group, environ)


def _by_file_system(places: list[Place]) -> list[list[Place]]:
    groups: dict[int, list[Place]] = {}
    for place in places:
        groups.setdefault(place.folder.stat().st_dev, []).append(place)
    return list(groups.values())


def _group_findings(group: list[Place], environ: Mapping[str, str]) -> Iterator[Finding]:
    needs = Room(0, 0)
    for place in group:
        needs = added(needs, place.needs)
    titles = " and ".join(place.title for place in group)
    folder = group[0].folder
    limits = {"on the disk": _free(folder), **_quotas(folder, environ)}
    complaints = [
        complaint
        for where, room in limits.items()
        for complaint in _complaints(titles, folder, needs, where, room)
    ]
    yield from complaints
    if not complaints:
        size, files = size_in_words(needs.bytes or 0), needs.files
        asked = ", quota included" if len(limits) > 1 else ""
        yield good(
            _FILES,
            f"There is room for {titles}: about {size} in {files} files will be written{asked}.",
        )


def _complaints(
    titles: str, folder: Path, needs: Room, where: str, room: Room
) -> Iterator[Finding]:
    if room.bytes is not None and room.bytes < (needs.bytes or 0):
        wanted = size_in_words(needs.bytes or 0)
        text = f"{size_in_words(room.bytes)} left {where}, and about {wanted} are needed"
        fix = "make room there, or work on another file system"
        yield bad(_FILES, f"Too little room for {titles}: {text}.", why=str(folder), fix=fix)
    if room.files is not None and room.files < (needs.files or 0):
        text = f"{room.files} more files {where}, and about {needs.files} are needed"
        fix = "remove or pack files there, or work on another file system"
        yield bad(_FILES, f"Too few files for {titles}: {text}.", why=str(folder), fix=fix)


def _free(folder: Path) -> Room:
    room = os.statvfs(folder)
    # Some file systems (btrfs, and some network ones) count no files, and say 0 in all.
    return Room(room.f_bavail * room.f_frsize, room.f_favail if room.f_files else None)


def _quotas(folder: Path, environ: Mapping[str, str]) -> dict[str, Room]:
    """Ask what the user may still write; nothing where nobody can tell."""
    source, mounted = _mount_of(folder)
    found = [q for q in _ask_quotas(folder, environ) if q.file_system in {source, mounted}]
    return {f"within your quota on {quota.file_system}": quota.left for quota in found[:1]}


def _ask_quotas(folder: Path, environ: Mapping[str, str]) -> Iterator[Quota]:
    # quota ends with 1 when somebody is above a limit, and says what it knows nevertheless.
    if shutil.which("lfs", path=environ.get("PATH")):
        argv = ["lfs", "quota", "-q", "-u", getpass.getuser(), str(folder)]
        for quota in read_quotas(ask(argv, environ).stdout):
            yield Quota(_mount_of(folder)[1], quota.left)
    if shutil.which("quota", path=environ.get("PATH")):
        yield from read_quotas(ask(["quota", "--no-wrap", "--raw-grace"], environ).stdout)


def _mount_of(folder: Path) -> tuple[str, str]:
    """Give the source and the mount point of the file system that a folder lies on."""
    best = ("", "")
    mounts = Path("/proc/self/mounts")
    for line in mounts.read_text(errors="replace").splitlines() if mounts.exists() else ():
        source, point = line.split()[:2]
        mounted = point.replace("\\040", " ")
        if folder.is_relative_to(mounted) and len(mounted) >= len(best[1]):
            best = (source, mounted)
    return best


def existing(folder: Path) -> Path:
    """Give the folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())
