"""How long an allocation still has, by the monotonic clock of its node."""

from __future__ import annotations

import time
from collections.abc import Mapping

#: Commands that are still running so many seconds before the end are killed, so that a record
#: of it exists: SGE sends SIGKILL without a warning.
KILL_MARGIN_SECONDS = 60.0
#: Of a short walltime, at most this share goes to the margin.
KILL_MARGIN_SHARE = 0.1


class EndClock:
    """Counts down to the moment at which commands are killed."""

    def __init__(self, walltime_seconds: float | None, environ: Mapping[str, str]) -> None:
        """Take the end from the scheduler where it tells it, else count from now."""
        left = _left_by_scheduler(environ)
        if left is None:
            left = walltime_seconds
        margin = min(KILL_MARGIN_SECONDS, KILL_MARGIN_SHARE * (left or 0.0))
        self._deadline = None if left is None else time.monotonic() + left - margin

    def seconds_left(self) -> float | None:
        """Give the seconds until commands are killed; None where nothing ends the allocation."""
        return None if self._deadline is None else self._deadline - time.monotonic()


def _left_by_scheduler(environ: Mapping[str, str]) -> float | None:
    # SLURM says since 22.05 when the job ends (Unix time, by the node's own clock).
    end = environ.get("SLURM_JOB_END_TIME", "")
    return float(end) - time.time() if end.isdigit() else None
