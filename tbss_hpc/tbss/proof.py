"""Proofs: what makes an output count, and whether a proof still holds.

Exit codes prove nothing here: fsl_reg exits 0 after a failed fnirt. Workers import this module;
it needs the standard library only.
"""

from __future__ import annotations

import math
import os
import stat
from typing import IO, TYPE_CHECKING, assert_never

from tbss_hpc.core.command import Check, Fingerprint, Output
from tbss_hpc.tbss.nifti import NotAnImageError, read_through, unpacked

if TYPE_CHECKING:
    from pathlib import Path

#: Far more than two numbers or a 4x4 matrix need; what is longer is something else.
_LONGEST_TEXT_BYTES = 65_536
_NUMBERS_IN_MSF = 2
_SIDE = 4


class Unproved(Exception):  # noqa: N818 - a verdict on a file, not an error of the program
    """An output does not count; the text is a plain sentence that names the file."""

    def __init__(self, path: str, why: str) -> None:
        """Say of the file at `path` what is wrong with it."""
        super().__init__(f"{path} {why}")
        self.path = path
        self.why = why


def prove(output: Output, folder: Path) -> Fingerprint:
    """Read an output to its end and take its fingerprint; raise Unproved if it does not count."""
    path = folder / output.path
    try:
        _require_file(path, output.path)
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            _check(file, output)
            after = os.fstat(file.fileno())
    except NotAnImageError as error:
        raise Unproved(output.path, f"cannot be used: {error}.") from error
    except OSError as error:
        raise Unproved(output.path, f"cannot be read: {error.strerror or error}.") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Unproved(output.path, "changed while it was read; something else writes it.")
    return Fingerprint(output.path, after.st_size, after.st_mtime_ns)


def only_times_differ(proof: Fingerprint, folder: Path) -> bool:
    """Tell whether a proved output may be the same file with a new time, as after `cp -r`."""
    try:
        return (folder / proof.path).stat().st_size == proof.size
    except OSError:
        return False


def still_proved(proof: Fingerprint, folder: Path) -> bool:
    """Say whether a proved file still has the size and the time it had (one stat, no reading)."""
    try:
        found = (folder / proof.path).stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (proof.size, proof.mtime_ns)


def two_numbers(text: str) -> tuple[str, str] | None:
    """Give the two finite numbers of an `.msf` file as they are written; None for anything else."""
    words = text.split()
    if len(words) != _NUMBERS_IN_MSF or not all(map(_is_finite, words)):
        return None
    return words[0], words[1]


def _require_file(path: Path, name: str) -> None:
    """Refuse what is no regular file; opening a pipe, for one, would wait for ever."""
    try:
        found = path.stat()
    except FileNotFoundError:
        why = "is a link that leads nowhere." if path.is_symlink() else "is missing."
        raise Unproved(name, why) from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise Unproved(name, f"is {kind}.")
    if found.st_size == 0:
        raise Unproved(name, "is empty.")


def _check(file: IO[bytes], output: Output) -> None:
    match output.check:
        case Check.IMAGE:
            read_through(file, gzipped=output.path.endswith(".gz"))
        case Check.NUMBERS:
            if two_numbers(_text(file)) is None:
                raise Unproved(output.path, "does not hold exactly two finite numbers.")
        case Check.MATRIX:
            if not _is_matrix(_text(file)):
                raise Unproved(output.path, "does not hold four rows of four finite numbers.")
        case Check.GZIP:
            for _ in unpacked(file):
                pass
        case Check.FILE:
            pass
        case _:
            assert_never(output.check)


def _text(file: IO[bytes]) -> str:
    return file.read(_LONGEST_TEXT_BYTES).decode("ascii", "replace")


def _is_matrix(text: str) -> bool:
    rows = [line.split() for line in text.splitlines() if line.strip()]
    return [len(row) for row in rows] == [_SIDE] * _SIDE and all(
        _is_finite(word) for row in rows for word in row
    )


def _is_finite(word: str) -> bool:
    try:
        # Python alone reads `1_000` as a number.
        return "_" not in word and math.isfinite(float(word))
    except ValueError:
        return False
