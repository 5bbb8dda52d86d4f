"""What a command is expected to take, and where that number comes from."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct

#: FSL's guide says "about 5 minutes x N x N" for the all-to-all option; users report 3 to 5.
FSL_PAIR_SECONDS = 300.0
#: The first FSL pairs of a run may take this long before anything was learned.
FSL_PAIR_BOUND_SECONDS = 600.0
#: One pair on one core (picsl-greedy 1.4): 0.8 s at 4 mm, 6.3 s at 2 mm (91 x 109 x 91 voxels).
GREEDY_START_SECONDS = 0.2
GREEDY_SECONDS_PER_VOXEL = 6.5e-6
#: How far above the longest command seen the next one may go.
BOUND_FACTOR = 1.5
#: Fewer commands than this teach too little.
ENOUGH = 3


class Estimate(Struct, frozen=True):
    """What a command is expected to take."""

    seconds: float  #: expected
    bound_seconds: float  #: not exceeded by any command that is as expected
    source: str  #: where the numbers come from, in words


def guessed(engine: str | None, command_seconds: float | None, voxels: int) -> Estimate | None:
    """Give the estimate before anything was learned; None where nothing is known.

    engine -- what registers a pair; None for a command list.
    voxels -- of one image of the study.
    """
    if command_seconds is not None:
        bound = command_seconds * BOUND_FACTOR
        return Estimate(command_seconds, bound, "given by --command-time")
    if engine == "fsl":
        source = "FSL's guide: about 5 minutes a pair"
        return Estimate(FSL_PAIR_SECONDS, FSL_PAIR_BOUND_SECONDS, source)
    if engine == "greedy":
        seconds = GREEDY_START_SECONDS + GREEDY_SECONDS_PER_VOXEL * voxels
        return Estimate(seconds, 10 * seconds, "measured with this engine on images of this size")
    return None


def learned(seconds: Sequence[float], source: str) -> Estimate | None:
    """Learn from commands that ended; None while there are too few."""
    if len(seconds) < ENOUGH:
        return None
    text = f"mean of {len(seconds)} {source}"
    return Estimate(fmean(seconds), max(seconds) * BOUND_FACTOR, text)
