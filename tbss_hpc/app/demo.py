"""The study of `tbss-hpc demo`: made once, and recognised when it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from tbss_hpc.errors import UsageError
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.tbss.synthetic import make_study

_CARD = "demo.json"


class DemoStudy(Struct, frozen=True):
    """A study that was made for show."""

    subjects: int
    voxel_mm: int
    planted: str  #: the subject that is the most typical by construction


def demo_study(
    folder: Path, subjects: int, voxel_mm: int, progress: Callable[[int], None]
) -> DemoStudy:
    """Make the study, or take the one that an earlier demo of the same size has left.

    Raises UsageError if the folder holds something else.
    """
    card = folder / _CARD
    if card.exists():
        found = msgspec.json.decode(card.read_bytes(), type=DemoStudy)
        if (found.subjects, found.voxel_mm) == (subjects, voxel_mm):
            return found
        raise UsageError(
            f"{folder} holds a demo of another size.",
            why=f"{found.subjects} subjects at {found.voxel_mm} mm",
            fix="remove it, or name another folder",
        )
    made = make_study(folder, subjects=subjects, voxel_mm=voxel_mm, progress=progress)
    study = DemoStudy(subjects, voxel_mm, made.planted)
    replace_file(card, msgspec.json.encode(study))
    return study
