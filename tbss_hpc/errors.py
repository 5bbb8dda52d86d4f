"""Every complaint that a user can understand and repair, and the exit codes."""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """How a tbss-hpc program ends; documented in docs/reference/exit-codes.md."""

    DONE = 0
    COMMANDS_FAILED = 1
    USAGE = 2
    CLUSTER = 3
    STOPPED = 4
    FILES = 5
    BUG = 70
    INTERRUPTED = 130


class TbssHpcError(Exception):
    """Something the user can understand and usually repair."""

    #: The exit code of a program that ends with this error.
    exit_code = ExitCode.USAGE

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        """Hold the three parts of a complaint.

        what -- one sentence, no jargon.
        why -- the evidence: file and line, or a tool's own words.
        fix -- what to type or edit next.
        """
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        """Give the parts one under the other, as the terminal shows them."""
        lines = [f"Error: {self.what}"]
        lines += _part("why", self.why)
        lines += _part("fix", self.fix)
        return "\n".join(lines)


def _part(title: str, text: str) -> list[str]:
    if not text:
        return []
    first, *rest = text.splitlines()
    return [f"  {title}   {first}", *(f"        {line}" for line in rest)]


class UsageError(TbssHpcError):
    """What was typed, or a file that was named, cannot be used as it is."""


class ClusterError(TbssHpcError):
    """A scheduler or a node did not do what was asked of it."""

    exit_code = ExitCode.CLUSTER


class StoppedError(TbssHpcError):
    """The work was refused, stopped or left incomplete."""

    exit_code = ExitCode.STOPPED


class FilesError(TbssHpcError):
    """The file system refused: no space, no permission, no such folder."""

    exit_code = ExitCode.FILES


#: What a file system may say at any moment, to a program without a mistake.
_FILE_SYSTEM_SAYS = {
    errno.EACCES: "look at the permissions of the folder, or work in one of your own",
    errno.EPERM: "look at the permissions of the folder, or work in one of your own",
    errno.EROFS: "work in a folder that can be written",
    errno.ENOSPC: "make room, and try again",
    errno.EDQUOT: "make room within your quota, and try again",
    errno.EFBIG: "look at `ulimit -f`, and try again",
    errno.ENAMETOOLONG: "choose shorter names",
    errno.EIO: "ask those who look after the file system, and try again",
    errno.ESTALE: "try again: the file server has forgotten the folder",
}


def refused_by_file_system(error: OSError) -> FilesError | None:
    """Turn what a file system refused into a complaint; None if it looks like our own mistake."""
    fix = _FILE_SYSTEM_SAYS.get(error.errno or 0)
    if fix is None:
        return None
    why = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return FilesError("A file could not be written or read.", why=why, fix=fix)
