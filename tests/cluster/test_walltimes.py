"""One generation of allocations after the other, each too short for the work."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from tests.cluster.short_walltimes import ShortWalltimes


def test_short_and_edited_walltimes_cut_no_command(short_walltimes: ShortWalltimes) -> None:
    rig = short_walltimes.rig
    assert processes.until(lambda: rig.tbss.status()["state"] == "finished", 300)
    spans = _spans(rig.tbss.table("attempts.tsv"))
    late = {name: span for name, span in spans.items() if span > short_walltimes.limit_of(name)}

    assert set(rig.finish()["outcomes"]) <= {"succeeded", "not-started"}
    assert sorted(rig.starts()) == short_walltimes.names
    assert len(spans) >= 4  # two places, and at least two generations
    assert late == {}


def _spans(attempts: list[dict[str, str]]) -> dict[str, float]:
    """Say for each allocation how many seconds passed from the first start to the last end."""
    times: dict[str, list[str]] = defaultdict(list)
    for row in attempts:
        if row["start"]:
            times[row["allocation"]] += [row["start"], row["end"]]
    moments = {name: [datetime.fromisoformat(at) for at in its] for name, its in times.items()}
    return {name: (max(its) - min(its)).total_seconds() for name, its in moments.items()}
