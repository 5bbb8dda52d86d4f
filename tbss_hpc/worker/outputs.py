"""Outputs of earlier attempts: out of the way, so that they cannot prove the next one.

A second attempt that fails without writing anything would find the first one's output and count
it as its own. So what is there before an attempt is set aside, beside itself, and removed once the
attempt has proved outputs of its own. One generation is kept: a file set aside earlier is replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tbss_hpc.core.command import Output


def aside(path: Path) -> Path:
    """Give the name under which an output is set aside.

    The leading dot keeps it out of every glob of a shell (`*_FA.*` would match a mere suffix, and
    TBSS counts what it matches); the suffix keeps it from being an image.
    """
    return path.with_name(f".{path.name}.before")


def move_aside(outputs: Iterable[Output], folder: Path, *, keep: Iterable[str] = ()) -> list[Path]:
    """Set aside what is there of these outputs; give the new names.

    keep -- paths that stay because the command needs them: one that works in place has its input
    among its outputs. Folders stay too: they may hold what others made.
    """
    kept = {folder / path for path in keep}
    found = [folder / output.path for output in outputs]
    return [_move(path) for path in found if path not in kept and _is_there(path)]


def discard_aside(outputs: Iterable[Output], folder: Path) -> None:
    """Remove what was set aside of these outputs, by this attempt or by one that was lost."""
    for output in outputs:
        aside(folder / output.path).unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    # A link is an output as well, even one that leads nowhere; a folder is not.
    return path.is_symlink() or path.is_file()


def _move(path: Path) -> Path:
    return path.replace(aside(path))
