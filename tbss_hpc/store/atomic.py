"""Writing files so that a reader sees the old text or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file under a temporary name, sync it, and rename it into place.

    Raises OSError as the file system gives it; the old content is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_new(temporary, content, mode)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # A full disk is often found by a descriptor, which has no name for people.
        error.filename = str(path)
        raise


def create_file(path: Path, content: bytes, *, mode: int = 0o644) -> bool:
    """Write a file that must not be there yet; False if it is.

    Exclusive create holds between NFS clients, which locks do not (see decision 2). Raises OSError
    as the file system gives it; there is no file then.
    """
    try:
        _write_new(path, content, mode, os.O_EXCL)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)  # ours, and not whole
        raise
    return True


def _write_new(path: Path, content: bytes, mode: int, flags: int = os.O_TRUNC) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
