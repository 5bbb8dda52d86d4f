"""Room on file systems: what a run will write, and what `quota` says is left."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

_KILOBYTE = 1 << 10
_STEP = 1000
_FEW = 10
#: An FSL pair leaves coefficients of a warp (21 x 24 x 21 x 3 numbers at 1 mm, compressed).
FSL_PAIR_BYTES = 150_000
#: A greedy pair leaves a whole field, compressed: 76 kB at 4 mm (116,380 voxels).
GREEDY_PAIR_BYTES_PER_VOXEL = 0.7
#: What a pair leaves in FA/: warp, score, matrix, and the log of the registration.
PAIR_FILES = 4
#: A command's log, its lines in the records and the journal (measured: 3 kB and a log of 2 kB).
COMMAND_BYTES = 8_000


class Room(Struct, frozen=True):
    """Bytes and files (inodes); in a limit, None means that there is none."""

    bytes: int | None
    files: int | None


def study_needs(pairs: int, engine: str, voxels: int) -> Room:
    """Say what so many pairs will leave in FA/."""
    each = FSL_PAIR_BYTES if engine == "fsl" else round(GREEDY_PAIR_BYTES_PER_VOXEL * voxels)
    return Room(pairs * each, pairs * PAIR_FILES)


def run_needs(commands: int, allocations: int) -> Room:
    """Say what a run of so many commands will leave in its folder: a log each, and the rest."""
    return Room(commands * COMMAND_BYTES + 1_000_000, commands + 4 * allocations + 50)


def added(one: Room, other: Room) -> Room:
    """Add up two needs."""
    return Room((one.bytes or 0) + (other.bytes or 0), (one.files or 0) + (other.files or 0))


def size_in_words(size: float) -> str:
    """Write bytes for people, as `df -h` does, with a blank: `77 GB`, `1.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < _STEP:
            return f"{size:.{1 if size < _FEW and unit != 'bytes' else 0}f} {unit}"
        size /= _STEP
    return f"{size:.1f} TB"


class Quota(Struct, frozen=True):
    """What a user may still write to one file system."""

    file_system: str  #: as the tool calls it
    left: Room


#: `quota -w -p` and `lfs quota -q`: file system, kilobytes used, soft, hard, grace, and the same
#: for files. A star marks what is above its soft limit, brackets what could not be asked.
_ROW = re.compile(
    r"^\s*(\S+)\s+\[?(\d+)\]?\*?\s+(\d+)k?\s+(\d+)k?\s+(\S+)"
    r"\s+\[?(\d+)\]?\*?\s+(\d+)\s+(\d+)\s+(\S+)\s*$",
    re.ASCII | re.MULTILINE,
)


def read_quotas(text: str) -> Iterator[Quota]:
    """Read the rows of `quota --no-wrap --raw-grace` or of `lfs quota -q`."""
    for row in _ROW.findall(text):
        used, soft, hard = (int(part) for part in row[1:4])
        files, soft_files, hard_files = (int(part) for part in row[5:8])
        size = _left(used, soft, hard)
        room = Room(
            None if size is None else size * _KILOBYTE, _left(files, soft_files, hard_files)
        )
        yield Quota(row[0], room)


def _left(used: int, soft: int, hard: int) -> int | None:
    """Give what is left below the hard limit, else the soft one; zero stands for no limit."""
    limit = hard or soft
    return max(0, limit - used) if limit else None
