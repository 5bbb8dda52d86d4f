"""How long an allocation still has, by the monotonic clock of its node."""

from __future__ import annotations

import time
from collections.abc import Mapping

#: Commands that are still running so many seconds before the end are killed, so that a record
#: of it exists: SGE sends SIGKILL without a warning.
KILL_MARGIN_SECONDS = 60.0
#: Of a short walltime, at most this share goes to the margin.
KILL_MARGIN_SHARE = 0.1
#: A scheduler's answer that differs by less is the same answer.
TOLERANCE_SECONDS = 5.0


class EndClock:
    """Counts down to the moment at which commands are killed."""

    def __init__(self, walltime_seconds: float | None, environ: Mapping[str, str]) -> None:
        """Take the end from the scheduler where it tells it, else count from now."""
        left = _left_by_scheduler(environ)
        if left is None:
            left = walltime_seconds
        self._margin = min(KILL_MARGIN_SECONDS, KILL_MARGIN_SHARE * (left or 0.0))
        self._end = None if left is None else time.monotonic() + left

    def seconds_left(self) -> float | None:
        """Give the seconds until commands are killed; None where nothing ends the allocation."""
        return None if self._end is None else self._end - self._margin - time.monotonic()

    def correct(self, seconds: float) -> None:
        """Take over what the scheduler says now: somebody may have changed the walltime.

        seconds -- until the allocation's end. Schedulers tell it in whole seconds or minutes, and
        the answer has been on its way for a while, so small differences change nothing.
        """
        end = time.monotonic() + seconds
        if self._end is None or abs(end - self._end) > TOLERANCE_SECONDS:
            self._end = end


def _left_by_scheduler(environ: Mapping[str, str]) -> float | None:
    # SLURM says since 22.05 when the job ends (Unix time, by the node's own clock).
    end = environ.get("SLURM_JOB_END_TIME", "")
    return float(end) - time.time() if end.isdigit() else None
