"""A command: one line of a list, and what makes it count as done."""

from __future__ import annotations

import hashlib
from enum import Enum

from msgspec import Struct


class Check(Enum):
    """How an output is proved; chosen by the suffix of its name."""

    IMAGE = "image"  #: NIfTI, plain or gzipped: readable to its last byte
    NUMBERS = "numbers"  #: `.msf`: two finite numbers
    MATRIX = "matrix"  #: `.mat`: four rows of four finite numbers
    GZIP = "gzip"  #: decompresses to its last byte
    FILE = "file"  #: exists and is not empty


#: Longest suffix first, so that `.nii.gz` is an image and not just a gzip file.
_CHECKS = {
    ".nii.gz": Check.IMAGE,
    ".nii": Check.IMAGE,
    ".msf": Check.NUMBERS,
    ".mat": Check.MATRIX,
    ".gz": Check.GZIP,
}


def check_for(path: str) -> Check:
    """Say how an output of this name is proved."""
    return next((c for suffix, c in _CHECKS.items() if path.endswith(suffix)), Check.FILE)


class Output(Struct, frozen=True):
    """A file that a command must leave behind."""

    path: str  #: relative to the command's folder, or absolute
    check: Check


class Fingerprint(Struct, frozen=True):
    """The state of a file when it was looked at."""

    path: str  #: relative to the command's folder, or absolute
    size: int  #: bytes
    mtime_ns: int
    digest: str = ""  #: of the content; empty where only size and time count


class Command(Struct, frozen=True):
    """One line of a list, to be run by `bash -c` in its folder."""

    id: str  #: digest of text, folder and occurrence (see `identity`)
    line: int  #: 1-based line number in the list it came from
    name: str  #: `G_to_F` for a pair, `L17` for line 17 of another list
    text: str
    folder: str  #: absolute
    outputs: tuple[Output, ...] = ()
    inputs: tuple[str, ...] = ()  #: files whose change undoes the result; relative to folder


def identity(text: str, folder: str, occurrence: int) -> str:
    """Give the id of a command: 16 hexadecimal digits that survive edits elsewhere in the list.

    occurrence -- 0 for the first command of this text and folder, 1 for the second, and so on.
    """
    content = f"{occurrence}\0{folder}\0{text}".encode(errors="surrogateescape")
    return hashlib.sha256(content).hexdigest()[:16]
